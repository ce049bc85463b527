#!/usr/bin/env python3
"""Counts points: made = stored + buffered + dropped, nothing lost, nothing doubled, every value as it was made.

Reads raw segments, spools and journals of programs at rest; shares no code with them (proto/*.md is its only source).

  balance.py --gateway DIR [--gateway DIR ...] --agent DIR [--agent DIR ...] [--site DIR ...]
             [--stored-min-percent P] [--agent-state-lost] [--json]

DIR is searched for seg-*.lam (gateways) and spool-*, journal-*, kept-*.lam (agents), also in sub-folders. With --site
(the folder of a site's registry.jsonl) the signature of every parcel and hello is verified.

  made      point identities (boot, ref, ordinal) that an agent's journals, kept or live, its spool's state or a gateway
            know of. Ordinals have no gaps: all below the highest one were made.
  stored    of these: accepted by a gateway's segments in force, or retired there by retention
  dropped   not stored, and named by a gap record
  buffered  not stored, not dropped, and in an unsettled parcel of a spool or in a live journal
  lost      none of these
  doubled   accepted more than once by the same gateway
  mismatched  stored or spooled with another time, value or clock segment than it was made with, known to a gateway but
            never made, or in a record whose own statements (digest, roots, counts) or whose signature do not hold
  signatures  verified under a key that the site enrolled for the device; unverified: no key of it is at hand
  clocks    clock segments that stored points are of; clocks_undeclared: those of them that no parcel declares

--agent-state-lost: an agent's folder was lost or put back from a copy, so what only a gateway knows counts as made.
The last line is JSON. Exit 0 only if the balance holds.
"""
import argparse
import json
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import lambda_files as files  # noqa: E402
from clocks import Clocks, Segments  # noqa: E402
from lambda_files import believe  # noqa: E402
from points import Flags, Points  # noqa: E402
from signatures import Keys  # noqa: E402
from spool_state import BEGUN, CHECKPOINT, PENDING_GAP, SETTLED, SPOOLED_PARCEL, SpoolState  # noqa: E402

EXAMPLES_MAX = 20

STORED_PARCEL, STORED_HELLO, RETIRED, SKELETON, MERGED, REPLACES, END = 1, 2, 3, 4, 5, 6, 7
JOURNAL_OPEN, DECLARATION, ROW, CLOCK_SEGMENT, ROWS = 16, 17, 18, 19, 21


