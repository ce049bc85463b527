#!/usr/bin/env python3
"""Writes the golden vectors of block.md's "What hosts add" beside itself: NAME.bin, the bytes, and NAME.txt, what they mean.

Made from the document alone, as the ones in ../block are; see there. Existing vectors are never changed, only added to:
stores and files hold such bytes.
"""
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "block"))
from make_vectors import DEC, F64, I64, STATE, T, at, bits, codes, crc32c, f64, first_that_fits, pack, varint, zigzag

HERE = pathlib.Path(__file__).parent
F32 = 2
XOR64, DELTA64, XOR32, SLOPE64, PACKED, RUNS64 = 1, 2, 4, 5, 6, 7
AGGREGATES, LONG = 16, 32


def f32(*values):
    return [struct.unpack("<I", struct.pack("<f", v))[0] for v in values]


def signed(v):
    v %= 1 << 64
    return v - (1 << 64) if v >> 63 else v


def put(type, v):
    return struct.pack("<Q", v) if type == F64 else struct.pack("<I", v) if type == F32 else zigzag(signed(v))


def head(points, codec, type, scale=0, tick=1, aggregates=None, flags=0, first=0):
    times = [t for t, _ in points]
    unordered = any(b <= a for a, b in zip(times, times[1:]))
    span = max(times) - min(times)
    flags |= (AGGREGATES if aggregates else 0) | (LONG if span > 600000 else 0)
    out = b"\xb1" + bytes([codec | flags, type | (32 if unordered else 0)])
    out += bytes([scale]) if type == DEC else b""
    out += varint(1) + varint(first) + varint(len(points)) + varint(zigzag_int(min(times))) + varint(span)
    out += aggregates or b""
    out += varint(tick)
    if codec != PACKED:
        out += varint((times[0] - min(times)) // tick) if unordered else b""
        out += put(type, points[0][1])
    return out


def zigzag_int(n):
    return 2 * n if n >= 0 else -2 * n - 1


def zigzag(n):
    return varint(zigzag_int(n))


def codes32(points, tick):
    """xor64's codes over the upper half, with 5 bits for a window's length."""
    window, step, out = None, 0, []
    for (t0, v0), (t1, v1) in zip(points, points[1:]):
        now = (t1 - t0) // tick
        code = "0" if v0 == v1 else "10"
        if now != step:
            code = "11" + first_that_fits(now - step, [("0", 5), ("10", 9), ("110", 14), ("111", 22)], True)
            code += "0" if v0 == v1 else "1"
        step = now
        if v0 != v1:
            x = bits(v0 ^ v1, 32)
            begin, end = x.index("1"), x.rindex("1") + 1
            if window and window[0] <= begin and end <= window[1] and window[1] - window[0] <= 10 + end - begin:
                code += "0" + x[window[0]:window[1]]
            else:
                window = (begin, end)
                code += "1" + bits(begin, 5) + bits(end - begin - 1, 5) + x[begin:end]
        out.append(code)
    return out


def run_code(run):
    return "0" if run == 0 else first_that_fits(run - 1, [("10", 3), ("110", 6), ("111", 10)], False)


def delta_code(d):
    z = zigzag_int(signed(d)) - 1
    return first_that_fits(z, [("0", 4), ("10", 8), ("110", 12), ("1110", 20), ("11110", 32), ("11111", 64)], False)


def codes_of_runs(points, tick):
    step = run = 0
    out = []
    for (t0, v0), (t1, v1) in zip(points, points[1:]):
        now = (t1 - t0) // tick
        if now == step and v0 == v1:
            run += 1
            continue
        code = "1" + run_code(run)
        run = 0
        if now != step:
            code += "1" + first_that_fits(now - step, [("0", 5), ("10", 9), ("110", 14), ("111", 22)], True)
            code += "0" if v0 == v1 else "1"
        else:
            code += "0"
        step = now
        out.append(code + (delta_code(v1 - v0) if v0 != v1 else ""))
    return out + (["0"] if run else [])


def stream(points, codec, type, tick=1, **more):
    if codec == XOR32:
        text = codes32(points, tick)
    elif codec == RUNS64:
        text = codes_of_runs(points, tick)
    elif codec == SLOPE64:
        slopes = [0] + [(b - a) % (1 << 64) for (_, a), (_, b) in zip(points, points[1:])]
        text = codes([(t, v) for (t, _), v in zip(points, slopes)], False, tick)
    else:
        text = codes(points, codec == XOR64, tick)
    return head(points, codec, type, tick=tick, **more) + pack("".join(text))


# ---- Packed

def line(values, width):
    number = sum(v << (i * width) for i, v in enumerate(values))
    return number.to_bytes((len(values) * width + 7) // 8, "little")


def rows(values, width):
    if len(values) != 128:
        return line(values, width)
    word = min(w for w in (16, 32, 64) if w >= width)
    lanes = 128 // word
    numbers = [sum(v << (j * width) for j, v in enumerate(values[lane::lanes])) for lane in range(lanes)]
    out = b""
    for row in range(width):
        for number in numbers:
            out += (number >> (row * word) & (1 << word) - 1).to_bytes(word // 8, "little")
    return out


def piece(values, base_step, width, delta_step=None, patch_width=0):
    """`values` are what is packed; those that do not fit the width are patched with patch_width bits."""
    places = [i for i, v in enumerate(values) if v >> width]
    out = bytes([width | (128 if places else 0)]) + zigzag(base_step)
    out += zigzag(delta_step) if delta_step is not None else b""
    if places:
        out += bytes([len(places), patch_width]) + bytes(places) + line([values[i] >> width for i in places], patch_width)
    return out + rows([v & (1 << width) - 1 for v in values], width)


def runs(pairs, base_step, value_width, length_width):
    out = b"\x7f" + zigzag(base_step) + bytes([len(pairs), length_width, value_width])
    return out + line([n - 1 for n, _ in pairs], length_width) + line([v for _, v in pairs], value_width)


def even(first, step):
    return b"\0" + zigzag(first) + zigzag(step)


def plain(*pieces):
    return b"\1" + b"".join(pieces)


def packed(points, type, payload, tick=1, **more):
    return head(points, PACKED, type, tick=tick, **more) + payload


def save(name, about, body, points=(), error="none", type=F64, codec=None, scale=0, tick=1):
    data = body + crc32c(body)
    text = ["# " + about, "error " + error, "type %d" % type, "scale %d" % scale, "codec %d" % (body[1] & 15)]
    text += ["aggregates %d" % bool(body[1] & AGGREGATES)]
    text += ["point %d %016x" % (t, v % (1 << 64)) for t, v in points]
    (HERE / (name + ".bin")).write_bytes(data)
    (HERE / (name + ".txt")).write_text("\n".join(text) + "\n")


def streams():
    p = at(T, 1000, f32(1.0, 1.5, 1.25, 0.1, 0.2, float("nan"), -0.0, float("inf"), 1e-45, 1e-45, 3.4e38, 1.0))
    save("xor32", "floats of 32 bits", stream(p, XOR32, F32, tick=1000), p, type=F32)
    p = [(T + 50, 1), (T + 20, 0x7FC00001), (T + 20, 0xFFFFFFFF)]
    save("xor32_unordered", "times that go back, NaNs", stream(p, XOR32, F32, tick=30), p, type=F32)
    p = at(T, 1000, [100, 110, 120, 130, 141, 151, 151, 151, 0, 1 << 63, (1 << 63) - 1, 5])
    save("slope64", "a counter", stream(p, SLOPE64, I64, tick=1000), p, type=I64)
    p = at(T, 1000, [-5, 5, 15])
    save("slope64_dec", "tenths that rise evenly", stream(p, SLOPE64, DEC, tick=1000, scale=1), p, type=DEC, scale=1)
    p = list(zip([T, T + 1000, T + 2000, T + 3000, T + 4001, T + 5001], [1, 1, 1, 0, 0, 0]))
    save("runs64", "the worked example of block.md: a switch that goes off, and a second that is late", stream(p, RUNS64, STATE), p, type=STATE)
    p = at(T, 1000, [3])
    save("runs64_one", "a point", stream(p, RUNS64, STATE), p, type=STATE)
    p = at(T, 1000, [1] * 600)
    save("runs64_steady", "ten minutes of one state", stream(p, RUNS64, STATE, tick=1000), p, type=STATE)
    p = at(T, 500, [(n // 2 + 1) % 3 if n < 200 else n // 64 for n in range(1024)])
    save("runs64_lengths", "runs of every length of code", stream(p, RUNS64, STATE, tick=500), p, type=STATE)
    p = [(T, 0), (T, 0), (T, 0), (T + 600000, 1 << 63), (T + 1, (1 << 63) - 1), (T + 2, 0)]
    p += [(T + 3 + i, 0) for i in range(1017)] + [(T, 1 << 62)]
    save("runs64_worst", "the longest codes: from the lowest state to the highest, ten minutes ahead and back", stream(p, RUNS64, I64), p,
         type=I64)
    p = [(T, 4), (T, 5), (T, 5)]
    save("runs64_byte", "codes that fill their byte, so that the 0 behind them takes another", stream(p, RUNS64, STATE), p, type=STATE)
    p = at(T, 20, [-5, -5, -5, 7, 7])
    save("runs64_dec", "tenths that stand still", stream(p, RUNS64, DEC, tick=20, scale=1), p, type=DEC, scale=1)
    p = at(T, 1800000, f64(1.0, 2.0, 2.0, 3.5))
    save("long", "half an hour a point", stream(p, XOR64, F64, tick=1800000), p)
    p = at(-(1 << 51), 0xFFFFFFFF, [7] * 3)
    save("long_tick", "the longest tick", stream(p, DELTA64, STATE, tick=0xFFFFFFFF), p, type=STATE)
    p = at(T, 1000, f64(2.0, float("nan"), -1.5, 2.5))
    nan = p[1][1]
    p[1] = (p[1][0], nan)
    all = varint(1) + struct.pack("<QQQQ", p[0][1], p[3][1], p[2][1], p[3][1]) + struct.pack("<d", 3.0)
    save("aggregates", "with a NaN", stream(p, XOR64, F64, tick=1000, aggregates=all), p)
    p = at(T, 1000, [-3, (1 << 63) - 1, (1 << 63) - 1])
    total = 2 * ((1 << 63) - 1) - 3
    low = signed(total)
    high = (total >> 64) - (-1 if low < 0 else 0)
    all = varint(0) + zigzag(-3) + zigzag((1 << 63) - 1) + zigzag(-3) + zigzag((1 << 63) - 1) + zigzag(low) + zigzag(high)
    save("aggregates_wide", "a sum past 64 bits", stream(p, DELTA64, I64, tick=1000, aggregates=all), p, type=I64)


def steady(values, tick=1000):
    return at(T, tick, values), even(0, 1)


def packs():
    p, times = steady([7] * 1024, 500)
    save("packed_even", "the same value 1,024 times", packed(p, I64, times + b"\0" + even(7, 0), 500), p, type=I64)
    wide = [[(i * i * 7) % (1 << w) for i in range(128)] for w in (5, 16, 17, 32, 40)]
    wide.append([(i * 0x9E3779B97F4A7C15) % (1 << 64) for i in range(128)])
    wide.append([i % 8 for i in range(44)])
    bases = [100, -5, 1 << 40, 0, -(1 << 62), 0, 9]
    values, pieces, last = [], b"", 0
    for v, base, width in zip(wide, bases, (5, 16, 17, 32, 40, 64, 3)):
        pieces += piece(v, base - last, width)
        values += [(base + u) % (1 << 64) for u in v]
        last = base
    p, times = steady(values, 600)
    save("packed_plain", "every size of word, and a rest", packed(p, I64, times + b"\0" + plain(pieces), 600), p, type=I64)
    u = [0] + [(i * 3) % 16 for i in range(1, 128)]
    u[5] = 16 + 5
    u[127] = 255
    values, v = [], 1000
    for i, x in enumerate(u):
        v += (-7 + x) if i else 0
        values.append(v)
    p, times = steady(values)
    save("packed_delta", "differences, two of them patched",
         packed(p, I64, times + b"\0" + b"\2" + piece(u, 1000, 4, -7, 4), 1000), p, type=I64)
    jitter = [i * 250 + (i % 3) for i in range(200)]
    slope = 250 * 256 + 3
    flat = [t - (i % 128 * slope >> 8) - (128 * 250 if i >= 128 else 0) for i, t in enumerate(jitter)]
    low = [min(flat[:128]), min(flat[128:])]
    column = b"\3" + zigzag(slope) + piece([f - low[0] for f in flat[:128]], low[0], 3)
    column += piece([f - low[1] for f in flat[128:]], 128 * 250 + low[1] - low[0], 3)
    p = [(T + t, 1) for t in jitter]
    save("packed_slope", "times that jitter about a slope", packed(p, STATE, column + b"\0" + even(1, 0)), p, type=STATE)
    pairs = [(60, 3), (1, 0), (67, 9)]
    p, times = steady([5 + v for n, v in pairs for _ in range(n)])
    save("packed_runs", "three runs", packed(p, STATE, times + b"\0" + plain(runs(pairs, 5, 4, 7)), 1000), p, type=STATE)
    texts = [21.37, 21.4, float("nan"), -0.01, 51.846000000000004, 0.0, -0.0]
    n = [2137, 2140, 2140, -1, 51846, 0, 0]
    values = f64(*texts)
    n = [2137, 2140, 2140, -1, 5184, 0, 0]
    n = [x * 10 for x in n[:4]] + [51846, 0, 0]
    exact = [f64(x / 1000)[0] for x in n]
    away = [signed(a - b) for a, b in zip(values, exact)]
    odd = [2, 6]
    away = [0 if i in odd else a for i, a in enumerate(away)]
    assert away == [0, 0, 0, 0, 1, 0, 0]
    exceptions = varint(len(odd)) + b"".join(struct.pack("<HQ", i, values[i]) for i in odd)
    payload = b"\1\3" + exceptions + plain(piece([x + 10 for x in n], -10, 16)) + plain(piece(away, 0, 1))
    p, times = steady(values)
    save("packed_decimal", "thousandths, one of them a unit off, a NaN and -0", packed(p, F64, times + payload, 1000), p)
    values = f32(0.1, 0.2, 20.1)
    payload = b"\1\1\0" + plain(piece([0, 1, 200], 1, 8)) + even(0, 0)
    p, times = steady(values)
    save("packed_decimal_f32", "tenths as floats of 32 bits", packed(p, F32, times + payload, 1000), p, type=F32)
    entries = sorted(f64(1 / 3, 2 / 3, 1e300))
    places = [0, 2, 1, 1, 0]
    payload = b"\2" + varint(3) + plain(piece([e - entries[0] for e in entries], entries[0], 62)) + plain(piece(places, 0, 2))
    p, times = steady([entries[i] for i in places])
    save("packed_dictionary", "three values", packed(p, F64, times + payload, 1000), p)
    values = f64(1.1, -1.1, 1.7, -1.9)
    uppers = sorted({v >> 52 for v in values})
    payload = b"\3" + bytes([52]) + varint(len(uppers)) + even(uppers[0], uppers[1] - uppers[0])
    payload += plain(piece([uppers.index(v >> 52) for v in values], 0, 1)) + plain(piece([v % (1 << 52) for v in values], 0, 52))
    p, times = steady(values)
    save("packed_split", "two signs, one exponent", packed(p, F64, times + payload, 1000), p)


def bad(name, about, error, body, type=I64):
    save("bad_" + name, about, body, error=error, type=type)


def malformed():
    p, times = steady([5, 6, 9])
    good = plain(piece([0, 1, 4], 5, 3))
    bad("codec_bits", "bit 6 of the codec", "codec", packed(p, I64, times + b"\0" + good, 1000, flags=64))
    bad("long", "long, but within ten minutes", "span", packed(p, I64, times + b"\0" + good, 1000, flags=LONG))
    bad("type_xor32", "xor32 holds no f64", "value_type", stream(at(T, 1, f32(1.0, 2.0)), XOR32, F32).replace(b"\xb1\4\2", b"\xb1\4\1"))
    bad("type_slope64", "slope64 holds no states", "value_type", stream(at(T, 1, [1, 2]), SLOPE64, STATE))
    p = at(T, 1, [4, 4, 4, 9])
    ok = stream(p, RUNS64, STATE)
    start = len(head(p, RUNS64, STATE))
    runs64 = lambda text: ok[:start] + pack(text)  # a step of 1, and 2 points on the value 9
    assert runs64("1" + "0" + "1" + "000001" + "0" + "1" + "10000" + "0" + "01001") == ok
    one = "1" + "0" + "1" + "000001" + "0"
    bad("type_runs64", "runs64 holds no f64", "value_type", ok.replace(b"\xb1\7\5", b"\xb1\7\1"), STATE)
    bad("runs64_last", "a run with no point left behind it", "bits", runs64(one + "1" + "10001" + "0" + "01001"), STATE)
    bad("runs64_past", "a run of more points than there are", "bits", runs64(one + "1" + "1111111111111" + "0" + "01001"), STATE)
    bad("runs64_cut", "no value behind the run", "bits", runs64(one + "1" + "10000" + "0")[:-1], STATE)
    bad("runs64_end_missing", "nothing says that a run follows", "bits", ok[:start], STATE)
    q = [(T, 4), (T, 5), (T, 5)]
    whole = stream(q, RUNS64, STATE)
    assert len(whole) == len(head(q, RUNS64, STATE)) + 2 and whole[-1] == 0
    bad("runs64_end_cut", "the same, behind a whole byte of codes", "bits", whole[:-1], STATE)
    bad("runs64_step", "a change of step by 0", "bits", runs64("1" + "0" + "1" + "000000" + "0"), STATE)
    bad("runs64_left", "a byte is left", "bits", ok + b"\0", STATE)
    bad("runs64_set", "a bit is set behind the end", "bits", runs64(one + "1" + "10000" + "0" + "01001" + "01"), STATE)
    bad("runs64_wrap", "a change by 2^64", "bits", runs64(one + "1" + "10000" + "0" + "11111" + "1" * 64), STATE)
    bad("runs64_times", "the run leaves the block's times", "times", runs64("1" + "0" + "1" + "000010" + "0"), STATE)
    bad("runs64_end", "the last point is before t_max", "times", runs64(one + "1" + "10000" + "1" + "011111" + "0"), STATE)
    p, times = steady([5, 6, 9])
    bad("span_ticks", "2^20 ticks", "span", stream([(0, 1), (1 << 20, 2)], DELTA64, I64))
    bad("tick_zero", "a tick of 0", "tick", packed(p, I64, times + b"\0" + good, 0))
    bad("form", "a form that there is not", "bits", packed(p, I64, times + b"\4" + good, 1000))
    bad("column", "a kind of column that there is not", "bits", packed(p, I64, times + b"\0\4" + good[1:], 1000))
    bad("width", "65 bits", "bits", packed(p, I64, times + b"\0" + plain(b"\x41\0" + b"\0" * 25), 1000))
    bad("left", "a byte is left", "bits", packed(p, I64, times + b"\0" + good + b"\0", 1000))
    bad("short", "a byte is missing", "bits", packed(p, I64, times + b"\0" + good[:-1], 1000))
    bad("varint", "a base in two bytes that fits one", "bits", packed(p, I64, times + b"\0\1\3\x8a\0" + good[3:], 1000))
    bad("patch_place", "a patch behind the last integer", "bits",
        packed(p, I64, times + b"\0" + plain(b"\x83\x0a\1\1\3\1" + good[3:]), 1000))
    bad("patch_width", "65 bits with its patch", "bits",
        packed(p, I64, times + b"\0" + plain(b"\x83\x0a\1\x3e\1" + b"\0" * 8 + good[3:]), 1000))
    bad("patch_none", "no patches", "bits", packed(p, I64, times + b"\0" + plain(b"\x83\x0a\0\1" + good[3:]), 1000))
    bad("runs_more", "runs of more integers than there are", "bits",
        packed(p, I64, times + b"\0" + plain(runs([(3, 1), (1, 0)], 5, 4, 7)), 1000))
    bad("runs_less", "runs of fewer", "bits", packed(p, I64, times + b"\0" + plain(runs([(2, 1)], 5, 4, 7)), 1000))
    bad("entries", "a place without its entry", "bits",
        packed(p, I64, times + b"\2\2" + even(5, 1) + plain(piece([0, 1, 2], 0, 2)), 1000))
    bad("decimal_type", "integers are no decimals", "bits",
        packed(p, I64, times + b"\1\1\0" + good + even(0, 0), 1000))
    q, _ = steady(f64(0.1, 0.2, 0.3))
    ok = plain(piece([0, 1, 2], 1, 2))
    bad("exponent", "10^19", "bits", packed(q, F64, times + b"\1\x13\0" + ok + even(0, 0), 1000), F64)
    bad("decimal_wide", "2^51 tenths", "bits", packed(q, F64, times + b"\1\1\0" + even(1 << 51, 0) + even(0, 0), 1000), F64)
    bad("exception_place", "an exception behind the last point", "bits",
        packed(q, F64, times + b"\1\1\1" + struct.pack("<HQ", 3, 7) + ok + even(0, 0), 1000), F64)
    bad("exception_order", "exceptions that go back", "bits",
        packed(q, F64, times + b"\1\1\2" + struct.pack("<HQHQ", 2, 7, 1, 7) + ok + even(0, 0), 1000), F64)
    bad("cut", "no lower part", "bits", packed(q, F64, times + b"\3\0\1" + even(0, 0) * 3, 1000), F64)
    bad("lower", "a lower part that is wider than the cut", "bits",
        packed(q, F64, times + b"\3\4\1" + even(0, 0) * 2 + even(16, 0), 1000), F64)
    bad("f32_wide", "33 bits of a float of 32", "bits", packed(at(T, 1000, f32(1, 2, 3)), F32, times + b"\0" + even(1 << 32, 0), 1000), F32)
    bad("times_end", "the last point is before t_max", "times", packed(p, I64, even(0, 0) + b"\0" + good, 1000))
    bad("times_past", "a point is behind t_max", "times", packed(p, I64, even(0, 2) + b"\0" + good, 1000))
    bad("order", "times go back, but the flag is not set", "times",
        packed(p, I64, plain(piece([0, 2, 1], 0, 2)) + b"\0" + good, 1000))
    all = varint(0) + zigzag(5) + zigzag(9) + zigzag(5) + zigzag(9) + zigzag(21) + zigzag(0)
    bad("aggregates", "another sum", "aggregates", packed(p, I64, times + b"\0" + good, 1000, aggregates=all))
    bad("nan_count", "more NaNs than points", "varint", packed(p, I64, times + b"\0" + good, 1000, aggregates=varint(4) + all[1:]))


if __name__ == "__main__":
    streams()
    packs()
    malformed()
