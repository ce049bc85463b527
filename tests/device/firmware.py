#!/usr/bin/env python3
"""The firmware against a real gateway: in QEMU, or as a process (--board host).

  firmware.py --board mps2-an385 --firmware build/mcu-mps2-an385/bin/firmware.elf --bin build/dev/bin [CASE ...]
"""
import json
import pathlib
import socket
import subprocess
import threading
import time

# First: it knows where harness and what that finds are.
from shared import LONG_S, MINE, ask, end_and_check, enrolled_device, run, size, summaries

import balance
import device as scripted
import lambda_writer as writer
from harness import Mqtt, Skip, case, wait_until, worlds


def device_of(world, **identity):
    """An enrolled device that seals every two seconds, not started."""
    return enrolled_device(world, seal_age_ms=2000, **identity)


@case
def points_arrive_as_they_were_made(options):
    with options.world("device") as world:
        world.start_gateway()
        device = device_of(world)
        device.start()
        device.wait_settled(2000, LONG_S)
        totals = end_and_check(world, device)
        assert totals["dropped"] == 0 and totals["clocks_undeclared"] == 0, totals


@case
def a_broken_link_loses_nothing(options):
    if MINE.board == "host":
        raise Skip("a process has no cable to pull")
    with options.world("device-link") as world:
        world.start_gateway()
        device = device_of(world)
        device.start()
        device.wait_settled(200, LONG_S)
        device.set_link(False)
        broken = device.last("stats")["settled"]
        device.wait("points waiting", lambda: device.last("stats")["waiting"] >= 1500, LONG_S)
        assert device.last("stats")["settled"] <= broken + 700, "points were settled over a link that was off"
        device.set_link(True)
        device.wait_settled(2000, LONG_S)
        totals = end_and_check(world, device)
        assert totals["dropped"] == 0, totals


@case
def a_killed_broker_and_a_killed_gateway_lose_nothing(options):
    with options.world("device-broker") as world:
        world.start_gateway()
        device = device_of(world)
        device.start()
        device.wait_settled(200, LONG_S)
        world.kill_broker()
        device.wait_event("session_begun", 2, LONG_S)
        device.wait_settled(500, LONG_S)
        world.gateway.kill()
        world.start_gateway()
        device.wait_event("session_begun", 3, LONG_S)
        device.wait_settled(500, LONG_S)
        totals = end_and_check(world, device)
        assert totals["dropped"] == 0, totals


class Relay:
    """Between device and broker: passes bytes on. When told so it turns a bit of the next ones from the broker, or lets
    nothing from the broker through in the sessions that there are."""

    def __init__(self, broker_port):
        self.broker_port, self.turn_a_bit, self.turned = broker_port, False, 0
        self.sessions = self.swallowed_before = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                device, _ = self.listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self.broker_port))
            except OSError:
                device.close()
                continue
            self.sessions += 1
            for source, target, down in ((device, broker, False), (broker, device, True)):
                threading.Thread(target=self._pass, args=(source, target, down, self.sessions), daemon=True).start()

    def _pass(self, source, target, down, session):
        try:
            while chunk := source.recv(4096):
                if down and session <= self.swallowed_before:
                    continue
                if down and self.turn_a_bit:
                    chunk = chunk[:-1] + bytes([chunk[-1] ^ 1])
                    self.turn_a_bit = False
                    self.turned += 1
                target.sendall(chunk)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@case
def a_bit_turned_on_the_way_ends_the_session_and_nothing_else(options):
    with options.world("device-bit") as world:
        world.start_gateway()
        relay = Relay(world.broker_port)
        device = device_of(world, port=relay.port)
        device.start()
        for turn in (1, 2):
            device.wait_settled(200, LONG_S)
            relay.turn_a_bit = True
            device.wait("a bit being turned", lambda: relay.turned == turn, LONG_S)
            device.wait_event("session_begun", turn + 1, LONG_S)
        device.wait_settled(200, LONG_S)
        assert len(device.boots()) == 1, "the device began anew"
        relay.listener.close()
        totals = end_and_check(world, device)
        assert totals["dropped"] == 0, totals


@case
def a_session_that_only_looks_alive_is_ended(options):
    """The way back is dead; TCP goes on to acknowledge what is sent, so that MQTT's own watchdog is content."""
    with options.world("device-silence") as world:
        world.start_gateway()
        relay = Relay(world.broker_port)
        device = device_of(world, port=relay.port)
        device.start()
        device.wait_settled(200, LONG_S)
        relay.swallowed_before = relay.sessions
        device.wait_event("session_begun", 2, LONG_S)
        assert [event["reason"] for event in device.events("closed")] == ["silence"], device.events("closed")
        device.wait_settled(500, LONG_S)
        relay.listener.close()
        totals = end_and_check(world, device)
        assert totals["dropped"] == 0, totals


