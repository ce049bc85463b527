#!/usr/bin/env python3
"""Makes the golden messages of this folder. It knows proto/parcel.md, proto/lambda.proto and the block vectors next door,
and neither the SDK nor a protobuf library nor one for signatures: whoever agrees with it has read the same page.

NAME.bin is the message. NAME.txt says what a reader finds in it:
  message up|down|interest|live
  verdict good|malformed|version|signature|empty    what a receiver says of it
and for good ones every field that is not the default, in the order of the messages; texts stand in quotes.
"""
import hashlib
import hmac
import os

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCKS = os.path.join(HERE, "..", "block")

# ---- secp256k1, ECDSA, RFC 6979
P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
     0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)
SECRET = bytes(31) + b"\x01"  # the key of all vectors


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(scalar, point):
    total = None
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def sign(digest):
    secret, z = int.from_bytes(SECRET, "big"), int.from_bytes(digest, "big")
    seed = SECRET + (z % N).to_bytes(32, "big")
    k, v = bytes(32), b"\x01" * 32
    for tag in (b"\x00", b"\x01"):
        k = hmac.digest(k, v + tag + seed, "sha256")
        v = hmac.digest(k, v, "sha256")
    while True:
        v = hmac.digest(k, v, "sha256")
        nonce = int.from_bytes(v, "big")
        if 1 <= nonce < N:
            r = times(nonce, G)[0] % N
            s = pow(nonce, -1, N) * (z + r * secret) % N
            if r and s:
                break
        k = hmac.digest(k, v + b"\x00", "sha256")
        v = hmac.digest(k, v, "sha256")
    return r.to_bytes(32, "big") + min(s, N - s).to_bytes(32, "big")


# ---- Protocol Buffers, by hand
def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def zigzag(n):
    return (n << 1) ^ (n >> 63) if n >= 0 else ((-n) << 1) - 1


def number(tag, n):
    return varint(tag << 3) + varint(n) if n else b""


def signed(tag, n):
    return number(tag, zigzag(n))


def fixed(tag, n):
    return varint(tag << 3 | 1) + n.to_bytes(8, "little") if n else b""


def data(tag, b):
    return varint(tag << 3 | 2) + varint(len(b)) + b


def text(tag, s):
    return data(tag, s.encode()) if s else b""


# ---- The signed form
def u(n, width):
    return (n % 2 ** (8 * width)).to_bytes(width, "big")


def string(s):
    return u(len(s.encode()), 4) + s.encode()


def root_of(points):
    leaves = [points[i:i + 64] for i in range(0, len(points), 64)]

    def node(part):
        if len(part) == 1:
            return hashlib.sha256(b"\x00" + b"".join(u(t, 8) + u(v, 8) for t, v in part[0])).digest()
        half = 1
        while half * 2 < len(part):
            half *= 2
        return hashlib.sha256(b"\x01" + node(part[:half]) + node(part[half:])).digest()

    return node(leaves)


class Block:
    def __init__(self, name):
        with open(os.path.join(BLOCKS, name + ".bin"), "rb") as file:
            self.bytes = file.read()
        self.points, known = [], {}
        with open(os.path.join(BLOCKS, name + ".txt")) as file:
            for line in file:
                words = line.split()
                if words and words[0] == "point":
                    self.points.append((int(words[1]), int(words[2], 16)))
                elif len(words) == 2:
                    known[words[0]] = words[1]
        assert known["error"] == "none" and known["boot"] == "-", name
        self.ref, self.first = int(known["ref"]), int(known["first"])
        self.type, self.scale, self.clock = int(known["type"]), int(known["scale"]), int(known["clock"])

    def signed(self):
        return (u(self.ref, 4) + u(self.type, 1) + u(self.scale, 1) + u(self.clock, 4) + u(self.first, 8) +
                u(len(self.points), 4) + root_of(self.points))


SITE, DEVICE, BOOT = "plant-1", "press-7", 0x1122334455667788
CPU = (7, "node_cpu_seconds_total", [("cpu", "0"), ("mode", "idle")], 2, 1, 0, "seconds")
TEMPERATURE = (8, "temperature", [], 1, 4, 2, "")


