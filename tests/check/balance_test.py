#!/usr/bin/env python3
"""Tests of the checker: small files made by hand, and planted defects that it must find."""
import contextlib
import io
import json
import pathlib
import random
import struct
import sys
import tempfile
import unittest
from array import array

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import balance  # noqa: E402
import lambda_files as files  # noqa: E402

from signatures import ORDER, Keys  # noqa: E402
from lambda_writer import (BOOT, MASK, block, boot_state, declaration, field, fixed64, gap, header, parcel, record,  # noqa: E402
                           row, rows, sint, spooled, stored, varint)


class World:
    """An agent and a gateway on disk. Series 1 is i64, series 3 f64; row n has time 1000 n."""

    def __init__(self, folder):
        self.gateway = pathlib.Path(folder) / "gateway"
        self.agent = pathlib.Path(folder) / "agent"
        self.gateway.mkdir()
        self.agent.mkdir()
        self.kinds = {1: files.TYPE_I64, 3: files.TYPE_F64}

    @staticmethod
    def value(ref, ordinal):
        if ref == 1:
            return (ordinal * 7 - 20) & MASK
        return struct.unpack("<Q", struct.pack("<d", ordinal * 0.25 - 1))[0]

    def block(self, ref, first, count, boot=None, alter=None):
        times = [1000 * n for n in range(first, first + count)]
        values = [self.value(ref, n) for n in range(first, first + count)]
        if self.kinds[ref] == files.TYPE_I64:
            values = [value - (1 << 64) if value >> 63 else value for value in values]
        if alter is not None:
            values[alter] ^= 1
        return block(ref, first, times, values, self.kinds[ref], boot)

    def parcel(self, seq, runs, gaps=(), boot=BOOT, **changes):
        return parcel(seq, [self.block(ref, first, count, **changes) for ref, first, count in runs],
                      [gap(*entry) for entry in gaps], [declaration(ref, kind) for ref, kind in self.kinds.items()],
                      boot)

    def segment(self, number, records, owner=0):
        (self.gateway / f"seg-{number:016x}.lam").write_bytes(header("S", number, owner) + b"".join(records))

    def spool(self, number, records):
        (self.agent / f"spool-{number:016x}.lam").write_bytes(header("P", number) + b"".join(records))

    def journal(self, name, number, first, count, tail=b"", together=1):
        """`together` moments a record."""
        declared = b"".join(record(17, declaration(ref, kind)) for ref, kind in self.kinds.items())
        opened = record(16, boot_state(covered=[(ref, first) for ref in self.kinds]))
        before, written = {}, bytearray()
        moments = [(1000 * n, {ref: self.value(ref, n) for ref in self.kinds}) for n in range(first, first + count)]
        for at in range(0, count, together):
            some = moments[at:at + together]
            written += rows(some, before, self.kinds) if len(some) > 1 else row(*some[0], before, self.kinds)
        (self.agent / f"{name}-{number:016x}.lam").write_bytes(header("J", number) + opened + declared + written + tail)

    def sums(self, **options):
        found, totals = balance.run([self.gateway], [self.agent], **options)
        self.complaints = found.complaints
        return totals


class BalanceTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.world = World(self.folder.name)

    def check(self, totals, **expected):
        for name in ("lost", "doubled", "mismatched"):
            expected.setdefault(name, 0)
        self.assertEqual({name: totals[name] for name in expected}, expected, self.world.complaints)

    def usual(self):
        """30 rows: 20 stored in two parcels, 5 in an unsettled one, 5 in the live journal."""
        world = self.world
        world.journal("kept", 1, 0, 25)
        world.journal("journal", 2, 25, 5)
        self.parcels = [world.parcel(1, [(1, 0, 10), (3, 0, 10)]), world.parcel(2, [(1, 10, 10), (3, 10, 10)]),
                        world.parcel(3, [(1, 20, 5), (3, 20, 5)])]
        world.spool(1, [record(32, field(1, boot_state())), *map(spooled, self.parcels),
                        record(34, fixed64(1, BOOT) + field(2, field(1, 1) + field(2, 2)))])
        self.records = [stored(self.parcels[0]), stored(self.parcels[1])]
        world.segment(1, self.records)

    def test_everything_is_somewhere(self):
        self.usual()
        self.check(self.world.sums(), made=60, stored=40, buffered=20, dropped=0)

    def test_a_removed_record_is_lost(self):
        self.usual()
        self.world.segment(1, self.records[1:])
        self.check(self.world.sums(), made=60, stored=20, buffered=20, lost=20)

    def test_a_repeated_record_is_doubled(self):
        self.usual()
        self.world.segment(2, self.records[:1])
        self.check(self.world.sums(), stored=40, doubled=20)

    def test_an_altered_value_is_named(self):
        self.usual()
        altered = self.world.parcel(1, [(1, 0, 10), (3, 0, 10)], alter=4)
        self.world.segment(1, [stored(altered), self.records[1]])
        # Once against the journal and once against the spool for each of the two series.
        totals = self.world.sums()
        self.check(totals, stored=40, mismatched=4)
        self.assertIn("ordinal 4", self.world.complaints[0])

    def test_an_altered_byte_loses_the_record_and_is_named(self):
        self.usual()
        path = self.world.gateway / "seg-0000000000000001.lam"
        data = bytearray(path.read_bytes())
        data[60] ^= 1
        path.write_bytes(data)
        self.check(self.world.sums(), stored=20, lost=20, damaged_records=1)

    def test_a_digest_that_does_not_hold_is_a_mismatch(self):
        self.usual()
        body = sint(1, 2000) + field(2, self.parcels[0]) + field(5, b"x" * 32)
        self.world.segment(1, [record(1, body), self.records[1]])
        self.check(self.world.sums(), lost=20, mismatched=1)

    def test_a_point_nobody_made_is_a_mismatch_unless_the_agents_state_was_lost(self):
        self.usual()
        self.world.segment(2, [stored(self.world.parcel(4, [(1, 30, 2)]))])
        self.check(self.world.sums(), mismatched=2)
        self.check(self.world.sums(agent_state_lost=True), made=62, stored=42)

    def test_partial_parcels_count_their_accepted_runs(self):
        self.usual()
        again = self.world.parcel(5, [(1, 5, 17)])
        self.world.segment(2, [stored(again, accepted=[(0, 20, 2)])])
        self.check(self.world.sums(), stored=42, buffered=18)
        self.world.segment(2, [stored(again, accepted=[(0, 19, 3)])])
        self.check(self.world.sums(), stored=42, doubled=1)
        self.world.segment(2, [stored(again, accepted=[(0, 19, 4)])])
        self.check(self.world.sums(), mismatched=1, stored=40)

    def test_gaps_are_dropped_unless_stored(self):
        self.usual()
        self.world.segment(2, [stored(self.world.parcel(4, [], gaps=[(1, 15, 7)]))])
        # 15 to 19 are stored, 20 and 21 are in an unsettled parcel too: named by a gap, they count as dropped.
        self.check(self.world.sums(), made=60, stored=40, dropped=2, buffered=18)

    def test_settled_but_nowhere_is_lost(self):
        self.usual()
        self.world.spool(2, [record(32, field(1, boot_state(floor=4)))])
        self.check(self.world.sums(), stored=40, buffered=10, lost=10)

    def test_pending_gaps_of_the_spool_count(self):
        self.usual()
        self.world.spool(2, [record(32, field(1, boot_state(floor=4, pending=[gap(1, 20, 5)]))),
                             record(36, struct.pack("<Q", BOOT) + gap(3, 20, 5))])
        self.check(self.world.sums(), stored=40, buffered=10, dropped=10)

    def test_a_checkpoint_cut_short_is_not_believed(self):
        self.usual()
        self.world.spool(2, [record(32, field(1, boot_state(floor=4)) + field(3, 1))])
        self.check(self.world.sums(), stored=40, buffered=20)

    def test_live_journal_points_below_covered_are_not_buffered(self):
        self.usual()
        covered = [(1, 27), (3, 27)]
        self.world.spool(2, [record(32, field(1, boot_state(floor=3, covered=covered)))])
        self.check(self.world.sums(), stored=40, buffered=16, lost=4)

    def test_moments_that_were_written_together_count_as_those_written_alone(self):
        self.usual()
        self.world.journal("kept", 1, 0, 25, together=7)
        self.world.journal("journal", 2, 25, 5, together=5)
        self.check(self.world.sums(), made=60, stored=40, buffered=20, dropped=0)

    def test_a_bit_within_moments_that_were_written_together_is_noticed(self):
        self.usual()
        self.world.value = lambda ref, n, right=self.world.value: right(ref, n) ^ (n == 3 and ref == 1)
        self.world.journal("kept", 1, 0, 25, together=7)
        self.assertEqual(self.world.sums()["mismatched"] > 0, True)

    def test_a_torn_tail_of_a_journal_was_never_made(self):
        self.usual()
        torn = row(30000, {1: 5, 3: 6}, {}, self.world.kinds)[:-3]
        self.world.journal("journal", 2, 25, 5, tail=torn)
        self.check(self.world.sums(), made=60, torn_tails=1)

    def test_a_later_journal_voids_what_stands_above_its_start(self):
        self.usual()
        self.world.journal("kept", 1, 0, 27)   # rows 25 and 26 were repeated by the next file
        self.check(self.world.sums(), made=60, buffered=20)

    def test_merged_segments_stand_for_those_they_replace(self):
        self.usual()
        merged = [record(6, struct.pack("<QQ", 1, 1))]
        for number, message in enumerate(self.parcels[:2]):
            found = files.Parcel(message)
            skeleton = parcel(number + 1, [], [], [declaration(ref, kind) for ref, kind in self.world.kinds.items()])
            stubs = b"".join(field(3, field(1, b.ref) + field(2, b.type) + field(5, b.first) + field(6, b.count) +
                                   field(7, b.root())) for b in found.blocks)
            merged.append(record(4, sint(1, 2000) + field(2, skeleton) + stubs + field(4, found.digest())))
        merged += [record(5, field(1, "press-7") + field(2, self.world.block(ref, 0, 20, boot=BOOT))) for ref in (1, 3)]
        whole = b"".join(merged)
        end = record(7, struct.pack("<QQ", len(merged), files.FILE_HEADER_BYTES + len(whole)))
        self.world.segment(3, [whole], owner=1)
        self.check(self.world.sums(), stored=40)            # not ended: the old one counts
        self.world.segment(3, [whole, end], owner=1)
        self.check(self.world.sums(), stored=40)            # ended: the new one counts
        (self.world.gateway / "seg-0000000000000001.lam").unlink()
        self.check(self.world.sums(), stored=40)
        bad = record(5, field(1, "press-7") + field(2, self.world.block(1, 0, 20, boot=BOOT, alter=7)))
        whole = b"".join(merged[:-2] + [bad, merged[-1]])
        end = record(7, struct.pack("<QQ", len(merged), files.FILE_HEADER_BYTES + len(whole)))
        self.world.segment(3, [whole, end], owner=1)
        # Seen by the journal, by the spool's copy, and by the signed root of the first parcel's ten points.
        self.check(self.world.sums(), stored=40, mismatched=1 + 1 + 10)

    def test_retired_points_were_stored_and_may_overlap_what_is_not_deleted_yet(self):
        self.usual()
        run = fixed64(1, BOOT) + field(2, 1) + field(3, 0) + field(4, 20)
        retired = record(3, field(1, "press-7") + field(2, run))
        self.world.segment(2, [retired])
        self.check(self.world.sums(), stored=40)
        self.world.segment(1, self.records[1:])
        self.check(self.world.sums(), stored=30, lost=10)
        self.world.segment(3, [retired])
        self.check(self.world.sums(), stored=30, lost=10)

    def test_gaps_that_retention_carried_on_explain_what_is_missing(self):
        self.usual()
        gap = fixed64(1, BOOT) + field(2, 1) + field(3, 0) + field(4, 10) + field(5, 3)
        self.world.segment(1, self.records[1:])
        self.check(self.world.sums(), stored=20, lost=20)
        self.world.segment(2, [record(3, field(1, "press-7") + field(3, gap))])
        self.check(self.world.sums(), stored=20, lost=10, dropped=10)

    def test_without_journals_holes_between_stored_ordinals_are_lost(self):
        self.world.segment(1, [stored(self.world.parcel(1, [(1, 0, 10), (1, 12, 3)]))])
        self.check(self.world.sums(), made=15, stored=13, lost=2)

    def test_an_end_record_that_miscounts_is_a_mismatch(self):
        self.usual()
        self.world.segment(1, self.records + [record(7, struct.pack("<QQ", 3, 99))])
        self.check(self.world.sums(), stored=40, mismatched=1)

    def test_one_boot_of_two_devices_is_a_mismatch(self):
        self.usual()
        other = parcel(9, [self.world.block(1, 20, 2)], device="press-8")
        self.world.segment(2, [stored(other)])
        self.check(self.world.sums(), stored=42, mismatched=1)

    def test_the_last_line_and_the_exit_code(self):
        self.usual()
        arguments = ["--gateway", str(self.world.gateway), "--agent", str(self.world.agent)]
        for extra, expected in (([], 0), (["--stored-min-percent", "60"], 0), (["--stored-min-percent", "80"], 1)):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                self.assertEqual(balance.main(arguments + extra), expected)
            last = json.loads(out.getvalue().splitlines()[-1])
            self.assertEqual((last["made"], last["stored"], last["lost"]), (60, 40, 0))
        self.world.segment(1, self.records[1:])
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(balance.main(arguments), 1)


