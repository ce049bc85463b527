#!/usr/bin/env python3
"""Who may speak, and what happens when identities repeat: certificates, revocation, two agents with one key, a device
that lost its memory."""
import ssl
import subprocess
import sys
import time

from harness import Device, Mqtt, Skip, case, main, wait_until

import lambda_writer as writer  # found by harness


def device(world, name="press-7"):
    made = Device(world.folder / name, name)
    world.enrol(made)
    return made


def refused(port, client_id, ca, certificate, key):
    """Whether the broker turns this client away: in TLS, at CONNECT, or by closing before it answers."""
    try:
        session = Mqtt(port, client_id, ca, certificate, key, timeout=5)
    except (ssl.SSLError, ConnectionError, TypeError, OSError):
        return True
    session.close()
    return False


def openssl(*arguments, prefix=()):
    subprocess.run([*prefix, "openssl", *map(str, arguments)], check=True, capture_output=True, timeout=20)


def certificate(folder, name, common_name, ca, ca_key, prefix=()):
    """A certificate of the given authority for a fresh key; returns (certificate, key)."""
    key, request, path = (folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
    extensions = folder / "client.ext"
    extensions.write_text("extendedKeyUsage=clientAuth\n")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    openssl("req", "-new", "-key", key, "-subj", f"/CN={common_name}", "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2", "-out", path,
            "-extfile", extensions, prefix=prefix)
    return str(path), str(key)


@case
def only_certificates_of_the_site_open_the_broker(options):
    with options.world("certificates") as world:
        world.start_gateway()
        good = device(world)
        site = world.folder / "site"
        assert not refused(world.broker_port, good.name, good.ca, good.certificate, good.tls_key), "the good one"
        assert refused(world.broker_port, good.name, good.ca, None, None), "without a certificate"
        other = world.folder / "other"
        other.mkdir()
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                "/CN=elsewhere", "-keyout", other / "ca.key", "-out", other / "ca.crt")
        wrong = certificate(world.folder, "wrong-ca", good.name, other / "ca.crt", other / "ca.key")
        assert refused(world.broker_port, good.name, good.ca, *wrong), "a certificate of another authority"
        try:
            expired = certificate(world.folder, "expired", good.name, site / "ca.crt", site / "ca.key",
                                  prefix=("faketime", "-f", "-30d"))
        except FileNotFoundError:
            raise Skip("faketime is not installed, so no expired certificate can be made") from None
        assert refused(world.broker_port, good.name, good.ca, *expired), "an expired certificate"
        # And the device's own side: a broker of another authority is not trusted.
        try:
            Mqtt(world.broker_port, good.name, str(other / "ca.crt"), good.certificate, good.tls_key, timeout=5)
            raise AssertionError("a broker of another authority was trusted")
        except ssl.SSLError:
            pass
        # A certificate opens only its own name's topics, whatever client id is claimed.
        second = device(world, "press-8")
        second.site = good.site
        session = Mqtt(world.broker_port, second.name, second.ca, second.certificate, second.tls_key)
        session.publish(good.topic("up"), good.hello())
        session.pump(1)
        session.close()
        good.connect(world.broker_port)
        good.send_hello(7)
        assert good.wait(lambda answer: answer.kind == "ack" and answer.nonce == 7), "the good one is still answered"
        acks = [answer for answer in good.answers() if answer.nonce == 1]
        assert not acks, "a hello on another device's topic was taken"
        # Nor does claiming its client id end its session or read its answers.
        thief = Mqtt(world.broker_port, good.name, second.ca, second.certificate, second.tls_key)
        thief.subscribe(good.topic("down"))
        good.send_hello(8)
        assert good.wait(lambda answer: answer.kind == "ack" and answer.nonce == 8), "its session was taken over"
        thief.pump(1)
        assert not thief.messages, "another device reads its answers"
        thief.close()
        good.close()


@case
def a_signature_of_another_key_is_refused_for_good(options):
    with options.world("signature") as world:
        world.start_gateway()
        honest = device(world)
        forger = Device(world.folder / "forger", honest.name)
        forger.site, forger.certificate, forger.tls_key, forger.ca = (honest.site, honest.certificate, honest.tls_key,
                                                                     honest.ca)
        forger.connect(world.broker_port)
        forger.send(forger.parcel([forger.points(1, range(5))], [writer.declaration(1)]))
        answer = forger.wait(lambda found: found.kind == "nack")
        assert answer and answer.verdict == "permanent" and answer.code == 2, "expected SIGNATURE"
        forger.close()
        honest.connect(world.broker_port)
        honest.send(honest.parcel([honest.points(1, range(5))], [writer.declaration(1)]))
        assert honest.wait_settled(1)
        honest.close()
        world.stop_all()
        totals = world.balance([])
        assert totals["stored"] == 5, totals


