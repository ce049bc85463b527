#!/usr/bin/env python3
"""What must not stop a gateway: poison, floods, its own index gone, bytes of segments flipped, a full disk."""
import os
import random
import subprocess
import sys
import time

from harness import Device, Skip, case, main, wait_until

import lambda_writer as writer  # found by harness
from identity import device


def send_all(sender, count, points=20, series=3, pause=None):
    """`count` parcels, each with a block of each series; waits until all are settled."""
    declarations = [writer.declaration(ref) for ref in range(series)]
    start = int(time.time() * 1000) - 3_600_000
    for index in range(count):
        blocks = [sender.points(ref, range(index * points, (index + 1) * points), start + index * points * 1000)
                  for ref in range(series)]
        sender.send(sender.parcel(blocks, declarations))
        if pause:
            pause(index)
    assert sender.wait_settled(sender.seq, 30), f"seq {sender.seq} was not settled"
    return count * points * series


@case
def a_poison_parcel_is_refused_for_good_and_the_next_is_stored(options):
    with options.world("poison") as world:
        world.start_gateway()
        sender = device(world)
        sender.connect(world.broker_port)
        sender.send(sender.parcel([sender.points(1, range(10))], [writer.declaration(1)]))
        poisons = {
            "a flipped payload bit under a good signature": lambda block: block[:20] + bytes([block[20] ^ 1]) + block[21:],
            "a block cut short": lambda block: block[:-5],
            "an empty block": lambda block: b"",
            "noise": lambda block: random.Random(options.seed).randbytes(300),
        }
        for index, (what, mangle) in enumerate(poisons.items()):
            ordinals = dict(sender.ordinals)
            sender.send(sender.parcel([sender.points(1, range(10))], mangle=mangle))
            seq = sender.seq
            answer = sender.wait(lambda found, wanted=seq: found.kind == "nack" and found.seq == wanted)
            assert answer and answer.verdict == "permanent" and answer.code == 1, f"{what}: expected MALFORMED"
            sender.ordinals = ordinals
            sender.send(sender.parcel([sender.points(1, range(10))]))
            assert sender.wait(lambda found, wanted=sender.seq: found.settles(wanted)), f"the one after {what}"
        # Bytes that are no message at all are counted, never answered with a crash.
        noise = random.Random(options.seed)
        for length in (0, 1, 5, 100, 5000):
            sender.mqtt.publish(sender.topic("up"), noise.randbytes(length))
        sender.send(sender.parcel([sender.points(1, range(10))]))
        assert sender.wait(lambda found, wanted=sender.seq: found.settles(wanted)), "the one after the noise"
        assert world.gateway.alive()
        sender.close()
        world.stop_all()
        totals = world.balance([])
        assert totals["stored"] == 10 * (len(poisons) + 2), totals


@case
def a_flood_of_poison_stays_within_the_quarantines_caps(options):
    files_max, bytes_max = 16, 200_000
    with options.world("flood") as world:
        world.make_gateway(extra=f"[quarantine]\nfiles_max = 64\nbytes_max = {bytes_max}\ndevice_files_max = {files_max}\n"
                                 f"device_bytes_max = {bytes_max}\n")
        world.start_gateway()
        sender = device(world)
        sender.connect(world.broker_port)
        noise = random.Random(options.seed)
        for _ in range(3000 if options.full else 600):
            rubbish = noise.randbytes(noise.randint(1, 9000))
            sender.send(sender.parcel([sender.points(1, range(3))], mangle=lambda _, new=rubbish: new)
                        if noise.random() < 0.1 else
                        writer.field(1, 1) + writer.field(2, sender.site) + writer.field(3, sender.name) +
                        writer.fixed64(4, sender.boot) + writer.field(5, noise.randint(1, 10**6)) +
                        writer.field(9, rubbish))
            sender.mqtt.pump(0)
        sender.begin_boot()

        def served():
            sender.send(sender.parcel([sender.points(1, range(10))], [writer.declaration(1)]))
            return sender.wait_settled(sender.seq, 2)
        wait_until("a good parcel being stored behind the flood", served, 30)
        good = sender.seq
        kept = [path for path in (world.gateway_store / "quarantine").iterdir() if path.is_file()]
        assert 0 < len(kept) <= files_max, f"{len(kept)} files are kept, the cap is {files_max}"
        assert sum(path.stat().st_size for path in kept) <= bytes_max
        sender.close()
        world.stop_all()
        totals = world.balance([], agent_state_lost=True)
        assert totals["stored"] == 10 * good, totals