class SignatureTest(unittest.TestCase):
    """A parcel in a segment and the same in a spool, signed by a key of OpenSSL's own making."""

    def setUp(self):
        from cryptography.hazmat.primitives.asymmetric import ec
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.world = World(self.folder.name)
        self.site = pathlib.Path(self.folder.name) / "site"
        self.site.mkdir()
        self.key, self.other = (ec.generate_private_key(ec.SECP256K1()) for _ in range(2))
        self.enrol("press-7", self.key)

    def enrol(self, device, key):
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
        public = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint).hex()
        with open(self.site / "registry.jsonl", "a", encoding="utf-8") as registry:
            registry.write(json.dumps({"enroll": {"device": device, "public_key": public, "key_spec": 1}}) + "\n")

    @staticmethod
    def sign(key, digest):
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        r, s = utils.decode_dss_signature(key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))
        return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")

    def check(self, signature=None, key=None, spec=1, **expected):
        message = self.world.parcel(1, [(1, 0, 10)])[:-66]   # without its signature, which is none
        digest = files.Parcel(message).digest()
        message += field(13, spec) + field(14, signature(digest) if signature else self.sign(key or self.key, digest))
        hello = field(2, "hall") + field(3, "press-7") + fixed64(4, BOOT) + sint(6, 5) + field(7, 1)
        hello += field(8, self.sign(self.key, files.Hello(hello).digest()))
        self.world.segment(1, [record(2, field(2, hello)), stored(message)])
        self.world.spool(1, [record(32, field(1, boot_state())), spooled(message)])
        totals = self.world.sums(sites=[self.site])
        self.assertEqual({name: totals[name] for name in expected}, expected, self.world.complaints)

    def test_parcels_and_hellos_of_enrolled_devices_are_verified(self):
        self.check(signatures=3, unverified=0, mismatched=0)

    def test_a_former_key_of_the_device_counts(self):
        self.enrol("press-7", self.other)
        self.check(signatures=3, mismatched=0)

    def test_a_signature_of_another_key_is_a_mismatch(self):
        self.check(key=self.other, signatures=1, mismatched=2)
        self.assertIn("the signature is not press-7's", self.world.complaints[0])

    def test_a_flipped_bit_an_upper_s_a_short_one_and_an_unknown_specifier_are_mismatches(self):
        def flipped(digest):
            good = bytearray(self.sign(self.key, digest))
            good[40] ^= 1
            return bytes(good)

        def upper(digest):
            good = self.sign(self.key, digest)
            return good[:32] + (ORDER - int.from_bytes(good[32:], "big")).to_bytes(32, "big")
        for bad in (flipped, upper, lambda digest: self.sign(self.key, digest)[:63], lambda digest: bytes(64)):
            self.check(signature=bad, signatures=1, mismatched=2)
        self.check(spec=2, signatures=1, mismatched=2)

    def test_what_nobody_enrolled_is_counted_and_not_believed_to_be_verified(self):
        (self.site / "registry.jsonl").write_text('{"revoke":{"device":"press-7","at":1}}\n{"enroll":{"dev')
        self.check(signatures=0, unverified=3, mismatched=0)

    def test_the_golden_messages_of_proto(self):
        folder = pathlib.Path(__file__).resolve().parents[2] / "proto" / "vectors" / "parcel"
        (self.site / "registry.jsonl").unlink()   # the vectors' secret key is 1: the public one is the generator
        (self.site / "registry.jsonl").write_text(json.dumps({"enroll": {
            "device": "press-7", "public_key": "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"}}) + "\n")
        keys = Keys([self.site])
        for name, number, kind, good in (("example", 2, files.Parcel, True), ("declaration", 2, files.Parcel, True),
                                         ("gap", 2, files.Parcel, True), ("hello", 1, files.Hello, True),
                                         ("bad_parcel_signature", 2, files.Parcel, False),
                                         ("bad_hello_signature", 1, files.Hello, False)):
            signed = kind(files.Message((folder / f"{name}.bin").read_bytes()).blob(number))
            complaint = keys.complaint(signed.device, signed.digest(), signed.signature, signed.key_spec)
            self.assertEqual(complaint is None, good, f"{name}: {complaint}")
        self.assertEqual((keys.verified, keys.unknown), (4, 0))


