"""The codes of block.md, bit by bit as characters; made from the document alone."""
from array import array

MASK = 0xFFFFFFFFFFFFFFFF


class Damaged(Exception):
    """Bytes that do not follow proto/*.md."""


def unzigzag(value):
    return (value >> 1) ^ -(value & 1)


def _two_complement(text):
    value = int(text, 2)
    return value - (1 << len(text)) if text[0] == "1" else value


_STEP = (("0", 5), ("10", 9), ("110", 14), ("111", 22))
_DELTA = (("0", 4), ("10", 8), ("110", 12), ("1110", 20), ("11110", 32), ("11111", 64))


def _bucket(stream, at, buckets):
    for prefix, width in buckets:
        if stream.startswith(prefix, at):
            start = at + len(prefix)
            if start + width > len(stream):
                raise Damaged("block bits end too early")
            return stream[start:start + width], start + width
    raise Damaged("block bits end too early")


def _repeat(stream, at, left):
    """How many points from `at` on repeat both step and value."""
    end = stream.find("1", at, at + left)
    if end >= 0:
        return end - at
    if at + left > len(stream):
        raise Damaged("block bits end too early")
    return left


def _step(stream, at):
    text, at = _bucket(stream, at, _STEP)
    step = _two_complement(text)
    if step == 0:
        raise Damaged("block step of zero")
    return step, at


def decode_xor32(stream, count, time, value, tick):
    return decode_xor(stream, count, time, value, tick, 32, 5)


def decode_xor(stream, count, time, value, tick, bits=64, length_bits=6):
    times, values = array("q", (time,)), array("Q", (value,))
    at = pace = 0
    lead = width = -1
    while len(times) < count:
        same = _repeat(stream, at, count - len(times))
        for _ in range(same):
            time += pace
            times.append(time)
            values.append(value)
        at += same
        if len(times) == count:
            break
        code = stream[at:at + 2]
        at += 2
        changed = code == "10"
        if code == "11":
            step, at = _step(stream, at)
            pace += step * tick
            changed = stream[at:at + 1] == "1"
            at += 1
        elif not changed:
            raise Damaged("block bits end too early")
        time += pace
        if changed:
            if stream[at:at + 1] == "1":
                if at + 6 + length_bits > len(stream):
                    raise Damaged("block bits end too early")
                lead, width = int(stream[at + 1:at + 6], 2), int(stream[at + 6:at + 6 + length_bits], 2) + 1
                at += 6 + length_bits
                if lead + width > bits:
                    raise Damaged("block window too wide")
            else:
                at += 1
                if width < 0:
                    raise Damaged("block window before the first")
            if at + width > len(stream):
                raise Damaged("block bits end too early")
            difference = int(stream[at:at + width], 2) << (bits - lead - width)
            at += width
            if difference == 0:
                raise Damaged("block change of zero")
            value ^= difference
        times.append(time)
        values.append(value)
    if at > len(stream):
        raise Damaged("block bits end too early")
    return times, values, at


def decode_slope(stream, count, time, value, tick):
    times, slopes, at = decode_delta(stream, count, time, 0, tick)
    values = array("Q")
    for slope in slopes:
        value = (value + slope) & MASK
        values.append(value)
    return times, values, at


_RUN = (("10", 3), ("110", 6), ("111", 10))


def decode_runs(stream, count, time, value, tick):
    times, values = array("q", (time,)), array("Q", (value,))
    at = pace = 0
    while len(times) < count:
        coded = stream[at:at + 1] == "1"
        if at >= len(stream):
            raise Damaged("block bits end too early")
        run = count - len(times)
        if coded:
            text, end = ("", at + 2) if stream[at + 1:at + 2] == "0" else _bucket(stream, at + 1, _RUN)
            at, left = end, run
            run = int(text, 2) + 1 if text else 0
            if run >= left:
                raise Damaged("block run with no point behind it")
        for _ in range(run):
            time += pace
            times.append(time)
            values.append(value)
        if not coded:
            at += 1
            break
        changed = stream[at:at + 1] == "0"
        at += 1
        if not changed:
            step, at = _step(stream, at)
            pace += step * tick
            changed = stream[at:at + 1] == "1"
            at += 1
        if changed:
            text, at = _bucket(stream, at, _DELTA)
            if int(text, 2) == MASK:
                raise Damaged("block change of 2^64")
            value = (value + unzigzag(int(text, 2) + 1)) & MASK
        time += pace
        times.append(time)
        values.append(value)
    if at > len(stream):
        raise Damaged("block bits end too early")
    return times, values, at


def decode_delta(stream, count, time, value, tick):
    times, values = array("q", (time,)), array("Q", (value,))
    at = pace = 0
    while len(times) < count:
        same = _repeat(stream, at, count - len(times))
        for _ in range(same):
            time += pace
            times.append(time)
            values.append(value)
        at += same
        if len(times) == count:
            break
        code = stream[at:at + 2]
        at += 2
        changed = code == "10"
        if code == "11":
            step, at = _step(stream, at)
            pace += step * tick
            changed = stream[at:at + 1] == "1"
            at += 1
        elif not changed:
            raise Damaged("block bits end too early")
        time += pace
        if changed:
            text, at = _bucket(stream, at, _DELTA)
            if int(text, 2) == MASK:
                raise Damaged("block change of 2^64")
            value = (value + unzigzag(int(text, 2) + 1)) & MASK
        times.append(time)
        values.append(value)
    if at > len(stream):
        raise Damaged("block bits end too early")
    return times, values, at