class Balance:
    def __init__(self, agent_state_lost=False, sites=()):
        self.agent_state_lost = agent_state_lost
        self.keys = Keys(sites)
        self.clocks = Clocks(self.mismatch)
        self.journals = {}   # (boot, ref) -> Points, as made
        self.stored = {}     # (boot, ref) -> Points, as stored by whatever gateway
        self.accepted = {}   # gateway -> (boot, ref) -> Flags
        self.retired = {}    # (boot, ref) -> Flags
        self.buffered = {}   # (boot, ref) -> Flags
        self.dropped = {}    # (boot, ref) -> Flags
        self.spooled = {}    # (boot, ref) -> [(first, times, bits, where)]
        self.covered = {}    # (boot, ref) -> ordinal, of the agent being read
        self.made_end = {}   # (boot, ref) -> ordinal, by agents
        self.agent_boots = set()
        self.device_of = {}  # boot -> device
        self.series_names = {}
        self.doubled = 0
        self.mismatched = 0
        self.damaged_records = 0
        self.torn_tails = 0
        self.complaints = []
        self.stats = {"segments": 0, "parcels": 0, "blocks": 0, "merged_blocks": 0, "spools": 0, "journals": 0,
                      "spooled_unsettled": 0}

    # --- saying what is wrong ---

    def mismatch(self, text, points=1):
        self.mismatched += points
        if len(self.complaints) < EXAMPLES_MAX:
            self.complaints.append("mismatch: " + text)

    def damage(self, path, offset, what):
        self.damaged_records += 1
        if len(self.complaints) < EXAMPLES_MAX:
            self.complaints.append(f"damage: {path}:{offset}: {what}")

    def open(self, path, kind):
        try:
            found = files.RecordFile(path, kind)
        except files.Damaged as error:
            # A file whose very header did not reach the disk holds nothing; one with more is damage.
            if path.stat().st_size >= files.FILE_HEADER_BYTES:
                self.damage(path, 0, str(error))
            else:
                self.torn_tails += 1
            return None
        for offset, what in found.damage:
            self.damage(path, offset, what)
        self.torn_tails += 1 if found.torn_bytes else 0
        return found

    def owner_of(self, boot, device, where):
        known = self.device_of.setdefault(boot, device)
        if known != device:
            self.mismatch(f"{where}: boot {boot:016x} is of {known} and of {device}")

    def signed(self, signed, digest, where):
        """Of a parcel or hello."""
        complaint = self.keys.complaint(signed.device, digest, signed.signature, signed.key_spec)
        if complaint:
            self.mismatch(f"{where}: {complaint}")

    def made_to(self, key, end):
        self.made_end[key] = max(self.made_end.get(key, 0), end)

    # --- gateways ---

    def gateway(self, directory):
        segments = []
        for path in sorted(pathlib.Path(directory).rglob("seg-*.lam")):
            found = self.open(path, "S")
            if found:
                segments.append(found)
        dead = set()
        for segment in segments:
            replaced = [number for kind, _, body in segment.records if kind == REPLACES for number in replaces(body)]
            if segment.owner == 1 and not (segment.records and segment.records[-1][0] == END):
                dead.add(segment.number)
            else:
                dead.update(replaced)
        accepted = self.accepted.setdefault(str(directory), {})
        stubs = []
        for segment in segments:
            if segment.number in dead:
                continue
            self.stats["segments"] += 1
            for index, (kind, offset, body) in enumerate(segment.records):
                where = f"{segment.path}:{offset}"
                try:
                    believe(self._segment_record, segment, index, kind, body, accepted, stubs, where)
                except files.Damaged as error:
                    self.mismatch(f"{where}: record type {kind}: {error}")
        for boot, stub, where in stubs:
            self._check_stub(boot, stub, where)

    def _segment_record(self, segment, index, kind, body, accepted, stubs, where):
        if kind == STORED_PARCEL:
            self._stored_parcel(files.Message(body), accepted, where)
        elif kind == STORED_HELLO:
            hello = files.Hello(files.Message(body).blob(2))
            self.owner_of(hello.boot, hello.device, where)
            self.signed(hello, hello.digest(), where)
        elif kind == RETIRED:
            message = files.Message(body)
            for run in message.messages(2):
                self.owner_of(run.fixed64(1), message.text(1), where)
                self.retired.setdefault((run.fixed64(1), run.uint(2)), Flags()).set(run.uint(3), run.uint(4))
            for gap in message.messages(3):
                self.owner_of(gap.fixed64(1), message.text(1), where)
                self.dropped.setdefault((gap.fixed64(1), gap.uint(2)), Flags()).set(gap.uint(3), gap.uint(4))
        elif kind == SKELETON:
            self._skeleton(files.Message(body), stubs, where)
        elif kind == MERGED:
            message = files.Message(body)
            block = files.decode_block(message.blob(2))
            if block.boot is None:
                raise files.Damaged("a merged block has no boot")
            self.owner_of(block.boot, message.text(1), where)
            self.stats["merged_blocks"] += 1
            self._accept(accepted, block, block.first, block.count, where)
            self.clocks.keep(block.boot, block, where)
            self.stored.setdefault((block.boot, block.ref), Points()).add(block.first, block.times, block.bits)
        elif kind == END:
            records, end = struct.unpack("<QQ", body)
            damaged = len([1 for offset, _ in segment.damage if offset < segment.records[index][1]])
            if records != index + damaged or end != segment.records[index][1]:
                raise files.Damaged(f"End says {records} records in {end} bytes before it, there are {index} "
                                    f"in {segment.records[index][1]}")

    def _stored_parcel(self, record, accepted, where):
        parcel = files.Parcel(record.blob(2))
        self.stats["parcels"] += 1
        self.owner_of(parcel.boot, parcel.device, where)
        if parcel.digest() != record.blob(5):
            raise files.Damaged("the digest is not that of the signed form")
        self.signed(parcel, record.blob(5), where)
        self.clocks.declare(parcel, where)
        if record.uint(3):
            for run in record.messages(4):
                index, first, count = run.uint(1), run.uint(2), run.uint(3)
                if index >= len(parcel.blocks) or count == 0:
                    raise files.Damaged("an accepted run names no block")
                block = parcel.blocks[index]
                if first < block.first or first + count > block.end():
                    raise files.Damaged("an accepted run leaves its block")
                self._accept(accepted, block, first, count, where)
        else:
            for block in parcel.blocks:
                self._accept(accepted, block, block.first, block.count, where)
        # What was not new is a repetition of what is stored: it must be the same.
        for block in parcel.blocks:
            self.stats["blocks"] += 1
            self.clocks.keep(parcel.boot, block, where)
            self.stored.setdefault((block.boot, block.ref), Points()).add(block.first, block.times, block.bits)
        self._gaps(parcel)

    def _skeleton(self, record, stubs, where):
        parts = []
        for message in record.messages(3):
            stub = files.Stub()
            stub.ref, stub.type, stub.scale, stub.clock = (message.uint(number) for number in (1, 2, 3, 4))
            stub.first, stub.count, stub.root = message.uint(5), message.uint(6), message.blob(7)
            parts.append(stub)
        parcel = files.Parcel(record.blob(2), parts)
        self.owner_of(parcel.boot, parcel.device, where)
        if parcel.blocks or parcel.digest() != record.blob(4):
            raise files.Damaged("the digest is not that of the skeleton's signed form")
        self.signed(parcel, record.blob(4), where)
        self.clocks.declare(parcel, where)
        for stub in parts:
            self.clocks.stub(parcel.boot, stub, where)
        self.stats["blocks"] += len(parts)
        stubs.extend((parcel.boot, stub, where) for stub in parts)
        self._gaps(parcel)

    def _check_stub(self, boot, stub, where):
        """A merged block must still have the points that the device signed."""
        known = self.stored.get((boot, stub.ref), Points()).run(stub.first, stub.count)
        if known is None:
            return  # counted as lost or retired elsewhere
        if files.content_root(*known) != stub.root:
            self.mismatch(f"{where}: points {stub.first} to {stub.first + stub.count - 1} of series {stub.ref} are not "
                          "those that were signed", stub.count)

    def _accept(self, accepted, block, first, count, where):
        key = (block.boot, block.ref)
        before = accepted.setdefault(key, Flags()).add(first, count)
        if before:
            self.doubled += before
            if len(self.complaints) < EXAMPLES_MAX:
                self.complaints.append(f"doubled: {where}: {before} of {count} points from {first} of series {block.ref}")

    def _gaps(self, parcel):
        for ref, first, count, _ in parcel.gaps:
            self.dropped.setdefault((parcel.boot, ref), Flags()).set(first, count)

    # --- agents ---

    def agent(self, directory):
        root = pathlib.Path(directory)
        self._spool(root)
        named = [(path, False) for path in root.rglob("journal-*.lam")] + [(path, True) for path in root.rglob("kept-*.lam")]
        folders = {}
        for path, kept in named:
            found = self.open(path, "J")
            if found:
                folders.setdefault(path.parent, []).append((found, kept))
        for journals in folders.values():
            self._journals(sorted(journals, key=lambda entry: entry[0].number))

    def _journals(self, journals):
        """Those of one folder, in order: a later file of a boot voids what earlier ones have above its start."""
        made, live = {}, {}   # boot -> ref -> Points; boot -> ref -> first live ordinal
        for journal, kept in journals:
            self.stats["journals"] += 1
            reader = files.JournalReader()
            damaged_from = journal.damage[0][0] if journal.damage else None
            for kind, offset, body in journal.records:
                if damaged_from is not None and offset > damaged_from:
                    break  # behind damage nothing can be placed
                try:
                    if kind == JOURNAL_OPEN:
                        believe(reader.open, body)
                        self._journal_opened(reader, made.setdefault(reader.boot, {}))
                    elif kind == DECLARATION:
                        believe(reader.declare, body)
                    elif kind == CLOCK_SEGMENT:
                        believe(reader.clock_segment, body)
                    elif kind in (ROW, ROWS):
                        series = made[reader.boot] if reader.boot is not None else {}
                        live_refs = live.setdefault(reader.boot, {})

                        def visit(ref, ordinal, time, value):
                            points = series.get(ref)
                            if points is None:
                                points = series[ref] = Points()
                            points.put(ordinal, time, value)
                            self.clocks.made.setdefault((reader.boot, ref), Segments()).add(ordinal, 1, reader.clock)
                            if not kept:
                                live_refs.setdefault(ref, ordinal)
                        believe(reader.row if kind == ROW else reader.rows, body, visit)
                except files.Damaged as error:
                    self.mismatch(f"{journal.path}:{offset}: record type {kind}: {error}")
                    break
        self._journals_read(made, live)

    def _journal_opened(self, reader, series):
        self.agent_boots.add(reader.boot)
        for ref, points in series.items():
            points.cut(reader.next.get(ref, 0))
            self.clocks.made[(reader.boot, ref)].cut(reader.next.get(ref, 0))
        for ref, ordinal in reader.next.items():
            self.made_to((reader.boot, ref), ordinal)

    def _journals_read(self, made, live):
        for boot, series in made.items():
            for ref, points in series.items():
                key = (boot, ref)
                self.made_to(key, points.end())
                known = self.journals.setdefault(key, Points())
                for first, times, bits in points.pieces:
                    self._compare(known, first, times, bits, f"journals of boot {boot:016x}, series {ref}")
                    known.add(first, times, bits)
                start = max(live.get(boot, {}).get(ref, points.end()), self.covered.get(key, 0))
                for first, times, _ in points.overlaps(start, max(points.end() - start, 0)):
                    self.buffered.setdefault(key, Flags()).set(first, len(times))

    def _spool(self, root):
        """The state is the newest whole checkpoint and what follows it; parcels that it calls unsettled are buffered."""
        self.covered = {}
        spools = []
        for path in sorted(root.rglob("spool-*.lam")):
            found = self.open(path, "P")
            if found:
                spools.append(found)
                self.stats["spools"] += 1
        spools.sort(key=lambda spool: spool.number)
        state = SpoolState()
        base = None
        for spool in reversed(spools):
            if spool.records and spool.records[0][0] == CHECKPOINT and state.checkpoint(spool, self):
                base = spool
                break
        self._known_state(state)
        for spool in spools:
            believed = state.believed.get(spool.number, spool.size)
            for kind, offset, body in spool.records:
                if offset >= believed:
                    break
                where = f"{spool.path}:{offset}"
                later = base is None or spool.number >= base.number
                try:
                    if kind == SPOOLED_PARCEL:
                        believe(self._spooled, state, files.Message(body), where)
                    elif kind == SETTLED and later:
                        message = files.Message(body)
                        for run in message.messages(2):
                            state.settle(message.fixed64(1), run.uint(1), run.uint(2))
                    elif kind == BEGUN and later:
                        state.add_boot(files.Message(body))
                    elif kind == PENDING_GAP and later:
                        gap = files.Message(body[8:])
                        state.pending.append((struct.unpack_from("<Q", body)[0], gap.uint(1), gap.uint(2), gap.uint(3)))
                except files.Damaged as error:
                    self.mismatch(f"{where}: record type {kind}: {error}")
        self._known_state(state)
        for parcel in state.parcels:
            if state.is_settled(parcel.boot, parcel.seq):
                continue
            self.stats["spooled_unsettled"] += 1
            for block in parcel.blocks:
                self.buffered.setdefault((block.boot, block.ref), Flags()).set(block.first, block.count)
            self._gaps(parcel)
        for boot, ref, first, count in state.pending:
            self.dropped.setdefault((boot, ref), Flags()).set(first, count)

    def _spooled(self, state, record, where):
        parcel = files.Parcel(record.blob(1))
        self.owner_of(parcel.boot, parcel.device, where)
        if parcel.digest() != record.blob(2):
            raise files.Damaged("the digest is not that of the signed form")
        self.signed(parcel, record.blob(2), where)
        self.clocks.declare(parcel, where)
        state.parcels.append(parcel)
        self.agent_boots.add(parcel.boot)
        for block in parcel.blocks:
            key = (block.boot, block.ref)
            self.made_to(key, block.end())
            self.covered[key] = max(self.covered.get(key, 0), block.end())
            self.spooled.setdefault(key, []).append((block.first, block.times, block.bits, where))
            self.clocks.spool(parcel.boot, block, where)
        for ref, first, count, _ in parcel.gaps:
            self.made_to((parcel.boot, ref), first + count)

    def _known_state(self, state):
        self.agent_boots.update(state.boots)
        for key, ordinal in state.covered.items():
            self.made_to(key, ordinal)
            self.covered[key] = max(self.covered.get(key, 0), ordinal)

    # --- the sums ---

    def _compare(self, known, first, times, bits, where):
        """Compares a run with what is known of it; differences are mismatches."""
        for low, known_times, known_bits in known.overlaps(first, len(times)):
            skip = low - first
            mine = (times[skip:skip + len(known_times)], bits[skip:skip + len(known_bits)])
            if mine == (known_times, known_bits):
                continue
            wrong = [index for index in range(len(known_times))
                     if (mine[0][index], mine[1][index]) != (known_times[index], known_bits[index])]
            at = wrong[0]
            self.mismatch(f"{where}: ordinal {low + at} is ({mine[0][at]}, {mine[1][at]:#x}), made as "
                          f"({known_times[at]}, {known_bits[at]:#x})", len(wrong))

    def _compare_all(self):
        for source, what in ((self.stored, "stored"),):
            for key, points in source.items():
                made = self.journals.get(key)
                where = f"{what}: boot {key[0]:016x}, series {key[1]}"
                if made:
                    for piece in points.pieces:
                        self._compare(made, *piece, where)
                self._compare_copies(points, where)
        for key, runs in self.spooled.items():
            for reference in (self.journals.get(key), self.stored.get(key)):
                if reference:
                    for first, times, bits, where in runs:
                        self._compare(reference, first, times, bits, where)

    def _compare_copies(self, points, where):
        """The same ordinals in several records: all copies must be equal."""
        reach = None   # the piece that reaches farthest so far
        for piece in sorted(points.pieces, key=lambda entry: entry[0]):
            if reach and reach[0] + len(reach[1]) > piece[0]:
                known = Points()
                known.add(*reach)
                self._compare(known, *piece, where)
            if not reach or piece[0] + len(piece[1]) > reach[0] + len(reach[1]):
                reach = piece

    def sums(self):
        self._compare_all()
        totals = {"made": 0, "stored": 0, "buffered": 0, "dropped": 0, "lost": 0}
        unwitnessed = 0
        keys = set(self.made_end) | set(self.retired) | set(self.dropped) | set(self.buffered) | set(self.stored)
        per_gateway = list(self.accepted.values())
        for key in sorted(keys):
            stored_flags = [part[key] for part in per_gateway if key in part]
            if key in self.retired:
                stored_flags.append(self.retired[key])
            stored_end = max((len(flags.bytes) for flags in stored_flags), default=0)
            end = self.made_end.get(key, 0)
            beyond = max(stored_end, len(self.dropped[key].bytes) if key in self.dropped else 0)
            if beyond > end:
                if key[0] in self.agent_boots and not self.agent_state_lost:
                    self.mismatch(f"boot {key[0]:016x}, series {key[1]}: a gateway knows ordinals up to {beyond - 1}, the "
                                  f"agent made {end}", beyond - end)
                unwitnessed += beyond - end
                end = beyond
            stored = 0
            for flags in stored_flags:
                stored |= flags.numeral(end)
            dropped = (self.dropped[key].numeral(end) if key in self.dropped else 0) & ~stored
            buffered = (self.buffered[key].numeral(end) if key in self.buffered else 0) & ~stored & ~dropped
            counts = [number.bit_count() for number in (stored, buffered, dropped)]
            totals["made"] += end
            for name, count in zip(("stored", "buffered", "dropped"), counts):
                totals[name] += count
            if end > sum(counts):
                totals["lost"] += end - sum(counts)
                self._name_lost(key, stored | buffered | dropped, end)
        clocks, clocks_undeclared = self.clocks.check()
        totals["doubled"] = self.doubled
        totals["mismatched"] = self.mismatched
        totals["unwitnessed"] = unwitnessed
        totals["damaged_records"] = self.damaged_records
        totals["torn_tails"] = self.torn_tails
        totals["signatures"], totals["unverified"] = self.keys.verified, self.keys.unknown
        totals["clocks"], totals["clocks_undeclared"] = clocks, clocks_undeclared
        return totals

    def _name_lost(self, key, known, end):
        if len(self.complaints) >= EXAMPLES_MAX:
            return
        missing = known.to_bytes(end, "little")
        first = missing.index(0)
        last = missing.rindex(0)
        self.complaints.append(f"lost: boot {key[0]:016x}, series {key[1]}: {missing.count(0)} ordinals between {first} "
                               f"and {last} of {end}")


