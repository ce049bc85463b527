#!/usr/bin/env python3
"""Writes the golden vectors of block.md beside itself: NAME.bin, the bytes, and NAME.txt, what they mean.

A third writer of the format, in another language than the SDK's and made from the document alone, so that the SDK is
tested against bytes it did not write. Existing vectors are never changed, only added to: devices in the field have
written such bytes.
"""
import pathlib
import struct

HERE = pathlib.Path(__file__).parent
F64, I64, DEC, STATE = 1, 3, 4, 5


def varint(n):
    out = b""
    while n >= 128:
        out += bytes([n % 128 + 128])
        n //= 128
    return out + bytes([n])


def zigzag(n):
    return 2 * n if n >= 0 else -2 * n - 1


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


def bits(n, width):
    return format(n % (1 << width), "0%db" % width)


def first_that_fits(n, buckets, signed):
    for prefix, width in buckets:
        low, high = (-(1 << width - 1), 1 << width - 1) if signed else (0, 1 << width)
        if low <= n < high:
            return prefix + bits(n, width)
    raise ValueError(n)


def codes(points, xor, tick):
    window, step, out = None, 0, []
    for (t0, v0), (t1, v1) in zip(points, points[1:]):
        now = (t1 - t0) // tick
        code = "0" if v0 == v1 else "10"
        if now != step:
            code = "11" + first_that_fits(now - step, [("0", 5), ("10", 9), ("110", 14), ("111", 22)], True)
            code += "0" if v0 == v1 else "1"
        step = now
        if v0 != v1 and xor:
            x = bits(v0 ^ v1, 64)
            begin, end = min(x.index("1"), 31), x.rindex("1") + 1
            if window and window[0] <= begin and end <= window[1] and window[1] - window[0] <= 11 + end - begin:
                code += "0" + x[window[0]:window[1]]
            else:
                window = (begin, end)
                code += "1" + bits(begin, 5) + bits(end - begin - 1, 6) + x[begin:end]
        elif v0 != v1:
            d = (v1 - v0) % (1 << 64)
            z = zigzag(d - (1 << 64) if d >> 63 else d) - 1
            code += first_that_fits(
                z, [("0", 4), ("10", 8), ("110", 12), ("1110", 20), ("11110", 32), ("11111", 64)], False)
        out.append(code)
    return out


def pack(text):
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8))