class ClockTest(unittest.TestCase):
    """20 rows of series 1, the last 10 of them after a step of the clock."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.world = World(self.folder.name)
        self.world.kinds = {1: files.TYPE_I64}

    def journal(self, times=None, segment=1):
        out = header("J", 1) + record(16, boot_state(covered=[(1, 0)])) + record(17, declaration(1))
        before = {}
        for n in range(20):
            if n == 10:
                out += record(19, field(1, segment))
            out += row((times or {}).get(n, 1000 * n), {1: self.world.value(1, n)}, before, self.world.kinds)
        (self.world.agent / "journal-0000000000000001.lam").write_bytes(out)

    def block(self, first, count, clock):
        plain = self.world.block(1, first, count)
        if clock == 0:
            return plain
        head = plain[:2] + bytes([plain[2] | 0x40]) + varint(clock) + plain[3:-4]   # block.md: behind the shape
        return head + struct.pack("<I", files.crc32c(head))

    def stored(self, *blocks, clocks=()):
        told = b"".join(field(11, field(1, segment) + (sint(3, offset) if offset else b"") + field(4, known))
                        for segment, offset, known in clocks)
        message = parcel(1, [self.block(*entry) for entry in blocks], [], [declaration(1)])
        self.world.segment(1, [stored(message[:-66] + told + message[-66:])])
        return self.world.sums()

    def test_each_point_stands_in_the_segment_it_was_made_in(self):
        self.journal()
        totals = self.stored((0, 10, 0), (10, 10, 1), clocks=[(0, 0, 1), (1, 0, 1)])
        self.assertEqual([totals[name] for name in ("stored", "mismatched", "clocks", "clocks_undeclared")], [20, 0, 2, 0])

    def test_a_point_of_another_segment_is_a_mismatch(self):
        self.journal()
        self.assertEqual(self.stored((0, 12, 0), (12, 8, 1))["mismatched"], 2)
        self.assertIn("ordinals 10 to 11", self.world.complaints[0])

    def test_a_segment_that_no_parcel_declares_is_counted(self):
        self.journal()
        self.assertEqual(self.stored((0, 10, 0), (10, 10, 1), clocks=[(1, 0, 1)])["clocks_undeclared"], 1)

    def test_a_declaration_that_changes_what_was_known_is_a_mismatch(self):
        self.journal()
        good, bad = [(0, 0, 0), (0, 5, 1), (1, 0, 1)], [(0, 5, 1), (0, 6, 1), (1, 0, 1)]
        self.assertEqual(self.stored((0, 10, 0), (10, 10, 1), clocks=good)["mismatched"], 0)
        self.assertEqual(self.stored((0, 10, 0), (10, 10, 1), clocks=bad)["mismatched"], 1)

    def test_merging_across_segments_is_a_mismatch(self):
        stub = b"".join(field(3, field(1, 1) + field(2, files.TYPE_I64) + field(4, clock) + field(5, first) + field(6, 10) +
                              field(7, files.decode_block(self.block(first, 10, clock), BOOT).root()))
                        for first, clock in ((0, 0), (10, 1)))
        skeleton = parcel(1, [], [], [declaration(1)])
        signed = files.Parcel(parcel(1, [self.block(0, 10, 0), self.block(10, 10, 1)], [], [declaration(1)])).digest()
        self.journal()
        for clock, expected in ((None, 0), (0, 10 + 10), (1, 10 + 10)):   # against the journal, and against what was signed
            blocks = [(0, 10, 0), (10, 10, 1)] if clock is None else [(0, 20, clock)]
            with_boot = [self.world.block(1, first, count, boot=BOOT) for first, count, _ in blocks]
            for index, (_, _, segment) in enumerate(blocks):
                if segment:
                    plain = with_boot[index]
                    head = plain[:2] + bytes([plain[2] | 0x40]) + plain[3:11] + varint(segment) + plain[11:-4]
                    with_boot[index] = head + struct.pack("<I", files.crc32c(head))
            merged = [record(6, struct.pack("<QQ", 1, 9)), record(4, sint(1, 5) + field(2, skeleton) + stub + field(4, signed))]
            merged += [record(5, field(1, "press-7") + field(2, found)) for found in with_boot]
            whole = b"".join(merged)
            end = record(7, struct.pack("<QQ", len(merged), files.FILE_HEADER_BYTES + len(whole)))
            self.world.segment(3, [whole, end], owner=1)
            self.assertEqual(self.world.sums()["mismatched"], expected, self.world.complaints)


class FilesTest(unittest.TestCase):
    def test_crc32c_of_the_known_check_string(self):
        self.assertEqual(files.crc32c(b"123456789"), 0xE3069283)

    def test_blocks_come_back_as_they_were_written(self):
        seed = random.SystemRandom().getrandbits(32)
        source = random.Random(seed)
        for _ in range(300):
            count = source.randint(1, 60)
            kind = source.choice([files.TYPE_F64, files.TYPE_I64, files.TYPE_DEC, files.TYPE_STATE])
            time, times, values = source.randint(-10**12, 10**12), [], []
            for _ in range(count):
                time += source.choice([1000, 1000, 1000, 1, 0, -500, 7000])
                times.append(time)
                fresh = source.getrandbits(64) if source.random() < 0.5 else source.getrandbits(3)
                values.append(values[-1] if values and source.random() < 0.4 else fresh)
            signed = values if kind == files.TYPE_F64 else [v - (1 << 64) if v >> 63 else v for v in values]
            found = files.decode_block(block(5, 77, times, signed, kind), BOOT)
            self.assertEqual((list(found.times), list(found.bits)), (times, values), f"seed {seed}")
            self.assertEqual((found.ref, found.first, found.count, found.boot), (5, 77, count, BOOT))

    def test_the_shortest_block_is_read(self):
        data = block(1, 0, [0], [0])
        self.assertEqual(len(data), 14)
        found = files.decode_block(data)
        self.assertEqual((list(found.times), list(found.bits)), ([0], [0]))
        with self.assertRaises(files.Damaged):
            files.decode_block(data[:13])

    def test_damage_in_a_block_is_never_a_wrong_number(self):
        good = block(5, 77, [1000, 2000, 3500], [4, 4, -9])
        for at in range(len(good)):
            for bad in (good[:at], good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1:]):
                with self.assertRaises(files.Damaged):
                    files.believe(files.decode_block, bad, BOOT)

    def test_the_golden_blocks_of_proto(self):
        folder = pathlib.Path(__file__).resolve().parents[2] / "proto" / "vectors" / "block"
        good = bad = 0
        for text in sorted(folder.glob("*.txt")):
            data = text.with_suffix(".bin").read_bytes()
            facts = [line.split() for line in text.read_text().splitlines() if line and not line.startswith("#")]
            named = {words[0]: words[1] for words in facts if words[0] != "point"}
            if named["error"] != "none":
                bad += 1
                with self.assertRaises(files.Damaged, msg=text.name):
                    files.believe(files.decode_block, data, BOOT)
                continue
            good += 1
            found = files.decode_block(data, BOOT)
            points = [(int(words[1]), int(words[2], 16)) for words in facts if words[0] == "point"]
            self.assertEqual(list(zip(found.times, found.bits)), points, text.name)
            self.assertEqual(found.boot, BOOT if named["boot"] == "-" else int(named["boot"], 16))
            self.assertEqual([found.type, found.clock, found.scale, found.ref, found.first],
                             [int(named[key]) for key in ("type", "clock", "scale", "ref", "first")], text.name)
            if "root" in named:
                self.assertEqual(found.root().hex(), named["root"], text.name)
        self.assertGreater(good, 5)
        self.assertGreater(bad, 5)

    def test_points_of_every_codec_can_be_compared(self):
        """A list is never equal to an array, whatever is in them: the decoders must agree in what they give."""
        folder = pathlib.Path(__file__).resolve().parents[2] / "proto" / "vectors"
        seen = set()
        for path in sorted([*(folder / "block").glob("*.bin"), *(folder / "stored").glob("*.bin")]):
            data = path.read_bytes()
            with contextlib.suppress(files.Damaged):
                found = files.believe(files.decode_block, data, BOOT)
                seen.add(data[1])
                self.assertEqual((found.times, found.bits), (array("q", found.times), array("Q", found.bits)), path.name)
        self.assertEqual(len(seen), 6)

    def test_the_golden_blocks_of_further_codecs(self):
        folder = pathlib.Path(__file__).resolve().parents[2] / "proto" / "vectors" / "stored"
        seen, bad = set(), 0
        for text in sorted(folder.glob("*.txt")):
            data = text.with_suffix(".bin").read_bytes()
            if data[1] not in (files.XOR32, files.SLOPE64, files.RUNS64):
                continue
            facts = [line.split() for line in text.read_text().splitlines() if line and not line.startswith("#")]
            if ["error", "none"] not in facts:
                bad += 1
                with self.assertRaises(files.Damaged, msg=text.name):
                    files.believe(files.decode_block, data, BOOT)
                continue
            seen.add(data[1])
            found = files.decode_block(data, BOOT)
            points = [(int(words[1]), int(words[2], 16)) for words in facts if words[0] == "point"]
            self.assertEqual(list(zip(found.times, found.bits)), points, text.name)
        self.assertEqual(len(seen), 3)
        self.assertGreater(bad, 10)


if __name__ == "__main__":
    unittest.main()
