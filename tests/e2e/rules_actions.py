#!/usr/bin/env python3
"""What rules do, with real processes: programs that work, hang, fail and come in a flood; Debian's mosquitto_sub as the
reader of alerts, with a certificate of its own; agents that send more for a while; a folder of everything that is wrong."""
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from harness import CASES, Device, Skip, case, main, wait_until, worlds  # noqa: E402
from existing_broker import owners_broker  # noqa: E402
from rules import STREAM, begin, firing, push  # noqa: E402

CASES.clear()   # those of the other files are run there
KILLS = 6
MANY_FILES = 10_000


def rule(actions, name="hot"):
    return (STREAM + f"CREATE RULE {name} AS SELECT dev, machine, value FROM heat PARTITION BY dev, machine\n"
            f"  ALERT ON value > 90 CLEAR value < 80 DO log(), {actions};\n")


def program(world, name, text):
    """A shell script; what it writes goes into world.folder/out."""
    (world.folder / "out").mkdir(exist_ok=True)
    path = world.folder / name
    path.write_text(f"#!/bin/sh\nout='{world.folder}/out'\n{text}")
    path.chmod(0o755)
    return path


def allowed(*programs, more=""):
    return f"exec = true\nexec_programs = {json.dumps([str(path) for path in programs])}\n{more}"


def children(world):
    """(pid, state, name) of the gateway's, but for its broker."""
    lines = subprocess.run(["ps", "-o", "pid=,stat=,comm=", "--ppid", str(world.gateway.pid)], capture_output=True,
                           text=True, timeout=10).stdout.splitlines()
    return [line.split(None, 2) for line in lines if "mosquitto" not in line]


def written(world, pattern):
    return sorted((world.folder / "out").glob(pattern))