def replaces(body):
    count = struct.unpack_from("<Q", body)[0]
    if len(body) != 8 + 8 * count:
        return []
    return struct.unpack_from(f"<{count}Q", body, 8)


def holds(totals, stored_min_percent):
    return (totals["made"] == totals["stored"] + totals["buffered"] + totals["dropped"] and totals["lost"] == 0 and
            totals["doubled"] == 0 and totals["mismatched"] == 0 and
            totals["stored"] * 100 >= stored_min_percent * totals["made"])


def run(gateways, agents, agent_state_lost=False, sites=()):
    balance = Balance(agent_state_lost, sites)
    for directory in agents:
        balance.agent(directory)
    for directory in gateways:
        balance.gateway(directory)
    return balance, balance.sums()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", action="append", default=[], metavar="DIR")
    parser.add_argument("--agent", action="append", default=[], metavar="DIR")
    parser.add_argument("--site", action="append", default=[], metavar="DIR")
    parser.add_argument("--stored-min-percent", type=float, default=0)
    parser.add_argument("--agent-state-lost", action="store_true")
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args(arguments)
    for directory in options.gateway + options.agent + options.site:
        if not pathlib.Path(directory).is_dir():
            parser.error(f"{directory} is no folder")
    balance, totals = run(options.gateway, options.agent, options.agent_state_lost, options.site)
    if not options.json:
        for complaint in balance.complaints:
            print(complaint)
        print(", ".join(f"{count} {name}" for name, count in balance.stats.items()))
        print(f"{totals['signatures']} signatures verified, {totals['unverified']} not, for want of the device's key")
    print(json.dumps(totals))
    return 0 if holds(totals, options.stored_min_percent) else 1


if __name__ == "__main__":
    sys.exit(main())