def declaration(d):
    ref, name, labels, kind, type_, scale, unit = d
    return (number(1, ref) + text(2, name) + b"".join(data(3, text(1, n) + text(2, v)) for n, v in labels) +
            number(4, kind) + number(5, type_) + number(6, scale) + text(7, unit))


def parcel(seq, declarations=(), blocks=(), gaps=(), clocks=(), previous=b"", created=1700000005000, floor=1, version=1,
           extra=b"", site=SITE, spoil=False):
    form = (b"lambda/parcel/1\0" + string(site) + string(DEVICE) + u(BOOT, 8) + u(seq, 8) + u(created, 8) + u(floor, 8) +
            (previous or bytes(32)))
    form += u(len(declarations), 4)
    for ref, name, labels, kind, type_, scale, unit in declarations:
        form += u(ref, 4) + string(name) + u(len(labels), 4) + b"".join(string(n) + string(v) for n, v in labels)
        form += u(kind, 1) + u(type_, 1) + u(scale, 1) + string(unit)
    form += u(len(blocks), 4) + b"".join(b.signed() for b in blocks)
    form += u(len(gaps), 4) + b"".join(u(r, 4) + u(f, 8) + u(c, 8) + u(why, 1) for r, f, c, why in gaps)
    form += u(len(clocks), 4) + b"".join(u(s, 4) + u(r, 1) + u(o, 8) + u(k, 1) for s, r, o, k in clocks)
    digest = hashlib.sha256(form).digest()
    signature = sign(digest)
    if spoil:
        signature = signature[:40] + bytes([signature[40] ^ 1]) + signature[41:]
    body = (number(1, version) + text(2, site) + text(3, DEVICE) + fixed(4, BOOT) + number(5, seq) +
            signed(6, created) + number(7, floor) + b"".join(data(8, declaration(d)) for d in declarations) +
            b"".join(data(9, b.bytes) for b in blocks) +
            b"".join(data(10, number(1, r) + number(2, f) + number(3, c) + number(4, why)) for r, f, c, why in gaps) +
            b"".join(data(11, number(1, s) + number(2, r) + signed(3, o) + number(4, k)) for s, r, o, k in clocks) +
            (data(12, previous) if previous else b"") + number(13, 1) + data(14, signature) + extra)
    lines = ["parcel", f'site "{site}"', f'device "{DEVICE}"', f"boot {BOOT:016x}", f"seq {seq}", f"created_ms {created}",
             f"floor_seq {floor}"]
    for ref, name, labels, kind, type_, scale, unit in declarations:
        lines.append(f'declaration {ref} "{name}" kind {kind} type {type_} scale {scale} unit "{unit}"')
        lines += [f'label "{n}" "{v}"' for n, v in labels]
    lines += [f"block {b.ref} first {b.first} count {len(b.points)} root {root_of(b.points).hex()}" for b in blocks]
    lines += [f"gap {r} first {f} count {c} reason {why}" for r, f, c, why in gaps]
    lines += [f"clock {s} relative {r} offset_ms {o} known {k}" for s, r, o, k in clocks]
    if previous:
        lines.append(f"previous {previous.hex()}")
    lines += [f"digest {digest.hex()}", f"signature {signature.hex()}"]
    return data(2, body), lines, digest


def hello(version=1, extra=b"", spoil=False):
    started, previous = 1700000000000, 0x99
    form = (b"lambda/hello/1\0" + string(SITE) + string(DEVICE) + u(BOOT, 8) + u(previous, 8) + u(started, 8))
    digest = hashlib.sha256(form).digest()
    signature = sign(digest)
    if spoil:
        signature = bytes([signature[0] ^ 1]) + signature[1:]
    body = (number(1, version) + text(2, SITE) + text(3, DEVICE) + fixed(4, BOOT) + fixed(5, previous) +
            signed(6, started) + number(7, 1) + data(8, signature) + fixed(9, 0xABCDEF) + signed(10, started + 7) +
            number(11, 4) + number(12, 2) + number(13, 2) + number(14, 700) + text(15, "agent 0.1") + extra)
    lines = ["hello", f'site "{SITE}"', f'device "{DEVICE}"', f"boot {BOOT:016x}", f"previous_boot {previous:016x}",
             f"started_ms {started}", "nonce 0000000000abcdef", f"sent_ms {started + 7}", "next_seq 4", "floor_seq 2",
             "backlog_parcels 2", "backlog_bytes 700", 'software "agent 0.1"', f"digest {digest.hex()}",
             f"signature {signature.hex()}"]
    return data(1, body), lines