@case
def revocation_ends_the_session_and_nothing_more_is_stored(options):
    with options.world("revoked") as world:
        world.start_gateway()
        thief, other = device(world), device(world, "press-8")
        thief.connect(world.broker_port)
        other.connect(world.broker_port)
        thief.send(thief.parcel([thief.points(1, range(5))], [writer.declaration(1)]))
        assert thief.wait_settled(1)
        world.call(world.binaries / "lambda", "revoke", thief.name, "--site", world.folder / "site")
        try:
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline:
                thief.send(thief.parcel([thief.points(1, range(5))]))
                thief.mqtt.pump(0.5)
            raise AssertionError("the session of a revoked device goes on")
        except (ConnectionError, OSError):
            pass
        stored = [answer for answer in thief.answers() if answer.kind == "ack" and answer.contiguous > 1]
        assert not stored, "a parcel was acked after the revocation"
        wait_until("the revoked device being turned away",
                   lambda: refused(world.broker_port, thief.name, thief.ca, thief.certificate, thief.tls_key), 15)
        other.send(other.parcel([other.points(1, range(7))], [writer.declaration(1)]))
        assert other.wait_settled(1), "another device is served as before"
        other.close()
        world.stop_all()
        totals = world.balance([])
        assert totals["stored"] == 12, totals


@case
def a_device_reset_without_memory_counts_from_zero_in_a_new_boot(options):
    with options.world("reset") as world:
        world.start_gateway()
        forgetful = device(world)
        for boot in range(4):
            forgetful.begin_boot()
            forgetful.connect(world.broker_port)
            forgetful.send_hello(boot + 1)
            assert forgetful.wait(lambda answer, nonce=boot + 1: answer.nonce == nonce)
            for seq in range(1, 4):
                forgetful.send(forgetful.parcel([forgetful.points(1, range(10))], [writer.declaration(1)]))
                assert forgetful.wait_settled(seq)
            forgetful.close()
        world.stop_all()
        totals = world.balance([])
        assert totals["stored"] == 4 * 30, totals


@case
def two_devices_with_one_key_neither_double_nor_loop(options):
    """The same boot and seqs from two places at once: equal content counts once, other content is refused for good."""
    with options.world("twins") as world:
        world.start_gateway()
        first = device(world)
        start = int(time.time() * 1000) - 100_000
        parcels = [first.parcel([first.points(1, range(10 * n, 10 * n + 10), start + 10_000 * n)], [writer.declaration(1)])
                   for n in range(5)]
        first.connect(world.broker_port)
        for parcel in parcels:
            first.send(parcel)
        assert first.wait_settled(5)
        first.close()
        # The twin says the same again, packed differently, then goes on where it believes to be.
        twin = Device(world.folder / first.name, first.name, first.key.secret)
        twin.site, twin.boot = first.site, first.boot
        twin.connect(world.broker_port)
        twin.seq = 10
        twin.send(twin.parcel([twin.points(1, range(25), start), twin.points(1, range(25, 60), start + 25_001)],
                              [writer.declaration(1)]))
        # Ordinals 25 to 49 have other times here than before: refused, nothing of it stored.
        answer = twin.wait(lambda found: found.kind == "nack" and found.seq == 11)
        assert answer and answer.verdict == "permanent" and answer.code == 3, "expected CONFLICT"
        twin.ordinals, twin.previous = {}, b""
        twin.send(twin.parcel([twin.points(1, range(60), start, 1000)], [writer.declaration(1)]))
        assert twin.wait(lambda found: found.settles(12)), "the same content and ten new points"
        before = len(twin.answers())
        twin.mqtt.pump(3)
        assert len(twin.answers()) - before <= 2, "the gateway goes on answering by itself"
        twin.close()
        world.stop_all()
        totals = world.balance([])
        assert (totals["stored"], totals["doubled"]) == (60, 0), totals


if __name__ == "__main__":
    sys.exit(main())