def block(points, type=F64, boot=None, clock=None, scale=None, ref=1, first=0, tick=1, **forged):
    """Fields as a list of (name, bytes). `forged` replaces a field's bytes: that is how the malformed ones are made."""
    times = [t for t, _ in points]
    unordered = any(b <= a for a, b in zip(times, times[1:]))
    shape = type | (16 if boot is not None else 0) | (32 if unordered else 0) | (64 if clock is not None else 0)
    fields = [("magic", b"\xb1"), ("codec", bytes([1 if type == F64 else 2])), ("shape", bytes([shape]))]
    if boot is not None:
        fields.append(("boot", struct.pack("<Q", boot)))
    if clock is not None:
        fields.append(("clock", varint(clock)))
    if type == DEC:
        fields.append(("scale", bytes([scale])))
    fields += [("ref", varint(ref)), ("first", varint(first)), ("count", varint(len(points))),
               ("t_min", varint(zigzag(min(times)))), ("t_span", varint(max(times) - min(times))), ("tick", varint(tick))]
    if unordered:
        fields.append(("t_first", varint((times[0] - min(times)) // tick)))
    v = points[0][1]
    fields.append(("value", struct.pack("<Q", v) if type == F64 else
                   varint(zigzag(v - (1 << 64) if v >> 63 else v))))
    fields.append(("bits", pack("".join(codes(points, type == F64, tick)))))
    fields = [(name, forged.get(name, data)) for name, data in fields]
    body = b"".join(data for _, data in fields)
    return fields + [("crc", forged.get("crc", crc32c(body)))]


def raw(fields):
    return b"".join(data for _, data in fields)


def save(name, about, data, error="none", points=(), **head):
    text = ["# " + about, "error " + error]
    text += ["%s %s" % item for item in head.items()]
    text += ["point %d %016x" % point for point in points]
    (HERE / (name + ".bin")).write_bytes(data)
    (HERE / (name + ".txt")).write_text("\n".join(text) + "\n")


def good(name, about, points, type=F64, boot=None, clock=None, scale=None, ref=1, first=0, tick=1):
    data = raw(block(points, type, boot, clock, scale, ref, first, tick))
    save(name, about, data, points=points, type=type, boot="-" if boot is None else "%016x" % boot, clock=clock or 0,
         scale=scale or 0, ref=ref, first=first, tick=tick)


def f64(*values):
    return [struct.unpack("<Q", struct.pack("<d", v))[0] for v in values]


def at(start, step, values):
    return [(start + i * step, v % (1 << 64)) for i, v in enumerate(values)]


T = 1700000000000
EXAMPLE = list(zip([T, T + 1000, T + 2000, T + 3001, T + 4001], f64(21.5, 21.5, 21.75, 21.75, 22.0)))


def good_vectors():
    good("example", "the worked example of block.md", EXAMPLE, ref=7, first=100)
    good("one_point", "a block of one point has no bits", [(T, f64(1.0)[0])])
    good("steady", "same step, same value: a bit a point", at(T, 1000, f64(*[3.5] * 600)), ref=300)
    good("special", "NaN payloads, -0.0, infinities, subnormals, each after each",
         at(T, 10, [x for a in SPECIAL for b in SPECIAL for x in (a, b)]))
    good("window", "windows that are used again, and one given up because it costs too much",
         at(T, 1000, f64(1.0, 1.5, 1.25, 1.75, 0.1, 0.2, 1.0, 1.5, 1.25, 1e300, -1e300)))
    good("steps", "every bucket of the step at both its ends",
         [(T + t, i * 0x10000000001) for i, t in enumerate(STEPS)])
    good("unordered", "times that stand still and go back", [(T + t, 5) for t in (50, 20, 20, 600000, 0, 7)])
    good("time_low", "the earliest times there are", at(-(1 << 63), 600000, f64(1.0, 2.0)))
    good("time_high", "the latest times there are", at((1 << 63) - 1 - 600000, 300000, f64(1.0, 2.0, 3.0)))
    good("tick", "a step of a second, counted in ticks of 500 ms", at(250, 1000, f64(*range(20))), tick=500)
    good("boot", "with boot and clock segment", EXAMPLE, boot=0x0123456789ABCDEF, clock=3, ref=(1 << 32) - 1,
         first=(1 << 63) - 1024)
    good("i64", "every bucket of delta64 at both its ends, and around the ends of int64",
         at(T, 1000, DELTAS), type=I64)
    good("dec", "21.37 and so on, in hundredths", at(T, 1000, [2137, 2138, 2140, 2140, 2090, -5, 2137]), type=DEC, scale=2)
    good("state", "states 0 and 1", at(T, 1000, [0, 0, 1, 1, 1, 0] * 20), type=STATE)
    good("longest", "1,024 points", at(T, 500, [i * i * i for i in range(1024)]), type=I64)


SPECIAL = [0, 1 << 63, 0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48, 0x7FF8000000000001, 0x7FF0000000000001, (1 << 64) - 1, 1,
           0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x7FEFFFFFFFFFFFFF]


def running(start, changes):
    out, step, t = [start], 0, start
    for change in changes:
        step += change
        t += step
        out.append(t)
    return out


STEPS = running(0, [15, 1, -16, 16, -16, 255, -255, 256, -256, 8191, -8192, 8192, -8191, 200000, -199999, -1, 300, -257])
DELTAS = [0]
for width in (4, 8, 12, 20, 32):  # z = 2^width - 2, - 1 and 2^width: the last two that fit, and the first that does not
    for delta in (-(1 << width - 1), 1 << width - 1, -(1 << width - 1) - 1):
        DELTAS.append(DELTAS[-1] + delta)
DELTAS += [1 << 62, (1 << 63) - 1, 1 << 63, 0, (1 << 63) - 1, (1 << 64) - 1]


def malformed(name, about, error, **forged):
    points = forged.pop("points", EXAMPLE)
    save("bad_" + name, about, raw(block(points, **forged)), error)


def bad_vectors():
    data = raw(block(EXAMPLE))
    save("bad_empty", "no bytes", b"", "too_short")
    save("bad_cut", "the last byte is missing", data[:-1], "checksum")
    save("bad_stub", "too short for any block", data[:9], "too_short")
    malformed("magic", "not a block", "magic", magic=b"\xa1")
    malformed("version", "a later major version", "version", magic=b"\xb2")
    malformed("checksum", "a checksum of other bytes", "checksum", crc=b"\1\2\3\4")
    malformed("codec", "a codec this version does not have", "codec", codec=b"\x03")
    malformed("type", "a value type this version does not have", "value_type", shape=b"\x06")
    malformed("type_f32", "f32 is reserved", "value_type", shape=b"\x02")
    malformed("type_codec", "xor64 holds no i64", "value_type", shape=b"\x03")
    malformed("reserved", "shape bit 7", "reserved", shape=b"\x81")
    malformed("scale", "10^-19 does not fit", "scale", points=[(0, 1), (1, 2)], type=DEC, scale=19)
    points = [(0, 1), (1, 2)]
    save("bad_varint_form", "ref 1 in two bytes", forge(points, "ref", b"\x81\x00"), "varint")
    save("bad_varint_length", "t_min in eleven bytes", forge(points, "t_min", b"\x80" * 10 + b"\x01"), "varint")
    save("bad_ref", "a ref past 32 bits", forge(points, "ref", varint(1 << 32)), "varint")
    save("bad_count_zero", "no points", forge(points, "count", b"\x00"), "count")
    save("bad_count", "1,025 points", forge(points, "count", varint(1025)), "count")
    save("bad_ordinal", "first + count passes 2^63", forge(points, "first", varint((1 << 63) - 1)), "ordinal")
    save("bad_span", "ten minutes and a millisecond", forge(points, "t_span", varint(600001)), "span")
    save("bad_span_end", "t_min + t_span passes the end of int64",
         forge(points, "t_min", varint(zigzag((1 << 63) - 1))), "span")
    save("bad_tick_zero", "a tick of 0", forge(points, "tick", b"\x00"), "tick")
    save("bad_tick", "a tick past ten minutes", forge(points, "tick", varint(600001)), "tick")
    save("bad_tick_span", "t_span is no multiple of the tick", forge(points, "tick", b"\x02"), "tick")
    save("bad_times_end", "the last point is before t_max", forge(points, "t_span", b"\x02"), "times")
    save("bad_times_past", "a point is after t_max", forge(points, "t_span", b"\x00"), "times")
    save("bad_order", "the order flag is not set, but a time comes twice", forge([(5, 1), (5, 2)], "shape", b"\x01",
                                                                                drop="t_first"), "times")
    save("bad_order_flag", "the order flag is set, but the times rise",
         forge(points, "shape", b"\x21", insert=("tick", b"\x00")), "times")
    save("bad_first", "the first point is after t_max", forge([(5, 1), (0, 2)], "t_first", b"\x06"), "times")
    save("bad_bits_missing", "a second point is promised, but there are no bits", forge(points, "bits", b""), "bits")
    save("bad_bits_left", "a whole byte is left behind the last point",
         forge(points, "bits", pack("1100000110" + "0" * 6 + "0" * 48)), "bits")
    save("bad_bits_left_byte", "a byte of zeros is left where the bits end with a byte",
         forge([(5, 5)] * 9, "bits", b"\0\0"), "bits")
    save("bad_bits_set", "a bit is set behind the last point", forge(points, "bits", pack("110000010" + "1")), "bits")
    save("bad_step_zero", "a step that does not change", forge([(0, 1), (0, 1)], "bits", pack("110000000")), "bits")
    save("bad_window", "the first value re-uses a window that does not exist", forge(points, "bits", pack("11000001" + "1" + "0" + "1" * 6)), "bits")
    save("bad_window_width", "lead 31 and 64 bits are more than a value has",
         forge(points, "bits", pack("110000011" + "1" + "11111" + "111111" + "1" * 64)), "bits")
    save("bad_xor_zero", "a changed value that is the same",
         forge(points, "bits", pack("110000011" + "1" + "00000" + "000000" + "0")), "bits")
    save("bad_delta_wrap", "a change of 2^64, which is none",
         raw(block(points, type=I64, bits=pack("110000011" + "11111" + "1" * 64))), "bits")


def forge(points, field, data, drop=None, insert=None):
    fields = []
    for name, value in block(points)[:-1]:
        if name == drop:
            continue
        fields.append(data if name == field else value)
        if insert and name == insert[0]:
            fields.append(insert[1])
    body = b"".join(fields)
    return body + crc32c(body)


if __name__ == "__main__":
    good_vectors()
    bad_vectors()
    for name, data in block(EXAMPLE, ref=7, first=100):
        print("%-8s %s" % (name, data.hex(" ")))
    print(codes(EXAMPLE, True, 1))