def ack(contiguous, ranges=(), policy=0, nonce=0, extra=b""):
    body = (fixed(1, BOOT) + number(2, contiguous) +
            b"".join(data(3, number(1, a) + number(2, b)) for a, b in ranges) + number(4, policy) + text(5, "fog-1") +
            fixed(6, 0x77) + signed(7, 1700000009000) + fixed(8, nonce) + extra)
    lines = ["ack", f"boot {BOOT:016x}", f"contiguous_seq {contiguous}"]
    lines += [f"range {a} {b}" for a, b in ranges]
    lines += [f"policy {policy}", 'gateway "fog-1"', "incarnation 0000000000000077", "gateway_ms 1700000009000",
              f"nonce {nonce:016x}"]
    return data(1, body), lines


def nack(verdict, *lines_of_verdict):
    body = fixed(1, BOOT) + number(2, 3) + text(3, "fog-1") + fixed(4, 0x77) + verdict
    return data(2, body), ["nack", f"boot {BOOT:016x}", "seq 3", 'gateway "fog-1"', "incarnation 0000000000000077",
                           *lines_of_verdict]


def interest(version=1, extra=b""):
    selectors = ["node_cpu_seconds_total{mode=\"idle\"}", "up"]
    body = (number(1, version) + text(2, "fog-1") + fixed(3, 0x77) + number(4, 12) + number(5, 30) +
            b"".join(text(6, s) for s in selectors) + extra)
    return body, ["interest", 'gateway "fog-1"', "incarnation 0000000000000077", "interest_version 12", "lease_s 30",
                  *(f"selector {s}" for s in selectors)]


def write(name, what, kind, verdict, message, lines=()):
    with open(os.path.join(HERE, name + ".bin"), "wb") as file:
        file.write(message)
    with open(os.path.join(HERE, name + ".txt"), "w") as file:
        file.write(f"# {what}\nmessage {kind}\nverdict {verdict}\n" + "".join(line + "\n" for line in lines))