def is_gone(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in "ZX"   # an orphan of whoever does not collect it
    except (FileNotFoundError, ProcessLookupError):
        return True


@case
def a_program_gets_the_alert_and_nothing_of_the_gateway(options):
    with options.world("rules-exec") as world:
        note = program(world, "note", """\
printf '%s\\n' "$@" > $out/arguments.$$
tr '\\0' '\\n' < /proc/$$/environ > $out/environment.$$
ls -l /proc/$$/fd > $out/descriptors.$$
pwd > $out/folder.$$
cat > $out/new.$$
mv $out/new.$$ $out/alert.$$
""")
        argument = f"$(touch {world.folder}/shell); 'quoted'"
        quoted = argument.replace("'", "''")
        agent = begin(world, {"hot.sql": rule(f"exec('{note}', '{quoted}', '')")}, allowed(note),
                      environment={"LAMBDA_TEST_SECRET": "a token"})
        push(agent, "a\"b'$(c)", 95)
        [alert] = wait_until("the program having run", lambda: written(world, "alert.*"), 30)
        body = json.loads(alert.read_text())
        assert body["kind"] == "firing" and body["rule"] == "hot" and body["fields"]["value"] == 95, body
        assert body["labels"] == {"dev": "press-7", "machine": "a\"b'$(c)"}, body
        [arguments], [environment], [descriptors], [folder] = (
            written(world, name + ".*") for name in ("arguments", "environment", "descriptors", "folder"))
        assert arguments.read_text() == f"{argument}\n\n", "its own arguments, and nothing else"
        names = {line.partition("=")[0] for line in environment.read_text().splitlines()}
        assert names == {"PATH", "LANG"}, names
        # 0 is its input, 1 and 2 go nowhere; the shell has its script at 10, `>` of this line and ls come from there.
        shown = [line.split()[-3:] for line in descriptors.read_text().splitlines() if "->" in line]
        targets = {number: target for number, _, target in shown}
        assert targets["2"] == "/dev/null", targets
        assert not [target for target in targets.values() if "socket" in target or str(world.gateway_store) in target], targets
        assert folder.read_text() == "/\n"
        assert not (world.folder / "shell").exists(), "a shell read it"
        push(agent, "a\"b'$(c)", 70)
        wait_until("the program having run again", lambda: len(written(world, "alert.*")) == 2, 30)
        assert sorted(json.loads(path.read_text())["kind"] for path in written(world, "alert.*")) == ["firing", "resolved"]
        wait_until("no child being left, nor a zombie", lambda: children(world) == [], 10)
        assert world.metrics()["lambda_rules_programs_started_total"] == 2
        assert world.metrics()["lambda_rules_programs_failed_total"] == 0
        world.stop_all()


@case
def programs_are_off_until_the_configuration_names_them(options):
    with options.world("rules-exec-off") as world:
        off = rule("exec('/bin/true')", "off")
        agent = begin(world, {"hot.sql": rule("mqtt('heat')"), "off.sql": off})
        log = world.gateway.log.read_text()
        assert "off.sql:3:" in log and "exec is off on this gateway" in log, log
        path = world.folder / "more.sql"
        path.write_text(rule("exec('/bin/true')", "more"))
        at = ["--gateway", f"http://127.0.0.1:{world.gateway_port}"]
        done = world.call(world.binaries / "lambda", "rules", "add", path, *at, code=2)
        assert "more.sql:3:" in done.stderr and 'rules.exec_programs = ["/bin/true"]' in done.stderr, done.stderr
        assert not (world.gateway_store / "rules" / "more.sql").exists()
        push(agent, "a", 95)
        wait_until("the other rule running", lambda: firing(world) == ["a"], 20)
        assert world.metrics()["lambda_rules_programs_started_total"] == 0
        world.stop_all()
        world.configure_gateway(extra="[rules]\nexec = true\n")
        done = world.call(world.binaries / "lambda-gateway", "--config", world.folder / "gateway.toml", "--check-config", code=1)
        assert "rules.exec_programs" in done.stderr, done.stderr


@case
def programs_that_hang_fail_or_come_in_a_flood_stay_within_their_bounds(options):
    machines = [f"m{number}" for number in range(12)]
    with options.world("rules-exec-bounds") as world:
        hang = program(world, "hang", "sleep 1000 &\necho $! >> $out/hanging\necho $$ >> $out/hanging\nwait\n")
        broken = program(world, "broken", "exit 3\n")
        slow = program(world, "slow", """\
echo "begin $(date +%s%N) $1" >> $out/runs
cat > $out/body.$1.$$
sleep 0.2
echo "end $(date +%s%N) $1" >> $out/runs
""")
        gone = world.folder / "gone"
        flood = ", ".join(f"exec('{slow}', '{number}')" for number in range(4))
        agent = begin(world, {"hang.sql": rule(f"exec('{hang}')", "stuck"), "broken.sql": rule(f"exec('{broken}')", "bad"),
                              "gone.sql": rule(f"exec('{gone}')", "lost")},
                      allowed(hang, broken, slow, gone, more="exec_ms_max = 700\nexec_count_max = 2\n"))
        push(agent, "a", 95)
        wait_until("the program that hangs being ended",
                   lambda: world.metrics()["lambda_rules_programs_ended_total"] == 1, 30)
        hanging = (world.folder / "out" / "hanging").read_text().split()
        assert len(hanging) == 2
        wait_until("what it had started being ended too", lambda: all(is_gone(pid) for pid in hanging), 10)
        wait_until("the others being counted", lambda: world.metrics()["lambda_rules_programs_failed_total"] == 2, 20)
        log = world.gateway.log.read_text()
        for event in ("program_failed", "program_not_started", "program_ended"):
            assert log.count(f" {event} ") == 1, event
        assert "status=3" in log, log
        wait_until("nothing waiting", lambda: world.metrics()["lambda_rules_deliveries_waiting"] == 0, 20)

        path = world.folder / "flood.sql"
        path.write_text(rule(flood, "flood"))
        for name in ("hang", "broken", "gone"):
            world.call(world.binaries / "lambda", "rules", "remove", name, "--gateway", f"http://127.0.0.1:{world.gateway_port}")
        world.call(world.binaries / "lambda", "rules", "add", path, "--gateway", f"http://127.0.0.1:{world.gateway_port}")
        for machine in machines:
            push(agent, machine, 95)
        wait_until("all of them having run", lambda: len(written(world, "body.*")) == 4 * len(machines) and
                   world.metrics()["lambda_rules_deliveries_waiting"] == 0, 120)
        told = collections.Counter()
        for body in written(world, "body.*"):
            told[json.loads(body.read_text())["id"]] += 1
        assert len(told) == len(machines) and set(told.values()) == {4}, told
        running = most = 0
        for line in sorted((world.folder / "out" / "runs").read_text().splitlines(), key=lambda line: line.split()[1]):
            running += 1 if line.startswith("begin") else -1
            most = max(most, running)
        assert most == 2, f"{most} ran at once"
        wait_until("no child being left, nor a zombie", lambda: children(world) == [], 10)
        world.stop_all()


@case
def a_program_that_dies_with_the_gateway_is_run_again(options):
    with options.world("rules-exec-kill") as world:
        first = program(world, "first", "echo $$ >> $out/pids\ncat > $out/new.$$\nmv $out/new.$$ $out/alert.$$\n"
                                        "[ -e $out/go ] || sleep 1000\n")
        agent = begin(world, {"hot.sql": rule(f"exec('{first}')")}, allowed(first))
        push(agent, "a", 95)
        wait_until("the program running", lambda: written(world, "alert.*"), 30)
        world.gateway.kill()
        [pid] = (world.folder / "out" / "pids").read_text().split()
        wait_until("the program being ended with it", lambda: is_gone(pid), 10)
        (world.folder / "out" / "go").touch()
        world.gateway.start()
        wait_until("the gateway being back", world.gateway_ready, 60)
        wait_until("the program having run again", lambda: len(written(world, "alert.*")) == 2, 30)
        wait_until("nothing waiting", lambda: world.metrics()["lambda_rules_deliveries_waiting"] == 0, 20)
        assert len({json.loads(path.read_text())["id"] for path in written(world, "alert.*")}) == 1
        # And one that is stopped does not wait for it.
        (world.folder / "out" / "go").unlink()
        push(agent, "b", 95)
        wait_until("the next one running", lambda: len(written(world, "alert.*")) == 3, 30)
        world.stop_all()
        assert all(is_gone(pid) for pid in (world.folder / "out" / "pids").read_text().split())


class Subscriber:
    """mosquitto_sub with a session that the broker keeps, and a certificate in the name of an enrolled reader."""

    def __init__(self, world, port, name="scada"):
        program_ = shutil.which("mosquitto_sub")
        if program_ is None:
            raise Skip("there is no mosquitto_sub")
        self.reader = Device(world.folder / name, name)
        world.enrol(self.reader)
        self.port, self.name = port, name
        self.log = world.folder / f"{name}.log"
        self.process = worlds.Program(name, [
            program_, "-h", "localhost", "-p", port, "--cafile", self.reader.ca, "--cert", self.reader.certificate, "--key",
            self.reader.tls_key, "-i", name, "-c", "-q", 1, "-t", f"lambda/v1/{world.site}/alerts/#", "-F", "%q %t %p"],
            world.folder)
        world.programs.append(self.process)

    def got(self):
        found = []
        for line in self.log.read_text().splitlines() if self.log.exists() else []:
            words = line.split(" ", 2)
            if len(words) == 3 and words[2].startswith("{"):
                found.append((words[0], words[1], json.loads(words[2])))
        return found

    def kinds(self, machine):
        """Of one machine, each id once; its alerts' ids."""
        seen, kinds, alerts = set(), [], set()
        for _, _, body in self.got():
            if body["labels"].get("machine") == machine and body["id"] not in seen:
                seen.add(body["id"])
                kinds.append(body["kind"])
                alerts.add(body["alert"])
        return kinds, len(alerts)


@case
def a_reader_with_its_own_certificate_may_read_alerts_and_nothing_else(options):
    with options.world("rules-reader") as world:
        agent = begin(world, {"hot.sql": rule("mqtt('heat')")}, broker='alert_readers = ["scada"]')
        subscriber = Subscriber(world, world.broker_port)
        subscriber.process.start()
        other = Device(world.folder / "mill-2", "mill-2")
        world.enrol(other)
        other.connect(world.broker_port)
        other.mqtt.subscribe(f"lambda/v1/{world.site}/alerts/#")
        machine = 0

        def heard():
            # Until the reader's subscription stands, the broker has nobody to keep an alert for.
            nonlocal machine
            machine += 1
            push(agent, f"m{machine}", 95)
            time.sleep(1)
            return subscriber.got()

        [(qos, topic, body), *_] = wait_until("the reader hearing of an alert", heard, 60)
        assert (qos, topic) == ("1", f"lambda/v1/{world.site}/alerts/heat"), (qos, topic)
        assert body["kind"] == "firing" and body["site"] == world.site and body["fields"]["value"] == 95, body
        # It may not command devices, nor speak for rules.
        reader = subscriber.reader
        reader.site = world.site
        subscriber.process.kill()
        speaker = reader.connect(world.broker_port).mqtt
        speaker.subscribe(f"lambda/v1/{world.site}/alerts/#")
        for topic in (f"lambda/v1/{world.site}/press-7/down", f"lambda/v1/{world.site}/alerts/heat"):
            speaker.publish(topic, b"{}")
        push(agent, "last", 95)
        speaker.pump(20, lambda: any(b'"last"' in payload for _, payload in speaker.messages))
        assert any(b'"last"' in payload for _, payload in speaker.messages)
        assert not any(payload == b"{}" for _, payload in speaker.messages), "it spoke for a rule"
        other.mqtt.pump(1)
        assert not [topic for topic, _ in other.mqtt.messages if "/alerts/" in topic], "a device reads alerts"
        reader.close()
        other.close()
        world.stop_all()


@case
def a_reader_at_the_owners_broker_hears_of_each_alert_once_whatever_is_killed(options):
    with options.world("rules-mqtt-kill") as world:
        port = worlds.free_port()
        url = f"mqtts://localhost:{port}"
        folder = world.gateway_store / "rules"
        folder.mkdir(parents=True)
        (folder / "hot.sql").write_text(rule("mqtt('heat')"))
        world.make_gateway(broker=f'mode = "none"\nurl = "{url}"\n', extra="[rules]\nsnapshot_interval_ms = 500\n")
        world.gateway.start()
        wait_until("the site being made", (world.folder / "site" / "crl.pem").exists, 30)
        broker = owners_broker(world, port)
        with open(world.folder / "owner.acl", "a") as acl:
            acl.write(f"\nuser scada\ntopic read lambda/v1/{world.site}/alerts/#\n")
        with open(world.folder / "owner.conf", "a") as config:
            config.write(f"persistence true\npersistence_location {world.folder}/broker/\n")
        broker.start()
        wait_until("the gateway being ready", world.gateway_ready, 60)
        agent = world.make_agent("press-7", seal_ms=250, urls=[url], sources="".join(
            f"[sources.{source}]\nenabled = false\n"
            for source in ("cpu", "memory", "load", "disk", "filesystem", "network", "self")))
        world.enrol(agent)
        world.start_agent(agent)
        subscriber = Subscriber(world, port)
        subscriber.process.start()
        number = 0

        def heard():
            nonlocal number
            number += 1
            push(agent, f"first{number}", 95)
            time.sleep(1)
            return subscriber.got()

        wait_until("the reader hearing of an alert", heard, 60)
        # The broker is away, and the gateway is killed meanwhile.
        broker.stop()
        push(agent, "a", 95)   # the agent keeps it: the broker is its way too
        for round_ in range(2):
            world.gateway.kill()
            world.gateway.start()
        broker.start()
        wait_until("the gateway being back", world.gateway_ready, 60)
        wait_until("the reader hearing of it", lambda: subscriber.kinds("a") == (["firing"], 1), 60)
        expected = {}
        for round_ in range(KILLS):
            machine = f"m{round_}"
            push(agent, machine, 95)
            # Anywhere between the point's arrival and long after the broker has the alert.
            time.sleep(options.random.random() * 1.2)
            world.gateway.kill()
            if round_ % 2:
                push(agent, machine, 70)
            world.gateway.start()
            wait_until("the gateway being back", world.gateway_ready, 60)
            expected[machine] = ["firing", "resolved"] if round_ % 2 else ["firing"]
            # Before the next point: live, it would overtake those that wait for the gateway in blocks, and they would be late.
            wait_until(f"{machine} being told", lambda m=machine: subscriber.kinds(m) == (expected[m], 1), 60)
        wait_until("nothing waiting", lambda: world.metrics()["lambda_rules_deliveries_waiting"] == 0, 20)
        for machine, kinds in expected.items():
            assert subscriber.kinds(machine) == (kinds, 1), f"{machine}: {subscriber.kinds(machine)}, expected {kinds} once"
        subscriber.process.kill()
        world.stop_all()


@case
def an_alert_asks_an_agent_for_more_and_after_a_while_for_no_more(options):
    detail = "lambda_synthetic"
    with options.world("rules-more") as world:
        folder = world.gateway_store / "rules"
        folder.mkdir(parents=True)
        (folder / "short.sql").write_text(rule(f"live('{{__name__=\"{detail}\"}}', 4s)"))
        (folder / "long.sql").write_text(
            "CREATE STREAM cold (dev TEXT, machine TEXT, value DOUBLE);\n"
            "CREATE RULE cold_one AS SELECT dev, machine, value FROM cold PARTITION BY dev, machine ALERT ON value < 0\n"
            f"  DO live('{{__name__=\"{detail}\"}}', 5m);\n")
        world.start_gateway(extra="[live]\nlease_ms = 2000\nkeep_ms = 4000\n[rules]\nsnapshot_interval_ms = 500\n")
        agent = world.make_agent("press-7", series=10, interval_ms=250, seal_ms=120_000)
        world.enrol(agent)
        world.start_agent(agent)
        wait_until("the rules' own series being asked for", lambda: world.metrics(agent.port)["lambda_live_gateways"] > 0, 60)

        def sent():
            return world.metrics(agent.port)["lambda_live_points_total"]

        def made():
            return world.metrics(agent.port)["lambda_agent_points_made_total"]

        def more_are_made(count):
            least = made() + count
            wait_until("more points being made", lambda: made() > least, 60)

        more_are_made(50)
        assert sent() == 0, "nobody asked for it"
        selectors = world.metrics()["lambda_live_selectors"]
        push(agent, "a", 95)
        wait_until("the alert firing", lambda: firing(world) == ["a"], 30)
        wait_until("its details coming at once", lambda: sent() > 50, 60)
        assert world.metrics()['lambda_live_points_total{result="first"}'] > 0
        wait_until("the while being over", lambda: world.metrics()["lambda_live_selectors"] == selectors, 60)
        before = sent()
        while True:  # the agent hears of it, or its lease ends
            time.sleep(3)
            now = sent()
            if now == before:
                break
            before = now
        more_are_made(100)
        assert sent() == before, "they are still sent"
        assert world.metrics(agent.port)["lambda_agent_points_packed_total"] == 0, "a parcel came: nothing was shown"

        # While the alert of a longer one fires, the gateway is killed: it goes on asking.
        line = json.dumps({"name": "cold", "labels": {"machine": "b"}, "value": -5}).encode()
        worlds.urllib.request.urlopen(f"http://127.0.0.1:{agent.port}/api/v1/push", line, timeout=20).read()
        wait_until("the other alert firing", lambda: "b" in firing(world), 30)
        wait_until("details coming again", lambda: sent() > before + 50, 60)
        wait_until("the alert being saved", lambda: world.metrics()["lambda_rules_snapshots_total"] > 0, 30)
        world.gateway.kill()
        world.gateway.start()
        wait_until("the gateway being back", world.gateway_ready, 60)
        wait_until("the agent hearing of it", lambda: world.metrics()["lambda_live_selectors"] > selectors, 60)
        before = sent()
        wait_until("details coming after the kill", lambda: sent() > before + 100, 60)
        world.stop_all()


@case
def a_folder_of_everything_that_is_wrong_stops_no_rule_that_is_right(options):
    with options.world("rules-hostile") as world:
        folder = world.gateway_store / "rules"
        folder.mkdir(parents=True)
        (folder / "circle.sql").symlink_to("circle.sql")
        (folder / "device.sql").symlink_to("/dev/zero")
        os.mkfifo(folder / "pipe.sql")
        (folder / "folder.sql").mkdir()
        with open(folder / "large.sql", "wb") as large:
            large.truncate(50 << 20)
        (folder / "latin.sql").write_bytes(b"-- caf\xe9\n")
        (folder / "forged\n2026-01-01 error.sql").write_text("")
        (folder / "same.sql").write_text(rule("mqtt('x')"))   # behind hot.sql by name: that one is right
        (folder / "secret.sql").write_text("")
        (folder / "secret.sql").chmod(0)
        for number in range(MANY_FILES):
            (folder / f"z{number:05}.sql").write_text("")
        agent = begin(world, {"hot.sql": rule("mqtt('heat')")}, mkdir=False)
        push(agent, "a", 95)
        wait_until("the rule that is right running", lambda: firing(world) == ["a"], 30)
        done = world.call(world.binaries / "lambda", "rules", "list", "--gateway", f"http://127.0.0.1:{world.gateway_port}")
        for expected in ("circle.sql:1:1: ", "large.sql:1:1: ", "latin.sql:1:1: this line is not UTF-8",
                         "forged\\x0a2026-01-01 error.sql:1:1: no name for a file of rules",
                         "same.sql:2:13: ", "more files than rules.files_max (1000)"):
            assert expected in done.stderr, (expected, done.stderr[:2000])
        assert os.geteuid() == 0 or "secret.sql:1:1: " in done.stderr
        assert [line for line in done.stdout.splitlines() if line.startswith("hot.sql")], done.stdout[:2000]
        world.stop_all()


if __name__ == "__main__":
    sys.exit(main())
