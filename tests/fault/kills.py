#!/usr/bin/env python3
"""SIGKILL of agent, broker and gateway, again and again, many of them between store and ack; unique values; the checker
counts. Full size: at least 100,000 blocks and ten kills of each, ten of them between store and ack."""
import itertools
import os
import signal
import struct
import sys
import time

from harness import case, main, wait_until, worlds

import lambda_files as files  # found by harness


def bodies(path):
    """(type, body) of a file that may still be written: heads are walked, checksums are the checker's business."""
    data = path.read_bytes()
    at = files.FILE_HEADER_BYTES
    while at + files.RECORD_HEAD_BYTES <= len(data) and data[at:at + 2] == files.MARK:
        length = struct.unpack_from("<I", data, at + 4)[0]
        yield data[at + 2], data[at + files.RECORD_HEAD_BYTES:at + files.RECORD_HEAD_BYTES + length]
        at += files.RECORD_HEAD_BYTES + length


def newest(folder, pattern):
    return max(folder.rglob(pattern), default=None)


def boot_and_seq(parcel):
    message = files.Message(parcel)
    return message.fixed64(4), message.uint(5)


def stored_seqs(world):
    """(boot, seq) of whole parcels in the newest segment."""
    found = set()
    path = newest(world.gateway_store, "seg-*.lam")
    for kind, body in bodies(path) if path else ():
        if kind == worlds.balance.STORED_PARCEL:
            try:
                found.add(boot_and_seq(files.Message(body).blob(2)))
            except (files.Damaged, IndexError, struct.error):
                break  # the torn last one
    return found


def settled_seqs(agent):
    """What an agent's spool calls settled: a function of (boot, seq)."""
    state = worlds.balance.SpoolState()
    for path in sorted(agent.state.rglob("spool-*.lam")):
        for kind, body in bodies(path):
            try:
                message = files.Message(body)
                if kind == worlds.balance.CHECKPOINT:
                    for boot in message.messages(1):
                        state.add_boot(boot)
                elif kind == worlds.balance.SETTLED:
                    for run in message.messages(2):
                        state.settle(message.fixed64(1), run.uint(1), run.uint(2))
            except (files.Damaged, IndexError, struct.error):
                break
    return state.is_settled


def kill_between_store_and_ack(world, agent, jitter_s):
    """Kills gateway and broker when parcels are stored whose acks cannot have left the broker: it was stopped before the
    gateway read them. True if such a parcel is seen in the files of both sides, after the kill."""
    world.wait_stored_again("points being stored again", 60)
    world.gateway.signal(signal.SIGSTOP)
    time.sleep(1.2)   # two seal rounds: the broker hands parcels to a gateway that does not read
    broker = world.broker_pid()
    before = world.segment_bytes()
    if broker:
        os.kill(broker, signal.SIGSTOP)
    world.gateway.signal(signal.SIGCONT)
    deadline = time.monotonic() + 5
    while world.segment_bytes() == before and time.monotonic() < deadline:
        pass
    time.sleep(jitter_s)   # between append and sync, between sync and ack, or when the ack waits for the broker
    if broker:
        os.kill(broker, signal.SIGKILL)
    world.gateway.kill()
    time.sleep(0.3)
    settled = settled_seqs(agent)
    return any(not settled(boot, seq) for boot, seq in stored_seqs(world))


@case
def everything_is_killed_and_nothing_is_lost_or_doubled(options):
    kills_wanted = 10 if options.full else 2
    between_wanted = 10 if options.full else 2
    blocks_wanted = 100_000 if options.full else 3_000
    with options.world("kills") as world:
        world.make_gateway(merge_interval_ms=1000)   # merging goes on under the kills too
        world.start_gateway()
        agent = world.make_agent("press-7", series=500 if options.full else 100, interval_ms=250, seal_ms=500)
        world.enrol(agent)
        world.start_agent(agent)
        wait_until("points being stored", lambda: world.segment_bytes() > 0, 30)
        counts = {"agent": 0, "broker": 0, "gateway": 0, "between": 0}
        started = time.monotonic()
        limit = 900 if options.full else 150

        def missing():
            return [name for name, count in counts.items() if count < (between_wanted if name == "between" else kills_wanted)]
        for _ in itertools.count():
            if not missing():
                break
            assert time.monotonic() - started < limit, f"only {counts} within {limit} s"
            what = options.random.choice(missing())
            time.sleep(options.random.uniform(0.2, 1.5))
            if what == "agent":
                agent.kill()
                time.sleep(options.random.uniform(0, 0.5))
                world.start_agent(agent)
            elif what == "broker":
                world.kill_broker()
            elif what == "gateway":
                world.gateway.kill()
                time.sleep(options.random.uniform(0, 1))
                world.start_gateway()
            else:
                counts["between"] += kill_between_store_and_ack(world, agent, options.random.choice((0, 0.001, 0.01, 0.05)))
                counts["gateway"] += 1
                counts["broker"] += 1
                world.start_gateway()
                continue
            counts[what] += 1
        print(f"   killed {counts}", flush=True)
        per_second = (500 if options.full else 100) * 2
        # Moments go by unmeasured while the agent is down: half as much again.
        deadline = started + 1.5 * blocks_wanted / per_second
        while time.monotonic() < deadline:
            time.sleep(0.5)
        world.drain(agent, 120)
        assert not agent.errors(), f"the agent complains, but nothing was wrong with its disk: {agent.errors()[0]}"
        agent.stop()
        world.gateway.stop()
        totals = world.balance()
        assert totals["dropped"] == 0 and totals["clocks_undeclared"] == 0, totals
        assert totals["stats"]["blocks"] >= blocks_wanted, totals["stats"]


if __name__ == "__main__":
    sys.exit(main())
