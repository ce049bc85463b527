"""Reads the payload of packed blocks (proto/block.md, "Packed"), from the document alone: shares no code with the SDK."""
import struct
from array import array

MASK = (1 << 64) - 1
TYPE_F64, TYPE_F32 = 1, 2


class Payload:
    def __init__(self, data, at):
        self.data, self.at = data, at

    def u8(self):
        self.at += 1
        return self.data[self.at - 1]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self):
        value = self.varint()
        return value >> 1 if value % 2 == 0 else -(value >> 1) - 1

    def take(self, length):
        if self.at + length > len(self.data):
            raise ValueError("cut short")
        self.at += length
        return self.data[self.at - length:self.at]

    def line(self, count, width):
        number = int.from_bytes(self.take((count * width + 7) // 8), "little")
        return [number >> (i * width) & (1 << width) - 1 for i in range(count)]

    def integers(self, count, width):
        if count != 128 or width == 0:
            return self.line(count, width)
        word = min(w for w in (16, 32, 64) if w >= width)
        lanes = 128 // word
        rows = [self.take(16) for _ in range(width)]
        numbers = []
        for lane in range(lanes):
            begin = lane * word // 8
            numbers.append(int.from_bytes(b"".join(row[begin:begin + word // 8] for row in rows), "little"))
        return [numbers[i % lanes] >> (i // lanes * width) & (1 << width) - 1 for i in range(128)]

    def column(self, count):
        kind = self.u8()
        if kind > 3:
            raise ValueError("column %d" % kind)
        if kind == 0:
            first, step = self.signed(), self.signed()
            return [(first + i * step) & MASK for i in range(count)]
        slope = _wrap(self.signed()) if kind == 3 else 0
        base = delta = 0
        out = []
        while len(out) < count:
            n = min(128, count - len(out))
            head = self.u8()
            base += self.signed()
            if head == 0x7F:
                runs, length_width, value_width = self.u8(), self.u8(), self.u8()
                lengths = [x + 1 for x in self.line(runs, length_width)]
                values = self.line(runs, value_width)
                if sum(lengths) != n:
                    raise ValueError("runs of %d, not %d" % (sum(lengths), n))
                out += [(base + v) & MASK for length, v in zip(lengths, values) for _ in range(length)]
                continue
            width = head & 127
            if kind == 2:
                delta += self.signed()
            patches, extra, places, above = 0, 0, b"", []
            if head & 128:
                patches, extra = self.u8(), self.u8()
                places = self.take(patches)
                above = self.line(patches, extra)
            if width + extra > 64:
                raise ValueError("%d bits" % (width + extra))
            u = self.integers(n, width)
            for place, value in zip(places, above):
                u[place] |= value << width
            if kind == 2:
                value = base
                out.append(value & MASK)
                for x in u[1:]:
                    value += delta + x
                    out.append(value & MASK)
            elif kind == 3:
                out += [(base + x + (_wrap(i * slope) >> 8)) & MASK for i, x in enumerate(u)]
            else:
                out += [(base + x) & MASK for x in u]
        return out


def _wrap(n):
    n &= MASK
    return n - (1 << 64) if n >> 63 else n


def _decimal_bits(type, n, power):
    quotient = float(n) / power
    if type == TYPE_F64:
        return struct.unpack("<Q", struct.pack("<d", quotient))[0]
    return struct.unpack("<I", struct.pack("<f", quotient))[0]


def decode(data, at, type, count, t_min, tick):
    """Times and bits of the values, and where the payload ended. ValueError, IndexError: not such a payload."""
    payload = Payload(data, at)
    times = [t_min + t * tick for t in payload.column(count)]
    form = payload.u8()
    if form == 0:
        values = payload.column(count)
    elif form == 1:
        power = float(10 ** payload.u8())
        exceptions = [struct.unpack("<HQ", payload.take(10)) for _ in range(payload.varint())]
        integers = payload.column(count)
        away = payload.column(count)
        values = [(_decimal_bits(type, _wrap(n), power) + a) & MASK for n, a in zip(integers, away)]
        for place, bits in exceptions:
            values[place] = bits
    elif form == 2:
        entries = payload.column(payload.varint())
        values = [entries[place] for place in payload.column(count)]
    elif form == 3:
        cut = payload.u8()
        entries = payload.column(payload.varint())
        places = payload.column(count)
        values = [entries[place] << cut | low for place, low in zip(places, payload.column(count))]
    else:
        raise ValueError("form %d" % form)
    return array("q", times), array("Q", values), payload.at
