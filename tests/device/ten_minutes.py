#!/usr/bin/env python3
"""The ten minutes that a device keeps, in true time, with the settings of the board.

  ten_minutes.py --board mps2-an385 --firmware build/mcu-mps2-an385/bin/firmware.elf --bin build/dev/bin
                 [--away-s 30] [CASE ...]
"""
import time

# First: it knows where harness and what that finds are.
from shared import LONG_S, ask, end_and_check, enrolled_device, run, summaries

from balance import STORED_PARCEL, files
from harness import case
from sensors import SERIES, TICKS_PER_SECOND

KEPT_S = 600
# Ten minutes of the device: where an emulator gets few turns its clock falls far behind, until a gateway sets it.
ALL = '{__name__=~"device_.+"}[2h]'
AWAY_S = KEPT_S + 15
POINTS_PER_S = sum(TICKS_PER_SECOND / ticks for ticks, _ in SERIES.values())
# So much of the ten minutes may be gone: a block goes ten minutes after it was sealed, the point that began the next one
# came within a second, and the newest second may have no point yet.
EDGE_S = 2
PAGE_BYTES, BLOCK_STATE_BYTES = 128, 72   # of a device's store: SeriesStoreOptions, BlockMeta


def seconds(points):
    """In which a device makes so many, of all its series."""
    return points / POINTS_PER_S


def gateway_goes(world, device):
    """Gateway and broker, which is its child, are gone, and the device knows. Returns what it had counted by then."""
    before = len(device.events("disconnected"))
    world.gateway.stop()
    gone_ms = device.wait_event("disconnected", before + 1, LONG_S)[-1]["ms"]
    device.wait("it counting again", lambda: device.events("stats")[-1]["ms"] > gone_ms, LONG_S)
    return device.last("stats")


def by_name(matrix):
    """Name -> [[time, value]]."""
    return {series["metric"]["__name__"]: series["values"] for series in matrix["result"]}


def in_memory(world, device):
    """All that the device holds, asked through the gateway. The range ends in the future: so it has what is made until the
    answer ends."""
    return by_name(ask(world, ALL, time.time() + 60, "--device", device.name))


def in_store(world, held):
    """What the gateway has stored between the first and the last of the times that a device held."""
    newest = max(values[-1][0] for values in held.values())
    stored = by_name(ask(world, ALL, newest))
    return {name: [point for point in stored.get(name, []) if values[0][0] <= point[0] <= values[-1][0]]
            for name, values in held.items()}


def newest_time(world, *of):
    return ask(world, "device_samples_total", "now", *of, "--last", "5m")["result"][0]["values"][-1][0]


def count_of(series):
    return sum(map(len, series.values()))


def check_memory(world, device, promised_s):
    """All that the device holds, which is so much at least, and what it folds of it: the same as the gateway's, once that
    has stored it. Returns the points."""
    held = in_memory(world, device)
    for name, (ticks, _) in SERIES.items():
        held_s = len(held.get(name, [])) * ticks / TICKS_PER_SECOND
        assert held_s >= promised_s - EDGE_S, f"{name}: {held_s:.0f} s are in memory, {promised_s:.0f} are promised"
    folded = []
    for text in summaries("9m"):   # while these are asked, one after the other, the oldest points leave
        newest = newest_time(world, "--device", device.name)
        folded.append((text, newest, ask(world, text, newest, "--device", device.name)))

    device.wait("the gateway storing all of it", lambda: count_of(in_store(world, held)) >= count_of(held), 2 * LONG_S)
    stored = in_store(world, held)
    for name in SERIES:
        different = [pair for pair in zip(held[name], stored[name]) if pair[0] != pair[1]]
        assert held[name] == stored[name], (f"{name}: {len(held[name])} points in memory, {len(stored[name])} stored; memory "
                                            f"and store differ in {different[:3]}")
    device.wait("the gateway storing what was folded", lambda: min(values[-1][0] for values in by_name(
        ask(world, ALL, "now")).values()) > folded[-1][1], 2 * LONG_S)
    for text, newest, answer in folded:
        again = ask(world, text, newest)
        assert again == answer, f"{text}\n  device  {answer}\n  gateway {again}"
    return held


