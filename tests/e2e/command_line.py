#!/usr/bin/env python3
"""`lambda` as an operator types it, against a live gateway, its site, its store and an agent's spool. What it says is
compared with what this folder's own device did and with what the checker reads; every mistake ends in one line that
names it, and in the exit status that --help promises."""
import csv
import io
import json
import pathlib
import signal
import ssl
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from harness import Device, case, main, wait_until, worlds  # noqa: E402

import lambda_files as files  # noqa: E402  (found by harness)
import lambda_writer as writer  # noqa: E402

DONE, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3   # cli/README.md
POINTS = 20
CLOCK_BEHIND_MS = 90_000


class Shell:
    """Runs `lambda` in the world's folder."""

    def __init__(self, world, *always):
        self.world, self.always = world, always

    def run(self, *arguments, environment=None):
        command = [str(part) for part in (self.world.binaries.resolve() / "lambda", *arguments, *self.always)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=self.world.folder,
                              env={**worlds.os.environ, **(environment or {})})

    def good(self, *arguments, **more):
        """Standard output of what must succeed."""
        done = self.run(*arguments, **more)
        assert done.returncode == DONE, f"lambda {' '.join(map(str, arguments))}: {done.returncode}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments, **more):
        return json.loads(self.good("--json", *arguments, **more))

    def refused(self, status, words, *arguments, **more):
        """It fails with this status and one line on standard error that has the words; with --json the same as a value."""
        for form in ((), ("--json",)):
            done = self.run(*form, *arguments, **more)
            what = f"lambda {' '.join(map(str, (*form, *arguments)))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            assert done.returncode == status, what
            text = json.loads(done.stdout)["error"] if form else done.stderr
            assert words in text, f"{what}\nexpected: {words}"
            assert form or (text.startswith("lambda: ") and text.count("\n") == 1), f"not one line of its own: {what}"


def site_with_device(world, **gateway):
    """A gateway; a device that has stored 60 points, lost 5 and has a slow clock and a backlog."""
    world.make_gateway(**gateway)
    world.gateway.start()
    wait_until("the site being made", (world.folder / "site" / "crl.pem").exists, 30)
    device = Device(world.folder / "press-7", "press-7")
    return device


def answered(device, nonce):
    device.send_hello(nonce)
    return device.wait(lambda answer: answer.nonce == nonce, 1)


def speak(world, device):
    device.connect(world.broker_port)
    device.mqtt.publish(device.topic("state"), b"online")
    # A hello until somebody answers, as any device does: the broker may be there before the gateway listens.
    asked = iter(range(100, 200))
    wait_until("a hello being answered", lambda: answered(device, next(asked)), 60)
    start = int(time.time() * 1000) - 100_000
    for seq in range(3):
        block = device.points(1, range(seq * POINTS, (seq + 1) * POINTS), start + seq * POINTS * 1000)
        device.send(device.parcel([block], [writer.declaration(1)], [writer.gap(2, 0, 5)] if seq == 0 else []))
    assert device.wait_settled(3), "the parcels were not settled"
    device.send_hello(7, sent_ms=int(time.time() * 1000) - CLOCK_BEHIND_MS, backlog=(4, 5000))
    assert device.wait(lambda answer: answer.nonce == 7), "the hello was not answered"
    return start + (3 * POINTS - 1) * 1000