def main():
    for old in os.listdir(HERE):
        if old.endswith((".bin", ".txt")):
            os.remove(os.path.join(HERE, old))
    news = number(500, 1) + fixed(501, 2) + data(502, b"news")  # fields of a newer writer
    example, decimal, steady = Block("example"), Block("dec"), Block("steady")

    message, lines, first = parcel(1, [CPU], [example])
    write("example", "the worked example of parcel.md", "up", "good", message, lines)
    message, lines, _ = parcel(2, [TEMPERATURE], [decimal, steady], [(7, 105, 20, 3)],
                               [(0, 1, 1699999999000, 1), (3, 0, -5, 0)], previous=first, floor=2)
    write("parcel", "everything a parcel may hold", "up", "good", message, lines)
    message, lines, _ = parcel(3, gaps=[(7, 0, 1000000, 1), (8, 5, 1, 2), (8, 90, 3, 4), (9, 1 << 40, 1 << 20, 5)],
                               created=-1, floor=3)
    write("gap", "a parcel of gaps alone, made before 1970", "up", "good", message, lines)
    message, lines, _ = parcel(1 << 40, [CPU], floor=1 << 39)
    write("declaration", "a parcel of declarations alone, with a large seq", "up", "good", message, lines)
    message, lines, _ = parcel(4, blocks=[steady], extra=news)
    write("parcel_newer_fields", "fields of a newer writer, outside the signed form, are skipped", "up", "good", message,
          lines)
    message, lines = hello()
    write("hello", "a hello", "up", "good", message, lines)
    message, lines = hello(extra=news)
    write("hello_newer_fields", "a hello with fields of a newer writer", "up", "good", message, lines)

    write("bad_parcel_version", "a higher major version", "up", "version", parcel(5, [CPU], version=2)[0])
    write("bad_hello_version", "a higher major version", "up", "version", hello(version=9)[0])
    write("bad_parcel_signature", "one bit of the signature flipped", "up", "signature", parcel(5, [CPU], spoil=True)[0])
    write("bad_hello_signature", "one bit of the signature flipped", "up", "signature", hello(spoil=True)[0])
    whole = parcel(6, [CPU], [example])[0]
    moved = whole.replace(b"node_cpu", b"node_gpu")
    write("bad_parcel_altered", "a name altered after signing", "up", "signature", moved)
    write("bad_parcel_cut", "the last byte is missing", "up", "malformed", whole[:-1])
    write("bad_parcel_length", "the parcel says it is longer than the message", "up", "malformed", data(2, whole)[:60])
    write("bad_up_empty", "neither hello nor parcel", "up", "empty", b"")
    write("bad_up_kind", "a kind of a newer writer", "up", "empty", data(9, b"news"))
    write("bad_up_garbage", "no message", "up", "malformed", b"\xff" * 12)

    write("ack", "a parcel's ack", "down", "good", *ack(17))
    write("ack_ranges", "the answer to a hello, with ranges", "down", "good",
          *ack(17, [(19, 19), (22, 300), (1 << 40, (1 << 40) + 5)], policy=1, nonce=0xABCDEF))
    write("ack_none", "nothing is settled", "down", "good", *ack(0, nonce=1))
    write("ack_newer_fields", "an ack with fields of a newer writer", "down", "good", *ack(17, policy=2, extra=news))
    write("nack_retry", "kept for later", "down", "good",
          *nack(data(5, number(1, 2500) + text(2, "disk")), 'retry_after 2500 "disk"'))
    for code, name in enumerate(["malformed", "signature", "conflict", "too_large", "wrong_sender"], 1):
        write("nack_permanent_" + name, "given up: " + name, "down", "good",
              *nack(data(6, number(1, code) + text(2, "see the log")), f'permanent {code} "see the log"'))
    write("nack_new_boot", "a new boot is asked for", "down", "good",
          *nack(data(7, text(1, "a copy is at work")), 'new_boot "a copy is at work"'))
    write("nack_declare", "declarations are asked for, packed as proto3 writers do", "down", "good",
          *nack(data(8, data(1, varint(7) + varint(300))), "declare 7 300"))
    write("nack_declare_unpacked", "the same, one by one", "down", "good",
          *nack(data(8, number(1, 7) + number(1, 300)), "declare 7 300"))
    write("nack_newer_verdict", "a verdict of a newer gateway: the parcel is kept", "down", "good", *nack(data(20, b"x"), "other"))
    write("bad_ack_cut", "the last byte is missing", "down", "malformed", ack(17)[0][:-1])
    write("bad_ack_range", "a range that is cut short", "down", "malformed", data(1, data(3, b"\x08")))
    write("bad_down_garbage", "no message", "down", "malformed", b"\x0a\x7f\x01")
    write("bad_down_tag", "field number 0", "down", "malformed", b"\x00\x01")
    write("bad_down_empty", "neither ack nor nack", "down", "empty", b"")

    write("interest", "what a gateway wants to see", "interest", "good", *interest())
    write("interest_newer_fields", "with fields of a newer writer", "interest", "good", *interest(extra=news))
    write("bad_interest_version", "a higher major version", "interest", "version", interest(version=2)[0])
    write("bad_interest_cut", "the last byte is missing", "interest", "malformed", interest()[0][:-1])
    write("bad_interest_taken_back", "a retained message that was cleared", "interest", "empty", b"")

    body = number(1, 1) + fixed(2, BOOT) + number(3, 12) + data(4, declaration(CPU)) + data(5, example.bytes)
    write("live", "points ahead of their block", "live", "good", body,
          ["live", f"boot {BOOT:016x}", "interest_version 12",
           'declaration 7 "node_cpu_seconds_total" kind 2 type 1 scale 0 unit "seconds"', 'label "cpu" "0"',
           'label "mode" "idle"', f"block {example.ref} first {example.first} count {len(example.points)} root "
           f"{root_of(example.points).hex()}"])


if __name__ == "__main__":
    main()
