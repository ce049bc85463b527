"""A device written from proto/*.md alone: keys, enrolment, MQTT 3.1.1 over TLS, signed parcels and hellos.

It does what tests need and honest firmware would not: says things twice, forgets, lies. Python's standard library and
the openssl program are all it stands on.
"""
import hashlib
import hmac
import json
import pathlib
import secrets
import select
import socket
import ssl
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "check"))
import lambda_files as files  # noqa: E402
import lambda_writer as writer  # noqa: E402

# --- secp256k1: ECDSA with RFC 6979 nonces and low s ---

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
     0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)


def _add(a, b):
    if a is None:
        return b
    if b is None:
        return a
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


_POWERS = [G]
for _ in range(255):
    _POWERS.append(_add(_POWERS[-1], _POWERS[-1]))


def _times_g(scalar):
    total = None
    for bit, power in enumerate(_POWERS):
        if scalar >> bit & 1:
            total = _add(total, power)
    return total


class SigningKey:
    def __init__(self, secret=None):
        self.secret = secret or secrets.randbelow(N - 1) + 1
        x, y = _times_g(self.secret)
        self.public = bytes([2 + (y & 1)]) + x.to_bytes(32, "big")

    def _nonce(self, digest):
        v, k = b"\1" * 32, b"\0" * 32
        seed = self.secret.to_bytes(32, "big") + (int.from_bytes(digest, "big") % N).to_bytes(32, "big")
        for step in (b"\0", b"\1"):
            k = hmac.digest(k, v + step + seed, "sha256")
            v = hmac.digest(k, v, "sha256")
        while True:
            v = hmac.digest(k, v, "sha256")
            nonce = int.from_bytes(v, "big")
            if 0 < nonce < N:
                return nonce
            k = hmac.digest(k, v + b"\0", "sha256")
            v = hmac.digest(k, v, "sha256")

    def sign(self, digest):
        nonce = self._nonce(digest)
        r = _times_g(nonce)[0] % N
        s = (int.from_bytes(digest, "big") + r * self.secret) * pow(nonce, -1, N) % N
        return r.to_bytes(32, "big") + min(s, N - s).to_bytes(32, "big")


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(value)) + value


# --- MQTT 3.1.1, just enough ---

class Mqtt:
    """A session; `messages` are (topic, payload) in order of arrival."""

    def __init__(self, port, client_id, ca, certificate, key, will=None, timeout=10):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(ca)
        if certificate:
            context.load_cert_chain(certificate, key)
        raw = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        try:
            self.socket = context.wrap_socket(raw, server_hostname="localhost")
        except BaseException:
            raw.close()
            raise
        self.inbox = b""
        self.messages = []
        self.pubacks = set()
        self.subacks = {}
        self.last_id = 0
        self.closed = False
        body = text16("MQTT") + bytes([4, 2 | (0x2C if will else 0)]) + struct.pack(">H", 60) + text16(client_id)
        if will:
            body += text16(will[0]) + text16(will[1])
        self._send(0x10, body)
        kind, answer = self._packet(time.monotonic() + timeout)
        if kind != 0x20 or answer[1] != 0:
            raise ConnectionError(f"CONNACK {answer!r}")

    def _send(self, kind, body):
        length, left = b"", len(body)
        while True:
            length += bytes([left % 128 | (0x80 if left >= 128 else 0)])
            left //= 128
            if left == 0:
                break
        self.socket.sendall(bytes([kind]) + length + body)

    def _whole_packet(self):
        length = shift = 0
        for at in range(1, min(5, len(self.inbox))):
            length |= (self.inbox[at] & 127) << shift
            shift += 7
            if self.inbox[at] < 128:
                end = at + 1 + length
                if len(self.inbox) < end:
                    return None
                packet = self.inbox[0], self.inbox[at + 1:end]
                self.inbox = self.inbox[end:]
                return packet
        return None

    def _packet(self, deadline):
        """(first byte, body), or None at the deadline. ConnectionError when the broker ends the session."""
        while True:
            packet = self._whole_packet()
            if packet:
                return packet
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            if not self.socket.pending() and not select.select([self.socket], [], [], left)[0]:
                continue
            try:
                chunk = self.socket.recv(65536)
            except ssl.SSLError as error:
                self.closed = True
                raise ConnectionError(str(error)) from None
            if not chunk:
                self.closed = True
                raise ConnectionError("the broker ended the session")
            self.inbox += chunk

    def pump(self, seconds, until=lambda: False):
        """Takes what comes until `until()` or the time is over; returns until()."""
        deadline = time.monotonic() + seconds
        while not until():
            packet = self._packet(deadline)
            if packet is None:
                return until()
            kind, body = packet
            if kind >> 4 == 3:
                length = struct.unpack_from(">H", body)[0]
                topic, at = body[2:2 + length].decode(), 2 + length
                if kind & 6:
                    self._send(0x40, body[at:at + 2])
                    at += 2
                self.messages.append((topic, body[at:]))
            elif kind == 0x40:
                self.pubacks.add(struct.unpack(">H", body)[0])
            elif kind == 0x90:
                self.subacks[struct.unpack_from(">H", body)[0]] = body[2]
        return True

    def _next_id(self):
        self.last_id = self.last_id % 65535 + 1
        return self.last_id

    def subscribe(self, topic, seconds=10):
        number = self._next_id()
        self._send(0x82, struct.pack(">H", number) + text16(topic) + b"\1")
        if not self.pump(seconds, lambda: number in self.subacks):
            raise TimeoutError("no SUBACK")
        return self.subacks[number]

    def publish(self, topic, payload, qos=1):
        """Sends and does not wait; the number is in `pubacks` when the broker has taken it."""
        if qos == 0:
            self._send(0x30, text16(topic) + payload)
            return 0
        number = self._next_id()
        self.pubacks.discard(number)
        self._send(0x32, text16(topic) + struct.pack(">H", number) + payload)
        return number

    def close(self):
        self.socket.close()