@case
def devices_are_shown_as_they_are(options):
    with options.world("devices") as world:
        device = site_with_device(world)
        wait_until("the gateway being ready", world.gateway_ready, 60)
        silent = Device(world.folder / "press-8", "press-8")
        world.enrol(device)
        world.enrol(silent)
        newest_ms = speak(world, device)
        shell = Shell(world, "--gateway", f"http://127.0.0.1:{world.gateway_port}")
        before_ms = int(time.time() * 1000)
        answer = shell.json("devices")
        after_ms = int(time.time() * 1000)
        first, second = answer["devices"]
        assert (first["device"], first["state"], second["device"], second["state"]) == ("press-7", "online", "press-8", "new")
        assert before_ms - 60_000 <= first["last_seen_ms"] <= after_ms, first
        assert before_ms - newest_ms <= first["lag_ms"] <= after_ms - newest_ms, first
        assert (first["points"], first["blocks"], first["boots"], first["gap_points"]) == (3 * POINTS, 3, 1, 5), first
        assert (first["backlog_parcels"], first["backlog_bytes"], first["chain_breaks"]) == (4, 5000, 0), first
        assert CLOCK_BEHIND_MS <= first["clock_offset_ms"] <= CLOCK_BEHIND_MS + 30_000, first
        assert second["last_seen_ms"] == 0 and second["lag_ms"] is None and second["clock_offset_ms"] is None, second
        title, row, other = shell.good("devices").splitlines()
        for word in ("DEVICE", "STATE", "LAST SEEN", "LAG s", "BACKLOG", "GAPS", "CLOCK ms"):
            assert word in title, title
        assert row.split()[:2] == ["press-7", "online"] and other.split()[:3] == ["press-8", "new", "-"], (row, other)
        device.close()
        wait_until("the device being offline", lambda: shell.json("devices")["devices"][0]["state"] == "offline", 30)
        world.call(world.binaries / "lambda", "revoke", "press-8", "--site", world.folder / "site")
        wait_until("it being revoked", lambda: shell.json("devices")["devices"][1]["state"] == "revoked", 30)
        wrong_servers(world)
        world.stop_all()
        world.balance([])


def wrong_servers(world):
    """Each door that is not the one."""
    shell = Shell(world)
    live = f"http://127.0.0.1:{world.gateway_port}"
    nobody = f"http://127.0.0.1:{worlds.free_port()}"
    for asked, elsewhere in ((("devices",), "answered"), (("query", "up"), "no such page")):
        for status, words, url in ((UNREACHABLE, "cannot connect", nobody),
                                   (FAILED, "write http://host:port", "ftp://127.0.0.1"),
                                   (FAILED, "no port", "http://127.0.0.1:99999"),
                                   (UNREACHABLE, "cannot find the host", "http://no-such-host.invalid:1"),
                                   (UNREACHABLE, "no whole answer", f"http://127.0.0.1:{world.broker_port}"),
                                   (FAILED, "TLS", live.replace("http:", "https:")),
                                   (FAILED, elsewhere, live + "/elsewhere")):
            shell.refused(status, words, *asked, "--gateway", url, "--timeout", "20")
    shell.refused(FAILED, "bad_data", "query", "up{", "--gateway", live)
    shell.refused(USAGE, "--time goes with neither", "query", "up", "--time", "now", "--start", "now-1h")
    # A server that takes the question and never answers.
    world.gateway.signal(signal.SIGSTOP)
    shell.refused(UNREACHABLE, "no answer within 1000 ms", "query", "up", "--gateway", live, "--timeout", "1")
    world.gateway.signal(signal.SIGCONT)
    # The gateway may be named once for all in the environment.
    answer = shell.json("query", "series_1", environment={"LAMBDA_GATEWAY": live})
    assert answer["data"]["resultType"] == "vector", answer


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)


def authority(folder, name):
    """A certificate authority, and a client certificate of it."""
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
            f"/CN={name}", "-keyout", folder / f"{name}-ca.key", "-out", folder / f"{name}-ca.crt")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}-client",
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr")
    openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / f"{name}-ca.crt", "-CAkey",
            folder / f"{name}-ca.key", "-CAcreateserial", "-days", "2", "-out", folder / f"{name}.crt")


