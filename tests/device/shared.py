"""What the cases of a device share: whose device it is, what must have been stored, and how to ask it.

Every value that a gateway stored is compared with what the sensor must have said, every signature is verified, and
what is missing must be named by gap records (tests/check/balance.py).
"""
import argparse
import json
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from harness import main  # noqa: E402

import balance  # noqa: E402  (found by harness)
from machine import Device, skip  # noqa: E402
from sensors import SERIES  # noqa: E402

LONG_S = 120   # of the device's own time
MINE = argparse.Namespace()   # --board and --firmware, once run() has begun


def run():
    """Runs the cases, as harness.main() does, of the board and the firmware that the command line names."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--board", required=True)
    parser.add_argument("--firmware", required=True)
    _, rest = parser.parse_known_args(namespace=MINE)
    sys.argv = sys.argv[:1] + rest
    if not os.path.exists(MINE.firmware):
        skip(f"there is no {MINE.firmware}: its sources or its compiler are missing (./dev setup)")
    if MINE.board != "host" and shutil.which("qemu-system-arm") is None:
        skip("qemu-system-arm is not installed (packages/device.txt)")
    sys.exit(main())


def enrolled_device(world, **identity):
    """Not started. `identity`: options of provision.py image, with _ for -."""
    device = Device(world, MINE.board, MINE.firmware)
    world.enrol(device)
    device.write_identity(**identity)
    return device


def end_and_check(world, device, boots=1):
    """Ends device and gateway; what the gateway stored must be what was made. Returns the balance's totals."""
    device.stop()
    world.gateway.stop()
    found, totals = balance.run([world.gateway_store], [], False, [world.folder / "site"])
    print(json.dumps(totals), flush=True)
    for complaint in found.complaints:
        print("  " + complaint)
    assert balance.holds(totals, 0), f"the balance does not hold: {totals}"
    assert totals["signatures"] > 0 and totals["unverified"] == 0, totals
    seen = {boot for boot, _ in found.stored}
    assert seen == set(device.boots()) and len(seen) == boots, f"boots stored {seen}, begun {device.boots()}"
    for stats in device.events("stats"):
        assert stats["missed"] == "0" and stats["rejected"] == "0", f"samples were missed: {stats}"
    compared = sum(compare(found, boot, ref, name) for boot in seen for ref, name in enumerate(SERIES, 1))
    assert compared == totals["stored"] > 0, f"{compared} points compared, {totals['stored']} stored"
    return totals


def compare(found, boot, ref, name):
    """Each point's value, and the time between neighbours of a block; returns how many points there were."""
    ticks, value_of = SERIES[name]
    count = 0
    for first, times, bits in found.stored[(boot, ref)].pieces:
        for index, (time_ms, value) in enumerate(zip(times, bits)):
            ordinal = first + index
            assert value == value_of(ordinal), f"{name} {ordinal}: {value:#x}, made was {value_of(ordinal):#x}"
            # A block is of one clock segment, in which time is slewed by a hundredth at most; a loop that got no turn for
            # seconds does so at once.
            step_ms = index * ticks * 10
            assert abs(time_ms - times[0] - step_ms) <= 500 + step_ms // 50, f"{name} {ordinal} at {time_ms}"
        count += len(times)
    return count


# What a gateway says of a device that got no turn for ten seconds, as an emulated one on a busy machine may not.
ASK_AGAIN = ("does not answer", "did not end its answer in time", "is not connected", "cannot be asked now",
             "the connection to the broker ended")


def ask(world, expression, time_s, *more, code=0):
    """The data of the answer, or with another exit status what the command line said."""
    for _ in range(3):
        done = world.call(world.binaries / "lambda", "query", "--gateway", f"http://127.0.0.1:{world.gateway_port}", "--json",
                          "--time", time_s, *more, expression, code=None)
        if code != 0 or done.returncode == 0 or not any(text in done.stderr for text in ASK_AGAIN):
            break
        print(f"asked again: {done.stderr.strip()}", flush=True)
    assert code in (None, done.returncode), f"{expression}: exit {done.returncode}, expected {code}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout)["data"] if done.returncode == 0 and code == 0 else done.stdout + done.stderr


def size(matrix):
    return sum(len(series["values"]) for series in matrix["result"])


def summaries(window):
    """Expressions that a device folds itself, over a range that is written like 10m."""
    folds = ("min", "max", "avg", "count", "sum", "last", "first")
    return [f"{fold}_over_time({name}[{window}])" for fold in folds for name in SERIES]
