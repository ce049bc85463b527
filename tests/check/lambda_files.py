"""Reads what agents and gateways leave on disk, written from proto/*.md alone: no code is shared with the programs.

Everything here treats its input as hostile and raises Damaged (with a text) for what it cannot believe.
"""
import hashlib
import struct

import block_codes
import packed_blocks
from block_codes import MASK, Damaged, unzigzag


def believe(parse, *arguments):
    """Runs a parser; whatever hostile bytes make it do ends as Damaged."""
    try:
        return parse(*arguments)
    except (IndexError, OverflowError, UnicodeError, ValueError, struct.error) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from None


# --- CRC32C (Castagnoli), record.md and block.md ---

def _crc_table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x82F63B78 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    table = _CRC
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


# --- record.md ---

FILE_HEADER_BYTES = 32
RECORD_HEAD_BYTES = 16
BODY_BYTES_MAX = 4 << 20
MARK = b"LR"


class RecordFile:
    """One file: `records` are (type, offset, body) of the good ones; `damage` the places where bytes were lost."""

    def __init__(self, path, kind):
        self.path = str(path)
        with open(path, "rb") as handle:
            data = handle.read()
        self.size = len(data)
        if len(data) < FILE_HEADER_BYTES or data[:4] != b"LREC":
            raise Damaged(f"{path}: no file header")
        version, found_kind, zero, self.number, self.created_ms, self.owner, crc = struct.unpack_from("<BBHQqII", data, 4)
        if crc32c(data[:28]) != crc:
            raise Damaged(f"{path}: header checksum")
        if version != 1:
            raise Damaged(f"{path}: version {version}")
        if found_kind != ord(kind) or zero != 0:
            raise Damaged(f"{path}: kind {found_kind}, expected {kind}")
        self.records = []
        self.damage = []  # (offset, what)
        self.torn_bytes = 0
        self._scan(data)

    @staticmethod
    def _head(data, at):
        """(type, length) if a good record head stands at `at`, else None."""
        if at + RECORD_HEAD_BYTES > len(data) or data[at:at + 2] != MARK:
            return None
        kind, zero, length, head_crc = struct.unpack_from("<BBII", data, at + 2)
        if zero != 0 or length > BODY_BYTES_MAX or crc32c(data[at:at + 8]) != head_crc:
            return None
        return kind, length

    def _scan(self, data):
        at = FILE_HEADER_BYTES
        while at < len(data):
            head = self._head(data, at)
            end = at + RECORD_HEAD_BYTES + head[1] if head else None
            if head and end <= len(data):
                body = data[at + RECORD_HEAD_BYTES:end]
                if crc32c(body) == struct.unpack_from("<I", data, at + 12)[0]:
                    self.records.append((head[0], at, body))
                elif end == len(data) or not self._later_head(data, end):
                    # At the very end a bad body cannot be told from a torn one.
                    self.damage.append((at, "body checksum at the end"))
                else:
                    self.damage.append((at, "body checksum"))
                at = end
                continue
            later = self._later_head(data, at + 1)
            if later is None:
                self.torn_bytes = len(data) - at
                return
            self.damage.append((at, "no record head"))
            at = later

    def _later_head(self, data, at):
        while True:
            at = data.find(MARK, at)
            if at < 0:
                return None
            if self._head(data, at):
                return at
            at += 1


# --- Protocol Buffers, just enough ---

def take_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Damaged("varint")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & MASK, at
        shift += 7


def take_short_varint(data, at):
    """The form of block.md: the shortest only, at most 64 bits."""
    value, end = take_varint(data, at)
    if (end > at + 1 and data[end - 1] == 0) or (end == at + 10 and data[end - 1] > 1):
        raise Damaged("varint in a longer form than needed")
    return value, end


