"""Clock segments: in which one each point was made, is kept, and what parcels say of them (proto/*.md)."""


class Segments:
    """The clock segment of each ordinal of one series: runs (first, end, segment)."""

    def __init__(self):
        self.runs = []

    def add(self, first, count, segment):
        if self.runs:
            start, end, last = self.runs[-1]
            if last == segment and start <= first <= end:
                self.runs[-1] = (start, max(end, first + count), segment)
                return
        self.runs.append((first, first + count, segment))

    def cut(self, end):
        """Forgets ordinals from `end` on."""
        self.runs = [(start, min(stop, end), segment) for start, stop, segment in self.runs if start < end]

    def merge(self):
        """Sorts, and joins what belongs together."""
        runs, self.runs = sorted(self.runs), []
        for first, end, segment in runs:
            self.add(first, end - first, segment)

    def others(self, first, count, segment):
        """Yields (first, end, segment) of everything known in [first, first + count) that is of another segment."""
        for start, end, known in self.runs:
            if known != segment and start < first + count and first < end:
                yield max(start, first), min(end, first + count), known


class Clocks:
    """`mismatch(text, points)` is told what does not fit together."""

    def __init__(self, mismatch):
        self.mismatch = mismatch
        self.made = {}       # (boot, ref) -> Segments, by the journals
        self.kept = {}       # (boot, ref) -> Segments, by gateways
        self.copies = []     # (boot, ref, first, count, segment, where) of blocks in parcels and merged ones
        self.stubs = []      # the same of blocks that were merged
        self.declared = {}   # (boot, segment) -> (relative, offset_ms, known)

    def keep(self, boot, block, where):
        self.kept.setdefault((boot, block.ref), Segments()).add(block.first, block.count, block.clock)
        self.spool(boot, block, where)

    def spool(self, boot, block, where):
        self.copies.append((boot, block.ref, block.first, block.count, block.clock, where))

    def stub(self, boot, stub, where):
        self.stubs.append((boot, stub.ref, stub.first, stub.count, stub.clock, where))

    def declare(self, parcel, where):
        for segment, relative, offset_ms, known in parcel.clocks:
            before = self.declared.get((parcel.boot, segment))
            if before and (before[0] != relative or (before[2] and known and before[1] != offset_ms)):
                self.mismatch(f"{where}: clock segment {segment} of boot {parcel.boot:016x} is declared as "
                              f"({relative}, {offset_ms}), before as ({before[0]}, {before[1]})", 1)
            if not before or known:
                self.declared[(parcel.boot, segment)] = (relative, offset_ms, known)

    def check(self):
        """Every copy of a point stands in the segment it was made in. Returns how many segments have points, and how
        many of those no parcel declares."""
        for segments in (*self.made.values(), *self.kept.values()):
            segments.merge()
        for copies, source, what in ((self.copies, self.made, "made"), (self.stubs, self.kept, "kept")):
            for boot, ref, first, count, segment, where in copies:
                known = source.get((boot, ref))
                for low, end, other in known.others(first, count, segment) if known else ():
                    self.mismatch(f"{where}: ordinals {low} to {end - 1} of series {ref} are said to be of clock segment "
                                  f"{segment}, {what} in {other}", end - low)
        used = {(boot, run[2]) for (boot, _), segments in self.kept.items() for run in segments.runs}
        return len(used), len(used - set(self.declared))