def text16(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(value)) + value


# --- answers ---

class Answer:
    """A Down message."""

    def __init__(self, payload):
        down = files.Message(payload)
        self.kind = "ack" if down.blobs(1) else "nack"
        message = files.Message(down.blob(1) or down.blob(2))
        self.boot = message.fixed64(1)
        if self.kind == "ack":
            self.contiguous = message.uint(2)
            self.ranges = [(run.uint(1), run.uint(2)) for run in message.messages(3)]
            self.nonce = message.fixed64(8)
            self.verdict = self.code = self.text = None
            return
        self.seq = message.uint(2)
        self.verdict = next((name for number, name in ((5, "retry_after"), (6, "permanent"), (7, "new_boot"),
                                                       (8, "declare")) if message.blobs(number)), None)
        detail = files.Message(message.blob({"retry_after": 5, "permanent": 6, "new_boot": 7, "declare": 8}[self.verdict]))
        self.code = detail.uint(1)
        self.text = detail.text(2)

    def settles(self, seq):
        return self.kind == "ack" and (seq <= self.contiguous or any(a <= seq <= b for a, b in self.ranges))


# --- the device ---

class Device:
    """Keys and certificate in `folder`; enrolled by world.enrol(device)."""

    def __init__(self, folder, name, secret=None):
        self.folder, self.name = pathlib.Path(folder), name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = SigningKey(secret)
        self.tls_key, self.certificate, self.ca = (str(self.folder / part) for part in ("tls.key", "tls.crt", "ca.crt"))
        self.site = self.mqtt = None
        self.begin_boot()

    def begin_boot(self, boot=None):
        self.boot = boot or secrets.randbits(64) | 1
        self.started_ms = int(time.time() * 1000)
        self.seq = 0
        self.previous = b""
        self.ordinals = {}

    def request(self):
        """Makes the TLS key and the request file; returns its path."""
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.tls_key], check=True,
                       capture_output=True, timeout=20)
        csr = subprocess.run(["openssl", "req", "-new", "-key", self.tls_key, "-subj", f"/CN={self.name}"], check=True,
                             capture_output=True, timeout=20, text=True).stdout
        proof = hashlib.sha256(b"lambda/enrol/1\0" + text(self.name) + text(csr)).digest()
        path = self.folder / f"{self.name}.request"
        path.write_text(json.dumps({"version": 1, "device": self.name, "csr": csr, "key_spec": 1,
                                    "public_key": self.key.public.hex(), "proof": self.key.sign(proof).hex()}))
        return path

    def install(self, bundle):
        found = json.loads(pathlib.Path(bundle).read_text())
        self.site = found["site"]
        pathlib.Path(self.certificate).write_text(found["certificate"])
        pathlib.Path(self.ca).write_text(found["ca"])

    # Messages.

    def hello(self, nonce=1, signature=None, sent_ms=None, backlog=(0, 0)):
        """`backlog` is (parcels, bytes)."""
        digest = hashlib.sha256(b"lambda/hello/1\0" + text(self.site) + text(self.name) +
                                struct.pack(">QQq", self.boot, 0, self.started_ms)).digest()
        body = writer.field(1, 1) + writer.field(2, self.site) + writer.field(3, self.name) + \
            writer.fixed64(4, self.boot) + writer.sint(6, self.started_ms) + writer.field(7, 1) + \
            writer.field(8, signature or self.key.sign(digest)) + writer.fixed64(9, nonce) + \
            writer.sint(10, int(time.time() * 1000) if sent_ms is None else sent_ms) + \
            writer.field(11, self.seq + 1) + writer.field(12, 1) + writer.field(13, backlog[0]) + \
            writer.field(14, backlog[1])
        return writer.field(1, body)

    def parcel(self, blocks, declarations=(), gaps=(), seq=None, mangle=None):
        """The bytes of a signed Parcel message. `mangle` changes the blocks' bytes after the digest was computed."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        head = writer.field(1, 1) + writer.field(2, self.site) + writer.field(3, self.name) + \
            writer.fixed64(4, self.boot) + writer.field(5, seq) + writer.sint(6, int(time.time() * 1000)) + \
            writer.field(7, 1) + b"".join(writer.field(8, entry) for entry in declarations)
        tail = b"".join(writer.field(10, entry) for entry in gaps)
        if self.previous:
            tail += writer.field(12, self.previous)
        tail += writer.field(13, 1)
        digest = files.Parcel(head + b"".join(writer.field(9, block) for block in blocks) + tail).digest()
        self.previous = digest
        sent = [mangle(block) if mangle else block for block in blocks]
        return head + b"".join(writer.field(9, block) for block in sent) + tail + writer.field(14, self.key.sign(digest))

    def points(self, ref, values, start_ms=None, step_ms=1000):
        """A block of the next ordinals of an i64 series."""
        first = self.ordinals.get(ref, 0)
        self.ordinals[ref] = first + len(values)
        start = int(time.time() * 1000) - step_ms * len(values) if start_ms is None else start_ms
        return writer.block(ref, first, [start + step_ms * index for index in range(len(values))], list(values))

    def topic(self, name):
        return f"lambda/v1/{self.site}/{self.name}/{name}"

    # The session.

    def connect(self, port, client_id=None):
        self.mqtt = Mqtt(port, client_id or self.name, self.ca, self.certificate, self.tls_key,
                         will=(self.topic("state"), "offline"))
        self.mqtt.subscribe(self.topic("down"))
        return self

    def close(self):
        if self.mqtt:
            self.mqtt.close()
            self.mqtt = None

    def send(self, parcel, number=2):
        return self.mqtt.publish(self.topic("up"), writer.field(number, parcel))

    def send_hello(self, nonce=1, **facts):
        return self.mqtt.publish(self.topic("up"), self.hello(nonce, **facts))

    def answers(self):
        return [Answer(payload) for topic, payload in self.mqtt.messages if topic == self.topic("down")]

    def wait(self, wanted, seconds=15):
        """The first answer for which wanted(answer) holds, or None."""
        found = []

        def look():
            found.extend(answer for answer in self.answers() if wanted(answer))
            return bool(found)
        self.mqtt.pump(seconds, look)
        return found[0] if found else None

    def wait_settled(self, seq, seconds=15):
        return self.wait(lambda answer: answer.boot == self.boot and answer.settles(seq), seconds) is not None