class Message:
    """Fields by number; the last one wins for single fields, as protobuf has it."""

    def __init__(self, data):
        self.fields = {}
        at = 0
        while at < len(data):
            key, at = take_varint(data, at)
            wire = key & 7
            if wire == 0:
                value, at = take_varint(data, at)
            elif wire == 1:
                value = bytes(data[at:at + 8])
                at += 8
            elif wire == 2:
                length, at = take_varint(data, at)
                value = bytes(data[at:at + length])
                at += length
            elif wire == 5:
                value = bytes(data[at:at + 4])
                at += 4
            else:
                raise Damaged(f"protobuf wire type {wire}")
            if at > len(data):
                raise Damaged("protobuf field runs past the end")
            self.fields.setdefault(key >> 3, []).append(value)

    def _last(self, number, kind, default):
        values = self.fields.get(number)
        if not values:
            return default
        if not isinstance(values[-1], kind):
            raise Damaged(f"protobuf field {number} has an unexpected wire type")
        return values[-1]

    def uint(self, number):
        return self._last(number, int, 0)

    def sint(self, number):
        return unzigzag(self._last(number, int, 0))

    def fixed64(self, number):
        value = self._last(number, bytes, b"\0" * 8)
        if len(value) != 8:
            raise Damaged(f"protobuf field {number} is no fixed64")
        return struct.unpack("<Q", value)[0]

    def blob(self, number):
        return self._last(number, bytes, b"")

    def text(self, number):
        return self.blob(number).decode("utf-8", "surrogateescape")

    def blobs(self, number):
        values = self.fields.get(number, [])
        if not all(isinstance(value, bytes) for value in values):
            raise Damaged(f"protobuf field {number} has an unexpected wire type")
        return values

    def messages(self, number):
        return [Message(value) for value in self.blobs(number)]


# --- block.md ---

TYPE_F64, TYPE_F32, TYPE_I64, TYPE_DEC, TYPE_STATE = 1, 2, 3, 4, 5
XOR64, DELTA64, XOR32, SLOPE64, PACKED, RUNS64 = 1, 2, 4, 5, 6, 7
_INTEGERS = (TYPE_I64, TYPE_DEC, TYPE_STATE)
_TYPES_OF = {XOR64: (TYPE_F64,), DELTA64: _INTEGERS, XOR32: (TYPE_F32,), SLOPE64: (TYPE_I64, TYPE_DEC), RUNS64: _INTEGERS,
             PACKED: (TYPE_F64, TYPE_F32, *_INTEGERS)}


class Block:
    __slots__ = ("boot", "clock", "scale", "type", "ref", "first", "count", "times", "bits", "size")

    def end(self):
        return self.first + self.count

    def root(self):
        return content_root(self.times, self.bits)


def decode_block(data, context_boot=None):
    if len(data) < 14:  # head 3, five numbers, tick, value, checksum: as short as a point at the start of a boot can be
        raise Damaged("block too short")
    if data[0] != 0xB1:
        raise Damaged(f"block version {data[0]:#x}")
    if crc32c(data[:-4]) != struct.unpack_from("<I", data, len(data) - 4)[0]:
        raise Damaged("block checksum")
    body = data[:-4]
    codec, shape = body[1], body[2]
    block = Block()
    block.size = len(data)
    block.type = shape & 15
    if shape & 0x80 or codec not in _TYPES_OF:
        raise Damaged(f"block codec {codec}, shape {shape:#x}")
    if block.type not in _TYPES_OF[codec]:
        raise Damaged(f"block codec {codec} with value type {block.type}")
    at = 3
    block.boot = context_boot
    if shape & 0x10:
        block.boot = struct.unpack_from("<Q", body, at)[0]
        at += 8
    block.clock = 0
    if shape & 0x40:
        block.clock, at = take_short_varint(body, at)
    block.scale = 0
    if block.type == TYPE_DEC:
        block.scale = body[at]
        at += 1
        if block.scale > 18:
            raise Damaged(f"block scale {block.scale}")
    block.ref, at = take_short_varint(body, at)
    block.first, at = take_short_varint(body, at)
    block.count, at = take_short_varint(body, at)
    t_min, at = take_short_varint(body, at)
    t_min = unzigzag(t_min)
    t_span, at = take_short_varint(body, at)
    if not 1 <= block.count <= 1024 or t_span > 600_000 or block.ref >> 32 or block.end() > 1 << 63:
        raise Damaged("block header out of range")
    tick, at = take_short_varint(body, at)
    if not 1 <= tick <= 600_000:
        raise Damaged("block tick")
    if codec == PACKED:
        return _packed(block, body, at, t_min, t_span, tick, shape)
    time = t_min
    if shape & 0x20:
        offset, at = take_short_varint(body, at)
        time += offset * tick
    if codec in (XOR64, XOR32):
        wide = 8 if codec == XOR64 else 4
        if at + wide > len(body):
            raise Damaged("block too short")
        value = int.from_bytes(body[at:at + wide], "little")
        at += wide
    else:
        value, at = take_short_varint(body, at)
        value = unzigzag(value) & MASK
    rest = body[at:]
    stream = bin(int.from_bytes(b"\1" + rest, "big"))[3:]
    decoders = {XOR64: block_codes.decode_xor, XOR32: block_codes.decode_xor32, SLOPE64: block_codes.decode_slope,
                RUNS64: block_codes.decode_runs, DELTA64: block_codes.decode_delta}
    decode = decoders[codec]
    block.times, block.bits, used = decode(stream, block.count, time, value, tick)
    if len(stream) - used > 7 or "1" in stream[used:]:
        raise Damaged("block bits left over")
    _check_times(block, t_min, t_span, shape)
    return block


