"""A broker that lies: a relay before a real one that takes some messages, acknowledges them and drops them.

Plain MQTT 3.1.1 only: it has to read what it loses. Toward both sides it keeps the protocol's manners.
"""
import socket
import struct
import threading


def _take_packets(inbox):
    """Whole packets at the start of `inbox`, and what is left."""
    packets = []
    while True:
        length = shift = 0
        for at in range(1, min(5, len(inbox))):
            length |= (inbox[at] & 127) << shift
            shift += 7
            if inbox[at] < 128:
                break
        else:
            return packets, inbox
        end = at + 1 + length
        if len(inbox) < end:
            return packets, inbox
        packets.append((inbox[:end], at + 1))
        inbox = inbox[end:]


class LossyBroker:
    """`drop_up(topic, payload)` and `drop_down(topic, payload)` say which PUBLISH never arrives; QoS 1 ones are
    acknowledged to their sender all the same. Set them at any moment; they run on the relay's threads."""

    def __init__(self, broker_port):
        self.broker_port = broker_port
        self.drop_up = self.drop_down = lambda topic, payload: False
        self.dropped_up = self.dropped_down = self.passed_up = 0
        self.connections = 0
        self._lock = threading.Lock()
        self._open = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                broker = socket.create_connection(("127.0.0.1", self.broker_port), timeout=10)
            except OSError:
                client.close()
                continue
            broker.settimeout(None)
            with self._lock:
                self._open.update((client, broker))
            locks = {client: threading.Lock(), broker: threading.Lock()}
            for source, target, up in ((client, broker, True), (broker, client, False)):
                threading.Thread(target=self._relay, args=(source, target, up, locks), daemon=True).start()

    def _relay(self, source, target, up, locks):
        inbox = b""
        try:
            while True:
                chunk = source.recv(65536)
                if not chunk:
                    break
                packets, inbox = _take_packets(inbox + chunk)
                for packet, start in packets:
                    answer = self._dropped(packet, start, up)
                    if answer is None:
                        with locks[target]:
                            target.sendall(packet)
                    elif answer:
                        with locks[source]:
                            source.sendall(answer)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _dropped(self, packet, start, up):
        """None: pass it on. Bytes: drop it and answer these (nothing for QoS 0)."""
        if packet[0] >> 4 != 3:
            return None
        length = struct.unpack_from(">H", packet, start)[0]
        topic = packet[start + 2:start + 2 + length].decode(errors="replace")
        at = start + 2 + length
        number = packet[at:at + 2] if packet[0] & 6 else b""
        payload = packet[at + len(number):]
        if not (self.drop_up if up else self.drop_down)(topic, payload):
            self.passed_up += 1 if up else 0
            return None
        if up:
            self.dropped_up += 1
        else:
            self.dropped_down += 1
        return b"\x40\x02" + number if number else b""

    def close(self):
        self._listener.close()
        with self._lock:
            for end in self._open:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()