def say_what_it_took(world, left, returned):
    """The bytes of memory for the points that were made between two counts of the device, from its blocks as it sent them."""
    begin, end = (seconds(count["made"]) * TICKS_PER_SECOND for count in (left, returned))
    blocks = {}
    for path in world.gateway_store.rglob("seg-*.lam"):
        for kind, _, body in files.RecordFile(path, "S").records:
            if kind == STORED_PARCEL:
                blocks.update(((block.ref, block.first), block) for block in files.Parcel(files.Message(body).blob(2)).blocks)
    in_all = 0
    for ref, (name, (ticks, _)) in enumerate(SERIES.items(), 1):
        taken = [block for block in blocks.values() if block.ref == ref and begin <= block.first * ticks < end]
        pages = sum(-(-(BLOCK_STATE_BYTES + block.size) // PAGE_BYTES) for block in taken)
        in_all += pages
        print(f"  {name}: {sum(block.count for block in taken)} points in {len(taken)} blocks of together "
              f"{sum(block.size for block in taken)} bytes, in memory {pages * PAGE_BYTES}")
    print(f"  all: {in_all * PAGE_BYTES} bytes of memory", flush=True)


@case
def ten_minutes_without_a_gateway_are_stored_whole_and_asked_from_its_memory(options):
    away_s = options.away_s or AWAY_S
    with options.world("device-ten-minutes") as world:
        world.start_gateway(merge_interval_ms=3_600_000)   # blocks stay as the device made them: they are measured
        device = enrolled_device(world)
        device.start()
        device.wait_settled(2000, LONG_S)
        memory = device.last("device")
        left = gateway_goes(world, device)

        def all_of_it_is_kept():
            count = device.last("stats")
            away = seconds(count["made"] - left["made"])
            assert count["dropped"] == 0, (
                f"after {away:.0f} s of {away_s} without a gateway {count['dropped']} points were dropped, {count['waiting']} are "
                f"kept, which is {seconds(count['waiting']):.0f} s, in {memory['memory_bytes']} bytes")
            return away >= away_s

        device.wait(f"{away_s} s of points", all_of_it_is_kept, 2 * away_s + LONG_S)   # an emulator may get few turns
        returned = device.last("stats")
        assert returned["settled"] == left["settled"], f"points were settled while nobody was there: {left}, {returned}"
        world.start_gateway()
        device.wait("all but its newest minute being settled",
                    lambda: device.last("stats")["settled"] > max(left["settled"], returned["made"] - 65 * POINTS_PER_S),
                    2 * LONG_S)
        held = check_memory(world, device, min(KEPT_S, seconds(returned["made"])))
        device.wait("the absence being settled", lambda: device.last("stats")["settled"] >= returned["made"], LONG_S)
        totals = end_and_check(world, device)
        assert totals["dropped"] == 0, totals
        assert totals["stored"] >= returned["made"], f"{totals['stored']} stored, {returned['made']} made until the return"

        begin, end = (seconds(count["made"]) * TICKS_PER_SECOND for count in (left, returned))
        of_absence = sum(begin < float(value) <= end for _, value in held["device_samples_total"])
        print(f"away for {seconds(returned['made'] - left['made']):.0f} s: {returned['made'] - left['made']} points; {memory}")
        say_what_it_took(world, left, returned)
        print(f"asked from its memory: {count_of(held)} points, of the last {len(held['device_samples_total'])} s, {of_absence} "
              f"of them without a gateway", flush=True)


@case
def what_a_small_memory_keeps_is_told_and_what_it_cannot_keep_is_named(options):
    """24 KB, as a chip of 64 KB has at most beside the firmware's own."""
    with options.world("device-small-memory") as world:
        world.start_gateway()
        device = enrolled_device(world, memory_bytes=24 * 1024)
        device.start()
        device.wait_settled(500, LONG_S)
        left = gateway_goes(world, device)
        first = device.wait("points being dropped", lambda: device.last("stats")["dropped"] > left["dropped"] and
                            device.last("stats"), 2 * KEPT_S)
        device.wait("more being dropped", lambda: device.last("stats")["dropped"] >= first["dropped"] + 5000, LONG_S)
        later = device.last("stats")
        print(f"{device.last('device')}: all seven series are kept whole for {seconds(first['made'] - left['made']) / 60:.1f} "
              f"minutes; after {seconds(later['made'] - left['made']) / 60:.1f} it has {later['waiting']} points, "
              f"{seconds(later['waiting']) / 60:.1f} minutes of all", flush=True)
        world.start_gateway()
        device.wait("what it kept being settled", lambda: device.last("stats")["settled"] + device.last("stats")["dropped"] >=
                    later["made"], 2 * LONG_S)
        dropped = device.last("stats")["dropped"]
        device.wait_settled(3000, LONG_S)
        assert device.last("stats")["dropped"] == dropped, "points are dropped with a gateway there"
        totals = end_and_check(world, device)
        assert totals["dropped"] == dropped > 0, f"the device dropped {dropped}, gap records name {totals['dropped']}"


if __name__ == "__main__":
    run()