@case
def a_gateway_away_for_longer_than_memory_holds_gets_gaps_that_name_what_is_missing(options):
    with options.world("device-absence") as world:
        world.start_gateway()
        device = device_of(world, memory_bytes=18_000)
        device.start()
        device.wait_settled(200, LONG_S)
        world.gateway.stop()
        device.wait("points being dropped", lambda: device.last("stats")["dropped"] > 1000, LONG_S)
        world.start_gateway()
        device.wait_settled(1500, LONG_S)
        dropped = device.last("stats")["dropped"]
        device.wait("no more being dropped", lambda: device.last("stats")["dropped"] == dropped, LONG_S)
        device.wait_settled(500, LONG_S)
        dropped = device.last("stats")["dropped"]
        totals = end_and_check(world, device)
        assert totals["dropped"] == dropped > 1000, f"the device dropped {dropped}, gap records name {totals['dropped']}"


@case
def a_reset_begins_a_new_boot(options):
    with options.world("device-reset") as world:
        world.start_gateway()
        device = device_of(world)
        device.start()
        device.wait_settled(500, LONG_S)
        if MINE.board == "host":
            device.stop()
            device.start()
        else:
            device.reset()
        device.wait("the device beginning again", lambda: len(device.boots()) == 2, LONG_S)
        device.wait_settled(500, LONG_S)
        assert device.boots()[0] != device.boots()[1]
        end_and_check(world, device, boots=2)


def begins_again(device, boots, warned=False):
    """Its power is cut, on a host by SIGKILL; `warned`: with time for a snapshot."""
    if MINE.board == "host":
        device.program.stop() if warned else device.stop()
        device.start()
    else:
        device.reset()
    device.wait("the device beginning again", lambda: len(device.boots()) == boots, LONG_S)
    return device.wait_event("flash", boots, LONG_S)[-1]


@case
def a_reset_with_flash_keeps_what_no_gateway_had(options):
    """The gateway is away; power is cut, comes back, is cut again; then the gateway comes. What was saved arrives, what
    had gone into parcels after that is named, and nothing counts twice."""
    with options.world("device-flash") as world:
        world.start_gateway()
        device = device_of(world, flash_save_s=5)
        device.start()
        device.wait_settled(300, LONG_S)
        world.gateway.stop()
        device.wait("points waiting", lambda: device.last("stats")["waiting"] >= 1500, LONG_S)
        device.wait("a snapshot", lambda: device.last("flash_saved")["saves"] >= 3, LONG_S)
        settled = device.last("stats")["settled"]
        found = begins_again(device, 2)
        assert found["found"] == "restored" and int(found["waiting"]) >= 900, found
        device.wait("more points waiting", lambda: device.last("stats")["waiting"] >= int(found["waiting"]) + 500, LONG_S)
        again = begins_again(device, 3)
        assert again["found"] == "restored" and int(again["waiting"]) >= int(found["waiting"]), again
        world.start_gateway()
        device.wait_settled(int(again["waiting"]) + 500, LONG_S)
        for event in device.events("flash_saved"):
            assert event["failed"] == event["too_large"] == event["notes_failed"] == event["worn"] == "0", event
        totals = end_and_check(world, device, boots=3)
        assert totals["stored"] >= settled + int(again["waiting"]) + 500, totals
        print(f"settled {settled}, came back {again['waiting']}, named {totals['dropped']}", flush=True)


@case
def power_that_is_announced_costs_nothing(options):
    if MINE.board != "host":
        raise Skip("QEMU's boards do not announce it")
    with options.world("device-power") as world:
        world.start_gateway()
        device = device_of(world, flash_save_s=86_400)
        device.start()
        device.wait_settled(300, LONG_S)
        world.gateway.stop()
        device.wait("points waiting", lambda: device.last("stats")["waiting"] >= 1000, LONG_S)
        made = device.last("stats")["made"]
        found = begins_again(device, 2, warned=True)
        assert found["found"] == "restored" and device.events("power_failing"), found
        world.start_gateway()
        device.wait_settled(int(found["waiting"]) + 300, LONG_S)
        totals = end_and_check(world, device, boots=2)
        assert totals["dropped"] == 0 and totals["stored"] >= made, totals


# --- asked about what is in its memory ---

EXPRESSIONS = [
    '{__name__=~"device_.+"}[10m]',
    'device_temperature_celsius',
    'device_vibration_steps{axis="z"}',
    'device_vibration_steps{axis=""}',
    *summaries("10m"),
    'avg_over_time(device_supply_volts[17s])',
    'rate(device_samples_total[30s])',
    'quantile_over_time(0.9, device_vibration_steps[30s])',
]