def _packed(block, body, at, t_min, t_span, tick, shape):
    """A block that a gateway packed."""
    try:
        block.times, block.bits, end = packed_blocks.decode(body, at, block.type, block.count, t_min, tick)
    except (ValueError, IndexError, struct.error) as error:
        raise Damaged(f"packed block: {error}") from None
    if end != len(body):
        raise Damaged("packed block bytes left over")
    _check_times(block, t_min, t_span, shape)
    return block


def _check_times(block, t_min, t_span, shape):
    if min(block.times) != t_min or max(block.times) != t_min + t_span:
        raise Damaged("block times disagree with its header")
    rising = all(a < b for a, b in zip(block.times, block.times[1:]))
    if rising == bool(shape & 0x20):
        raise Damaged("block order flag disagrees with its times")


def _tree(leaves):
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + _tree(leaves[:split]) + _tree(leaves[split:])).digest()


def content_root(times, bits):
    """Names the points, not the bytes: RFC 6962 over leaves of 64 points."""
    flat = [0] * (2 * len(times))
    flat[0::2] = [time & MASK for time in times]
    flat[1::2] = bits
    points = struct.pack(f">{len(flat)}Q", *flat)
    return _tree([hashlib.sha256(b"\0" + points[at:at + 1024]).digest() for at in range(0, len(points), 1024)])


# --- parcel.md ---

def _text(value):
    """A str of the signed forms."""
    value = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    return struct.pack(">I", len(value)) + value


class Stub:
    """A block as the signed form has it."""
    __slots__ = ("ref", "type", "scale", "clock", "first", "count", "root")


class Parcel:
    """A parcel's message; blocks are decoded unless `stubs` stand for them."""

    def __init__(self, data, stubs=None):
        message = Message(data)
        self.size = len(data)
        self.version = message.uint(1)
        self.site = message.text(2)
        self.device = message.text(3)
        self.boot = message.fixed64(4)
        self.seq = message.uint(5)
        self.created_ms = message.sint(6)
        self.floor_seq = message.uint(7)
        self.declarations = message.messages(8)
        self.blocks = [decode_block(block, self.boot) for block in message.blobs(9)]
        for block in self.blocks:
            if block.boot != self.boot:
                raise Damaged("a parcel's block is of another boot")
        self.gaps = [(gap.uint(1), gap.uint(2), gap.uint(3), gap.uint(4)) for gap in message.messages(10)]
        self.clocks = [(clock.uint(1), clock.uint(2), clock.sint(3), clock.uint(4)) for clock in message.messages(11)]
        self.previous = message.blob(12)
        self.key_spec = message.uint(13)
        self.signature = message.blob(14)
        self.stubs = stubs

    def digest(self):
        """SHA-256 of the signed form."""
        parts = [b"lambda/parcel/1\0", _text(self.site), _text(self.device),
                 struct.pack(">QQqQ", self.boot, self.seq, self.created_ms, self.floor_seq),
                 self.previous or b"\0" * 32, struct.pack(">I", len(self.declarations))]
        for entry in self.declarations:
            labels = entry.messages(3)
            parts += [struct.pack(">I", entry.uint(1)), _text(entry.blob(2)), struct.pack(">I", len(labels))]
            parts += [_text(label.blob(number)) for label in labels for number in (1, 2)]
            parts += [struct.pack(">BBB", entry.uint(4), entry.uint(5), entry.uint(6)), _text(entry.blob(7))]
        blocks = self.blocks if self.stubs is None else self.stubs
        parts.append(struct.pack(">I", len(blocks)))
        for block in blocks:
            root = block.root if isinstance(block, Stub) else block.root()
            parts.append(struct.pack(">IBBIQI", block.ref, block.type, block.scale, block.clock, block.first,
                                     block.count) + root)
        parts.append(struct.pack(">I", len(self.gaps)))
        parts += [struct.pack(">IQQB", *gap) for gap in self.gaps]
        parts.append(struct.pack(">I", len(self.clocks)))
        parts += [struct.pack(">IBqB", *clock) for clock in self.clocks]
        return hashlib.sha256(b"".join(parts)).digest()