@case
def behind_tls_only_the_right_certificates_and_token_get_an_answer(options):
    with options.world("https") as world:
        for name in ("operators", "strangers"):
            authority(world.folder, name)
        site = world.folder / "site"
        device = site_with_device(world, http=f"""\
token = "open-sesame"
certificate_file = "{site}/server.crt"
key_file = "{site}/server.key"
client_ca_file = "{world.folder}/operators-ca.crt"
""")
        url = f"https://localhost:{world.gateway_port}"
        good = ("--ca", site / "ca.crt", "--cert", world.folder / "operators.crt", "--key", world.folder / "operators.key")
        token = {"LAMBDA_TOKEN": "open-sesame"}
        shell = Shell(world, "--gateway", url)
        wait_until("the gateway answering over TLS", lambda: shell.run("query", "up", *good, environment=token).returncode == 0,
                   60)
        world.enrol(device)
        wait_until("the broker taking the device", lambda: can_speak(world, device), 60)
        speak(world, device)
        found = shell.json("query", "series_1", "--time", "now", *good, environment=token)["data"]["result"]
        assert [series["metric"]["instance"] for series in found] == ["press-7"], found
        assert shell.json("devices", *good, environment=token)["devices"][0]["points"] == 3 * POINTS
        by_address = Shell(world, "--gateway", f"https://127.0.0.1:{world.gateway_port}")
        by_address.good("devices", *good, environment=token)   # the certificate names the address too

        without_certificate = good[:2]
        strangers = (*good[:2], "--cert", world.folder / "strangers.crt", "--key", world.folder / "strangers.key")
        for words, arguments in (("certificate verify failed", ()),                                     # whom to trust?
                                 ("certificate verify failed", ("--ca", world.folder / "strangers-ca.crt", *good[2:])),
                                 ("certificate required", without_certificate), ("unknown ca", strangers),
                                 ("no-such.pem", ("--ca", "no-such.pem")),
                                 ("operators.key", ("--ca", world.folder / "operators.key", *good[2:])),
                                 ("strangers.key", (*good[:4], "--key", world.folder / "strangers.key"))):
            shell.refused(FAILED, words, "devices", *arguments, environment=token)
        wrong_name = Shell(world, "--gateway", f"https://127.0.0.2:{world.gateway_port}")
        wrong_name.refused(UNREACHABLE, "cannot connect", "devices", *good, environment=token)
        shell.refused(FAILED, "401", "devices", *good, environment={"LAMBDA_TOKEN": "sesame"})
        shell.refused(FAILED, "401", "query", "up", *good)
        Shell(world, "--gateway", url.replace("https", "http")).refused(UNREACHABLE, "no whole answer", "devices")
        device.close()
        world.stop_all()
        world.balance([])


def can_speak(world, device):
    try:
        device.connect(world.broker_port)
    except (OSError, TypeError, ssl.SSLError):
        return False
    device.close()
    return True


@case
def a_store_is_checked_mended_and_exported_while_nobody_uses_it(options):
    with options.world("store") as world:
        device = site_with_device(world)
        wait_until("the gateway being ready", world.gateway_ready, 60)
        world.enrol(device)
        speak(world, device)
        store, shell = world.gateway_store, Shell(world)
        for action in ("check", "repair", "export"):
            shell.refused(FAILED, "another process has it", "store", action, store)
            shell.refused(FAILED, "no-such-store", "store", action, "no-such-store")
            shell.refused(FAILED, "is it a store?", "store", action, world.folder / "site")
            shell.refused(FAILED, "gateway.toml", "store", action, world.folder / "gateway.toml")
        device.close()
        world.gateway.stop()

        facts = shell.json("store", "check", store)
        assert (facts["ok"], facts["points"], facts["parcels"], facts["gap_points"]) == (True, 3 * POINTS, 3, 5), facts
        exported(world, shell, store)

        segment = max(store.glob("seg-*.lam"), key=lambda path: path.stat().st_size)
        blocks = [block for kind, _, body in files.RecordFile(segment, "S").records if kind == 1
                  for block in files.Message(files.Message(body).blob(2)).blobs(9)]
        assert len(blocks) == 3
        looked_at(world, shell, blocks[0])

        with open(segment, "ab") as torn:
            torn.write(b"LR\1\0torn")
        assert shell.json("store", "check", store)["torn_bytes"] == 8
        assert shell.json("store", "repair", store)["torn_bytes_cut"] == 8
        assert shell.json("store", "check", store)["torn_bytes"] == 0
        data = bytearray(segment.read_bytes())
        at = data.index(blocks[1])
        data[at + 9] ^= 1
        segment.write_bytes(data)
        done = shell.run("--json", "store", "check", store)
        facts = json.loads(done.stdout)
        assert done.returncode == FAILED and facts["damage_count"] >= 1 and not facts["ok"], facts
        assert pathlib.Path(facts["damage"][0]["file"]).name == segment.name, facts
        assert facts["damage"][0]["offset"] < at < facts["damage"][0]["offset"] + facts["damage"][0]["bytes"], facts
        assert shell.json("store", "repair", store)["records_lost"] == 1
        assert shell.json("store", "check", store)["points"] == 2 * POINTS


