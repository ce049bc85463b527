"""Writes blocks, parcels, records and messages for tests, as simply as can be: always the widest code. From proto/*.md alone."""
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import lambda_files as files  # noqa: E402

MASK = files.MASK
BOOT = 0x1122334455667788


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def zigzag(value):
    return varint((value << 1) ^ (value >> 63) if value >= 0 else ((value << 1) ^ -1) & MASK)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed64(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def sint(number, value):
    return varint(number << 3) + zigzag(value)


def block(ref, first, times, values, kind=files.TYPE_I64, boot=None):
    shape = kind | (0x10 if boot is not None else 0)
    rising = all(a < b for a, b in zip(times, times[1:]))
    if not rising:
        shape |= 0x20
    out = bytes([0xB1, 1 if kind == files.TYPE_F64 else 2, shape])
    if boot is not None:
        out += struct.pack("<Q", boot)
    if kind == files.TYPE_DEC:
        out += b"\2"
    out += varint(ref) + varint(first) + varint(len(times)) + zigzag(min(times)) + varint(max(times) - min(times))
    out += varint(1)
    if not rising:
        out += varint(times[0] - min(times))
    xor = kind == files.TYPE_F64
    out += struct.pack("<Q", values[0]) if xor else zigzag(values[0])
    bits, pace = "", 0
    for i in range(1, len(times)):
        step = times[i] - times[i - 1] - pace
        pace += step
        bits += "11" + "111" + format(step & 0x3FFFFF, "022b") if step else "10" if values[i] != values[i - 1] else "0"
        if values[i] == values[i - 1]:
            bits += "0" if step else ""
            continue
        bits += "1" if step else ""
        if xor:
            bits += "1" + "00000" + "111111" + format(values[i] ^ values[i - 1], "064b")
        else:
            change = (values[i] - values[i - 1] + (1 << 63)) % (1 << 64) - (1 << 63)
            coded = ((change << 1) ^ (change >> 63)) & MASK
            bits += "11111" + format(coded - 1, "064b")
    bits += "0" * (-len(bits) % 8)
    out += bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
    return out + struct.pack("<I", files.crc32c(out))


def declaration(ref, kind=files.TYPE_I64):
    return field(1, ref) + field(2, f"series_{ref}") + field(3, field(1, "a") + field(2, "b")) + field(4, 1) + \
        field(5, kind)


def gap(ref, first, count):
    return field(1, ref) + field(2, first) + field(3, count) + field(4, 1)


def parcel(seq, blocks, gaps=(), declarations=(), boot=BOOT, device="press-7"):
    out = field(1, 1) + field(2, "hall") + field(3, device) + fixed64(4, boot) + field(5, seq) + sint(6, 1000 + seq)
    for entry in declarations:
        out += field(8, entry)
    for entry in blocks:
        out += field(9, entry)
    for entry in gaps:
        out += field(10, entry)
    return out + field(14, b"s" * 64)


def record(kind, body):
    head = b"LR" + bytes([kind, 0]) + struct.pack("<I", len(body))
    return head + struct.pack("<II", files.crc32c(head), files.crc32c(body)) + body


def header(kind, number, owner=0):
    out = b"LREC" + struct.pack("<BBHQqI", 1, ord(kind), 0, number, 5, owner)
    return out + struct.pack("<I", files.crc32c(out))


def stored(message, accepted=None):
    body = sint(1, 2000) + field(2, message)
    if accepted is not None:
        body += field(3, 1)
        for index, first, count in accepted:
            body += field(4, field(1, index) + field(2, first) + field(3, count))
    return record(1, body + field(5, files.Parcel(message).digest()))


def spooled(message):
    return record(33, field(1, message) + field(2, files.Parcel(message).digest()))


def boot_state(floor=1, settled=(), covered=(), boot=BOOT, pending=(), declarations=()):
    out = fixed64(1, boot) + field(4, 9) + field(5, floor)
    for first, last in settled:
        out += field(7, field(1, first) + field(2, last))
    for ref, ordinal in covered:
        out += field(8, field(1, ref) + field(2, ordinal))
    for entry in declarations:
        out += field(9, entry)
    for entry in pending:
        out += field(12, entry)
    return out


def row(time, points, before, kinds):
    return record(18, row_body(time, points, before, kinds))


def rows(moments, before, kinds):
    """(time, points) of each, in one record."""
    out, last = b"", 0
    for time, points in moments:
        out += row_body(time - last, points, before, kinds)
        last = time
    return record(21, out)


def row_body(time, points, before, kinds):
    out, last = zigzag(time) + varint(len(points)), -1
    for ref in sorted(points):
        out += varint(ref - last - 1)
        last = ref
        value, previous = points[ref], before.get(ref, 0)
        before[ref] = value
        if kinds[ref] == files.TYPE_F64:
            out += bytes([8]) + struct.pack("<Q", value ^ previous)
        else:
            out += zigzag((value - previous + (1 << 63)) % (1 << 64) - (1 << 63))
    return out