class Hello:
    """A boot's signed record."""

    def __init__(self, data):
        message = Message(data)
        self.site, self.device = message.text(2), message.text(3)
        self.boot, self.previous_boot = message.fixed64(4), message.fixed64(5)
        self.started_ms = message.sint(6)
        self.key_spec = message.uint(7)
        self.signature = message.blob(8)

    def digest(self):
        return hashlib.sha256(b"lambda/hello/1\0" + _text(self.site) + _text(self.device) +
                              struct.pack(">QQq", self.boot, self.previous_boot, self.started_ms)).digest()


# --- spool.md: the journal's rows ---

class JournalReader:
    """Feeds on the records of one journal file in order; calls visit(ref, ordinal, time, bits) for each point."""

    def __init__(self):
        self.boot = None
        self.types = {}
        self.next = {}
        self.last = {}
        self.clock = 0       # the segment that rows belong to

    def open(self, body):
        message = Message(body)
        self.boot = message.fixed64(1)
        clocks = message.messages(11)
        self.clock = clocks[-1].uint(1) if clocks else 0
        self.next = {entry.uint(1): entry.uint(2) for entry in message.messages(8)}
        for entry in message.messages(9):
            self.types[entry.uint(1)] = entry.uint(5)

    def declare(self, body):
        message = Message(body)
        self.types[message.uint(1)] = message.uint(5)

    def clock_segment(self, body):
        self.clock = Message(body).uint(1)

    def row(self, body, visit):
        if self.row_at(body, 0, 0, visit)[1] != len(body):
            raise Damaged("bytes behind a row")

    def rows(self, body, visit):
        time, at = self.row_at(body, 0, 0, visit)
        while at < len(body):
            time, at = self.row_at(body, at, time, visit)

    def row_at(self, body, at, before, visit):
        """Its time, and where it ends."""
        if self.boot is None:
            raise Damaged("a row before JournalOpen")
        time, at = take_varint(body, at)
        time = before + unzigzag(time)
        count, at = take_varint(body, at)
        ref = -1
        for _ in range(count):
            step, at = take_varint(body, at)
            ref += step + 1
            kind = self.types.get(ref)
            if kind is None:
                raise Damaged(f"a row has series {ref}, which nobody declared")
            value = self.last.get(ref, 0)
            if kind == TYPE_F64:
                shape = body[at]
                length, zeros = shape & 15, shape >> 4
                if length > 8 or zeros + length > 8 or at + 1 + length > len(body):
                    raise Damaged("a row's value")
                value ^= int.from_bytes(body[at + 1:at + 1 + length], "little") << (8 * zeros)
                at += 1 + length
            else:
                step, at = take_varint(body, at)
                value = (value + unzigzag(step)) & MASK
            self.last[ref] = value
            ordinal = self.next.get(ref, 0)
            self.next[ref] = ordinal + 1
            visit(ref, ordinal, time, value)
        return time, at