def exported(world, shell, store):
    """The export has the points that the checker reads, and only those asked for."""
    found, _ = worlds.balance.run([store], [])
    expected = sorted((time_ms, bits) for points in found.stored.values() for _, times, values in points.pieces
                      for time_ms, bits in zip(times, values))
    rows = list(csv.DictReader(io.StringIO(shell.good("store", "export", store))))
    assert sorted((int(row["time_ms"]), int(row["value"])) for row in rows) == expected
    assert all(row["series"].startswith("series_1{") and 'instance="press-7"' in row["series"] for row in rows), rows[0]
    lines = [json.loads(line) for line in shell.good("--json", "store", "export", store).splitlines()]
    assert sorted((line["time_ms"], int(line["value"])) for line in lines) == expected
    start = expected[10][0]
    part = shell.good("store", "export", store, "--start", f"{start / 1000:.3f}", "--match", 'series_1{instance="press-7"}')
    assert len(part.splitlines()) == 1 + len(expected) - 10
    assert shell.good("store", "export", store, "--match", "series_9").splitlines() == ["series,time_ms,value"]
    shell.refused(USAGE, "--match", "store", "export", store, "--match", "series_1{")
    shell.refused(USAGE, "--start", "store", "export", store, "--start", "yesterday")
    full = subprocess.run(f"'{world.binaries.resolve()}/lambda' store export '{store}' > /dev/full", shell=True,
                          capture_output=True, timeout=60)
    assert full.returncode == FAILED, "a full disk behind > looked like success"


def looked_at(world, shell, block):
    """block cat and stat say what the checker decodes."""
    path = world.folder / "one.block"
    path.write_bytes(block)
    plain = files.decode_block(block, 1)
    rows = list(csv.DictReader(io.StringIO(shell.good("block", "cat", "--ordinals", path))))
    assert [(int(row["ordinal"]), int(row["timestamp_ms"]), int(row["value"])) for row in rows] == \
        list(zip(range(plain.first, plain.end()), plain.times, plain.bits))
    facts = shell.json("block", "stat", path)
    assert (facts["ref"], facts["count"], facts["first_ordinal"], facts["content_root"]) == \
        (plain.ref, plain.count, plain.first, plain.root().hex()), facts
    path.with_suffix(".hex").write_text(block.hex(" "))
    assert shell.json("block", "stat", "--hex", path.with_suffix(".hex")) == facts
    path.with_suffix(".cut").write_bytes(block[:-1])
    for action in ("cat", "stat"):
        shell.refused(FAILED, "no-such.block", "block", action, "no-such.block")
        shell.refused(FAILED, "site", "block", action, world.folder / "site")
        shell.refused(FAILED, "not a good block: checksum", "block", action, path.with_suffix(".cut"))
        shell.refused(FAILED, "hex", "block", action, "--hex", path)


@case
def an_agents_spool_is_looked_into(options):
    with options.world("spool") as world:
        world.start_gateway()
        agent = world.make_agent("press-7", series=5, interval_ms=100, seal_ms=300)
        world.enrol(agent)
        world.start_agent(agent)
        wait_until("points being stored", lambda: world.segment_bytes() > 0, 60)
        world.gateway.stop()
        wait_until("parcels waiting", lambda: world.backlog(agent) >= 3, 60)
        agent.stop()
        shell = Shell(world)
        facts = shell.json("spool", "check", agent.state)
        found, _ = worlds.balance.run([world.gateway_store], [agent.state])
        assert facts["damage_count"] == 0 and facts["unsettled_parcels"] == found.stats["spooled_unsettled"] >= 3, facts
        unsettled = [json.loads(line) for line in shell.good("--json", "spool", "dump", "--unsettled",
                                                             agent.state).splitlines()]
        assert len(unsettled) == found.stats["spooled_unsettled"], unsettled
        for action in ("check", "dump"):
            shell.refused(FAILED, "no-such-folder", "spool", action, "no-such-folder")
            shell.refused(FAILED, "neither spool-", "spool", action, world.folder / "site")


