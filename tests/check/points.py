"""Times, values and flags of points by ordinal, held so that millions of them fit into memory."""
import pathlib
import sys
from array import array
from bisect import bisect_right

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import lambda_files as files  # noqa: E402

ORDINALS_MAX = 200_000_000   # of one series: above it the input is absurd and the answer would not fit into memory


class Points:
    """Times and values of one series by ordinal, in pieces."""

    def __init__(self):
        self.pieces = []   # (first, times, bits), sorted when asked
        self.sorted = True

    def add(self, first, times, bits):
        if len(times):
            self.sorted = self.sorted and (not self.pieces or first >= self.pieces[-1][0])
            self.pieces.append((first, times, bits))

    def put(self, ordinal, time, value):
        """Adds one point; cheap when it follows the one before."""
        if self.pieces:
            first, times, bits = self.pieces[-1]
            if first + len(times) == ordinal:
                times.append(time)
                bits.append(value)
                return
        self.add(ordinal, array("q", (time,)), array("Q", (value,)))

    def cut(self, end):
        """Forgets ordinals from `end` on."""
        kept = []
        for first, times, bits in self.pieces:
            if first < end:
                kept.append((first, times[:end - first], bits[:end - first]))
        self.pieces = kept

    def end(self):
        return max((first + len(times) for first, times, _ in self.pieces), default=0)

    def overlaps(self, first, count):
        """Yields (first, times, bits) of everything known within [first, first + count)."""
        if not self.sorted:
            self.pieces.sort(key=lambda piece: piece[0])
            self.sorted = True
        end = first + count
        at = bisect_right(self.pieces, first, key=lambda piece: piece[0]) - 1
        # Pieces may overlap (duplicates): begin early enough.
        while at > 0 and self.pieces[at - 1][0] + len(self.pieces[at - 1][1]) > first:
            at -= 1
        for start, times, bits in self.pieces[max(at, 0):]:
            if start >= end:
                return
            low, high = max(start, first), min(start + len(times), end)
            if low < high:
                yield low, times[low - start:high - start], bits[low - start:high - start]

    def run(self, first, count):
        """Times and bits of the whole run, or None if a part is unknown."""
        times, bits = array("q"), array("Q")
        for low, some_times, some_bits in self.overlaps(first, count):
            skip = first + len(times) - low
            if skip < 0:
                return None
            times.extend(some_times[skip:])
            bits.extend(some_bits[skip:])
        return (times, bits) if len(times) == count else None


class Flags:
    """One small number for each ordinal of a series."""

    def __init__(self):
        self.bytes = bytearray()

    def reach(self, end):
        if end > ORDINALS_MAX:
            raise files.Damaged(f"an ordinal of {end} is absurd")
        if len(self.bytes) < end:
            self.bytes.extend(bytes(end - len(self.bytes)))

    def add(self, first, count):
        """Counts up; returns how many were set before."""
        self.reach(first + count)
        part = self.bytes[first:first + count]
        zeros = part.count(0)
        self.bytes[first:first + count] = bytes(min(flag + 1, 255) for flag in part) if zeros != count else b"\1" * count
        return count - zeros

    def set(self, first, count):
        self.reach(first + count)
        self.bytes[first:first + count] = b"\1" * count

    def numeral(self, end):
        """The flags of [0, end) as a number with a byte 0 or 1 for each."""
        part = self.bytes[:end].translate(_TO_ONE)
        return int.from_bytes(part + bytes(end - len(part)), "little")


_TO_ONE = bytes([0] + [1] * 255)