@case
def the_index_may_be_deleted_at_any_moment(options):
    with options.world("index") as world:
        world.start_gateway()
        sender = device(world)
        sender.connect(world.broker_port)

        def delete(index):
            if index in (5, 12):
                for path in index_files(world):
                    path.unlink()
        made = send_all(sender, 20, pause=delete)
        # Twice: without an index that was deleted under a running gateway, and without one that was whole.
        for nonce in (98, 99):
            world.gateway.kill()
            for path in index_files(world):
                path.unlink()
            world.start_gateway()
            assert index_files(world), "no index is made anew"
            sender.close()
            sender.connect(world.broker_port)
            sender.send_hello(nonce)
            answer = sender.wait(lambda found, wanted=nonce: found.nonce == wanted)
            assert answer and answer.settles(sender.seq), "the ack state was not computed again"
        sender.close()
        world.stop_all()
        totals = world.balance([])
        assert totals["stored"] == made, totals


def index_files(world):
    return [path for path in world.gateway_store.iterdir() if path.is_file() and path.name.startswith("index")]


@case
def flipped_bytes_of_a_segment_cost_their_records_and_nothing_else(options):
    with options.world("flipped") as world:
        world.start_gateway()
        sender = device(world)
        sender.connect(world.broker_port)
        made = send_all(sender, 40)
        sender.close()
        world.stop_all()
        whole = world.balance([])
        assert whole["stored"] == made
        segments = sorted(world.gateway_store.rglob("seg-*.lam"))
        path = max(segments, key=lambda found: found.stat().st_size)
        data = bytearray(path.read_bytes())
        for _ in range(3):
            data[options.random.randrange(100, len(data) - 2000)] ^= 1 << options.random.randrange(8)
        path.write_bytes(data)
        assert index_files(world), "there is no index"
        for index in index_files(world):
            index.unlink()   # so that everything is read again
        from harness import worlds
        found, totals = worlds.balance.run([world.gateway_store], [])
        damaged = totals["damaged_records"]
        assert 1 <= damaged <= 3 and totals["lost"] == made - totals["stored"] and totals["mismatched"] == 0, totals
        assert totals["lost"] <= damaged * 60, totals
        world.start_gateway()
        log = world.gateway.log.read_text(errors="replace")
        assert path.name in log, "the log does not name the damaged file"
        # What is left is served, and new points are taken.
        sender.begin_boot()
        sender.connect(world.broker_port)
        more = send_all(sender, 5)
        sender.close()
        world.stop_all()
        _, after = worlds.balance.run([world.gateway_store], [])
        assert after["stored"] == totals["stored"] + more and after["doubled"] == after["mismatched"] == 0, after


@case
def a_full_disk_withholds_acks_and_space_brings_them_back(options):
    with options.world("full") as world:
        mount = world.folder / "small"
        mount.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mount)], capture_output=True, timeout=10)
        if done.returncode != 0:
            raise Skip("no tmpfs can be mounted here (not root?), so no disk can be filled")
        try:
            full_disk(world, mount)
        finally:
            for program in world.programs:
                program.kill()
            subprocess.run(["umount", str(mount)], check=True, timeout=10)


def full_disk(world, mount):
    world.make_gateway(store=mount / "store", extra="[ingest]\nfull_delay_ms = 200\n")
    world.start_gateway()
    sender = device(world)
    sender.connect(world.broker_port)
    made = send_all(sender, 10)
    ballast = mount / "ballast"
    handle = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(handle, b"x" * 4096)
    except OSError:
        os.close(handle)
    waiting = []
    start = int(time.time() * 1000) - 1_000_000
    for index in range(30):
        parcel = sender.parcel([sender.points(1, range(500), start + index * 500_000 // 30, 1)])
        waiting.append((sender.seq, parcel))
        sender.send(parcel)
    refused = sender.wait(lambda found: found.kind == "nack" and found.verdict == "retry_after", 20)
    assert refused, "a full disk was not told to the device"
    assert world.gateway.alive(), "a full disk ended the gateway"
    os.unlink(ballast)

    def again():
        for seq, parcel in waiting:
            if not any(answer.settles(seq) for answer in sender.answers()):
                sender.send(parcel)
        sender.mqtt.pump(1)
        return all(any(answer.settles(seq) for answer in sender.answers()) for seq, _ in waiting)
    wait_until("everything being stored once there is space", again, 40)
    sender.close()
    world.stop_all()
    totals = world.balance([])
    assert totals["stored"] == made + 30 * 500, totals


if __name__ == "__main__":
    sys.exit(main())