@case
def devices_are_enrolled_and_revoked_by_hand(options):
    with options.world("enrol") as world:
        world.start_gateway()
        site, shell = world.folder / "site", Shell(world)
        device, again = (Device(world.folder / name, "press-7") for name in ("press-7", "press-7-again"))
        request = device.request()
        shell.refused(FAILED, "no-such.request", "enroll", "no-such.request", "--site", site)
        shell.refused(FAILED, "no-such-site", "enroll", request, "--site", "no-such-site")
        shell.refused(FAILED, "agent.toml", "enroll", "agent.toml", "--site", site)
        (world.folder / "not.request").write_text("[agent]\n")
        shell.refused(FAILED, "not.request", "enroll", "not.request", "--site", site)
        altered = json.loads(request.read_text())
        altered["device"] = "press-9"
        (world.folder / "altered.request").write_text(json.dumps(altered))
        shell.refused(FAILED, "altered.request", "enroll", "altered.request", "--site", site)
        assert shell.run("enroll", request, "--site", site, "--days", "0").returncode == USAGE
        assert shell.run("enroll").returncode == USAGE
        shell.refused(FAILED, "press-7", "revoke", "press-7", "--site", site)   # nobody of that name

        said = shell.json("enroll", request, "--site", site)
        assert said["device"] == "press-7", said
        device.install(world.folder / "press-7.bundle.json")   # where --help says that it goes
        speak(world, device)
        shell.refused(FAILED, "/proc/nowhere", "enroll", request, "--site", site, "--out", "/proc/nowhere/bundle")
        shell.refused(FAILED, "another key", "enroll", again.request(), "--site", site)
        assert "is revoked" in shell.good("revoke", "press-7", "--site", site)
        assert shell.json("revoke", "press-7", "--site", site)["already"] is True
        shell.refused(FAILED, "--replace", "enroll", request, "--site", site)
        device.close()
        # The one who comes back has the new keys, and the old ones are worthless.
        shell.good("enroll", again.request(), "--site", site, "--replace", "--out", "new.bundle")
        again.install(world.folder / "new.bundle")
        wait_until("the new one being let in", lambda: can_speak(world, again), 30)
        parcel = again.parcel([again.points(1, range(7))], [writer.declaration(1)])

        def stored():   # the end of the old one's session may come late and end this one: every device comes again
            try:
                again.close()
                again.connect(world.broker_port)
                again.send(parcel)
                return again.wait_settled(1, 5)
            except ConnectionError:
                return False
        wait_until("the new one's parcel being stored", stored, 30)
        again.close()
        assert not can_speak(world, device), "the old certificate opens the broker still"
        world.stop_all()
        totals = world.balance([])
        assert totals["stored"] == 3 * POINTS + 7, totals


@case
def an_agent_is_asked_for_what_only_its_memory_has(options):
    with options.world("agent-asked") as world:
        world.start_gateway()
        agent = world.make_agent("press-7", series=50, interval_ms=100, seal_ms=600_000)
        world.enrol(agent)
        world.start_agent(agent)
        wait_until("the agent being answered", lambda: world.status(agent)["answered"], 30)
        made = "lambda_agent_points_made_total"
        wait_until("points being made", lambda: world.metrics(agent.port)[made] > 50 * 50, 60)
        shell = Shell(world)
        moment = f"{time.time() - 1:.3f}"
        gateway = ("--gateway", f"http://127.0.0.1:{world.gateway_port}")
        expressions = ("lambda_synthetic", 'sum(lambda_synthetic{series=~"1."})', "sum_over_time(lambda_synthetic[1m])",
                       'rate(lambda_synthetic{series="7"}[10s])', "count(count_over_time(lambda_synthetic[5m])) > 0",
                       "no_such_metric")

        def answers(*asked):
            return [shell.json("query", *asked, one, "--time", moment)["data"]["result"] for one in expressions]

        by_gateway = answers(*gateway, "--device", "press-7")
        assert by_gateway == answers("--agent", f"http://127.0.0.1:{agent.port}")
        assert len(by_gateway[0]) == 50 and by_gateway[-1] == [], by_gateway
        counted = world.metrics(agent.port)
        assert counted["lambda_agent_points_packed_total"] == 0, "a parcel came first: nothing was shown"
        assert counted["lambda_questions_answered_total"] >= len(expressions)
        assert counted["lambda_questions_refused_total"] == 0

        # Its last parcel leaves while it stops, and behind that its word that it does.
        agent.stop()
        wait_until("the gateway knowing that it left", lambda: "offline" in shell.good("devices", *gateway), 10)
        wait_until("all of it being stored", lambda: answers(*gateway) == by_gateway, 30)
        shell.refused(FAILED, "press-7 is not connected", "query", *gateway, "--device", "press-7", "lambda_synthetic")
        world.gateway.stop()
        assert world.balance()["dropped"] == 0


if __name__ == "__main__":
    sys.exit(main())