@case
def its_last_minutes_give_the_same_numbers_from_its_memory_and_from_the_gateway_afterwards(options):
    with options.world("device-asked") as world:
        world.start_gateway()
        device = enrolled_device(world, seal_age_ms=20_000)
        device.start()
        minutes = 10 if options.full else 0.75
        device.wait("minutes of points", lambda: device.last("stats")["made"] >= minutes * 60 * 105, minutes * 60 + LONG_S)
        of = ("--device", device.name)
        points = ask(world, "device_samples_total", "now", *of, "--last", "10m")["result"][0]["values"]
        newest = points[-1][0]
        by_device = {text: ask(world, text, newest, *of) for text in EXPRESSIONS}
        waiting = device.last("stats")["waiting"]
        assert waiting > 0, "nothing was on the device alone: this shows less than it should"
        wait_until("all of it being stored", lambda: size(ask(world, EXPRESSIONS[0], newest)) >= size(
            by_device[EXPRESSIONS[0]]), 180, step=2)
        for text in EXPRESSIONS:
            stored = ask(world, text, newest)
            assert stored == by_device[text], f"{text}\n  device  {by_device[text]}\n  gateway {stored}"
        samples = size(by_device[EXPRESSIONS[0]])
        assert samples >= minutes * 60 * 100, f"{samples} points were compared"
        steps = ("--start", newest - 30, "--end", newest, "--step", "5s")
        command = [world.binaries / "lambda", "query", "--gateway", f"http://127.0.0.1:{world.gateway_port}", "--json", *steps,
                   "max_over_time(device_vibration_steps[5s])"]
        ranges = [json.loads(world.call(*command, *more).stdout)["data"] for more in (of, ())]
        assert ranges[0] == ranges[1] and len(ranges[0]["result"][0]["values"]) == 7, ranges
        print(f"{samples} points compared, {waiting} of them were on the device alone", flush=True)
        end_and_check(world, device)


@case
def only_the_gateway_may_ask_and_a_device_that_is_away_is_a_clear_error(options):
    with options.world("device-away") as world:
        world.start_gateway()
        device = device_of(world)
        device.start()
        device.wait_settled(200, LONG_S)
        of = ("--device", device.name)
        assert ask(world, "device_samples_total", "now", *of)["result"], "it answers the gateway"
        device.wait("it counting that", lambda: device.last("questions")["answered"] == 1, LONG_S)
        # Another device of the site, with a good certificate, asks the same question.
        stranger = scripted.Device(world.folder / "stranger", "press-8")
        world.enrol(stranger)
        question = writer.field(1, 1) + writer.fixed64(2, 77) + writer.field(3, 1) + writer.sint(5, 1 << 50)
        session = Mqtt(world.broker_port, stranger.name, stranger.ca, stranger.certificate, stranger.tls_key)
        session.subscribe(f"lambda/v1/{world.site}/{device.name}/up")
        session.publish(f"lambda/v1/{world.site}/{device.name}/down", writer.field(3, question))
        session.pump(2)
        assert not session.messages, "a stranger hears another device"
        session.close()
        # Nor does what it says as an answer count: it speaks under its own name only.
        assert ask(world, "device_samples_total", "now", *of)["result"]
        device.wait("it counting that", lambda: device.last("questions")["answered"] == 2, LONG_S)
        assert device.last("questions")["asked"] == 2, "the stranger's question came through"
        said = ask(world, "up", "now", "--device", "press-9", code=1)
        assert 'no device' in said and 'press-9' in said and 'enrolled' in said, said
        said = ask(world, "up", "now", "--device", stranger.name, code=1)
        assert "press-8 is not connected" in said, said
        device.stop()
        wait_until("its absence being told", lambda: f"{device.name} is not connected" in ask(
            world, "device_samples_total", "now", *of, code=None), 90, step=1)
        metrics = world.metrics()
        assert metrics.get("lambda_questions_answered_total") == 2, metrics.get("lambda_questions_answered_total")
        world.gateway.stop()


# --- who is not believed ---

def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)


class Broker:
    """A mosquitto with a certificate of the test's; reads what the gateway's site has beside it."""

    def __init__(self, world, name, lifetime_s):
        self.world, self.port = world, worlds.free_port()
        folder = world.folder / f"broker-{name}"
        folder.mkdir()
        site = world.folder / "site"
        issue(folder / "server", site, "localhost", lifetime_s)
        issue(folder / "fog", site, "fog-1", 3600)
        config = folder / "broker.conf"
        config.write_text(f"""\
user root
listener {self.port} 127.0.0.1
cafile {site}/ca.crt
certfile {folder}/server.crt
keyfile {folder}/server.key
require_certificate true
use_identity_as_username true
allow_anonymous false
log_type error
log_type notice
""")
        self.folder = folder
        self.program = worlds.Program(f"broker-{name}", ["/usr/sbin/mosquitto", "-c", config], world.folder)
        world.programs.append(self.program)
        self.program.start()

    def gateway(self):
        """A session in the gateway's name."""
        return Mqtt(self.port, "fog-1", str(self.world.folder / "site" / "ca.crt"), str(self.folder / "fog.crt"),
                    str(self.folder / "fog.key"))


def issue(path, site, name, lifetime_s):
    """A certificate of the site's authority that ends so many seconds from now."""
    from datetime import datetime, timedelta, timezone

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.load_pem_x509_certificate((site / "ca.crt").read_bytes())
    authority_key = serialization.load_pem_private_key((site / "ca.key").read_bytes(), None)
    now = datetime.now(timezone.utc)
    made = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(authority.subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30)).not_valid_after(now + timedelta(seconds=lifetime_s))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False).sign(authority_key, hashes.SHA256()))
    path.with_suffix(".crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()))


def refused_twice(device, because):
    """The device turns the broker down, tries again, turns it down again, and never has a session."""
    events = device.wait_event("certificate_refused", 2, LONG_S)
    assert all(event["because"] == because for event in events), events
    assert not device.events("session_begun"), "there was a session all the same"


@case
def a_broker_of_another_authority_or_name_is_refused(options):
    with options.world("device-strangers") as world:
        world.start_gateway()
        device = device_of(world)
        device.write_identity(broker_name="elsewhere.example")
        device.start()
        refused_twice(device, "another_name")
        device.stop()
        device.serial.unlink(missing_ok=True)
        device.program.log.unlink(missing_ok=True)
        # Same subject, another key: only the signature tells.
        bundle = json.loads(device.bundle.read_text())
        other = world.folder / "other"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                f"/CN=authority-{world.site}", "-keyout", f"{other}.key", "-out", f"{other}.crt")
        bundle["ca"] = pathlib.Path(f"{other}.crt").read_text()
        device.bundle.write_text(json.dumps(bundle))
        device.write_identity()
        device.start()
        refused_twice(device, "not_of_the_sites_authority")
        assert world.metrics().get("lambda_ingest_parcels_total", 0) == 0
        device.stop()
        world.gateway.stop()


@case
def an_expired_certificate_is_refused_by_a_device_that_knows_no_more_than_when_it_was_built(options):
    with options.world("device-expired") as world:
        world.start_gateway()
        device = device_of(world)
        expired, good = Broker(world, "expired", -86_400), Broker(world, "good", 3600)
        device.write_identity(port=expired.port)
        device.start()
        refused_twice(device, "expired")
        device.stop()
        device.serial.unlink(missing_ok=True)
        device.program.log.unlink(missing_ok=True)
        device.write_identity(port=good.port)
        device.start()
        device.wait_event("session_begun", 1, LONG_S)
        device.stop()
        world.gateway.stop()


@case
def the_dates_are_looked_at_again_when_the_time_is_learned(options):
    """The certificate ended after the firmware was built: the first session is held for good, and ended by the first
    answer that says what time it is. From then on it is refused, also after a reset: the time was saved."""
    with options.world("device-learns") as world:
        world.start_gateway()
        device = device_of(world)
        broker = Broker(world, "learns", 3600)
        device.write_identity(port=broker.port)
        device.start()
        wait_until("the broker's door", lambda: broker.gateway().close() or True, 30, step=0.5)
        gateway = broker.gateway()
        gateway.subscribe(f"lambda/v1/{world.site}/{device.name}/up")
        assert gateway.pump(60, lambda: bool(gateway.messages)), "the device said no hello"
        hello = balance.files.Message(balance.files.Message(gateway.messages[0][1]).blob(1))
        two_hours_on = int(time.time() * 1000) + 7_200_000
        ack = writer.fixed64(1, hello.fixed64(4)) + writer.field(5, "fog-1") + writer.fixed64(6, 1) + \
            writer.sint(7, two_hours_on) + writer.fixed64(8, hello.fixed64(9))
        gateway.publish(f"lambda/v1/{world.site}/{device.name}/down", writer.field(1, ack))
        gateway.pump(2)
        events = device.wait_event("certificate_refused", 2, LONG_S)
        assert len(device.events("session_begun")) == 1, "it went on as if nothing were"
        assert events[0]["because"] == "expired_or_not_valid_yet_now_that_the_time_is_known", events
        assert events[1]["because"] == "expired", events
        if MINE.board == "host":
            device.stop()
            device.start()
        else:
            device.reset()
        device.wait("the device beginning again", lambda: len(device.boots()) == 2, LONG_S)
        events = device.wait_event("certificate_refused", len(device.events("certificate_refused")) + 1, LONG_S)
        assert events[-1]["because"] == "expired" and len(device.events("session_begun")) == 1, events
        gateway.close()
        device.stop()
        world.gateway.stop()


if __name__ == "__main__":
    run()
