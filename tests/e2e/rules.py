#!/usr/bin/env python3
"""Rules on the gateway with real processes: points handed to an agent over HTTP, alerts at a webhook, at Debian's
Alertmanager and on MQTT; a receiver that is away, a gateway that is killed, rules that are changed under load."""
import http.server
import json
import pathlib
import shutil
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from harness import Skip, case, main, wait_until, worlds  # noqa: E402

STREAM = "CREATE STREAM heat (dev TEXT, machine TEXT, value DOUBLE);\n"
KILLS = 6


class Receiver:
    """A webhook: keeps the JSON it gets. Away: nobody listens."""

    def __init__(self):
        self.port, self.got, self.server = worlds.free_port(), [], None

    def start(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/alerts"

    def kinds(self, machine):
        """What it was told of one machine, each id once, in the order in which they came first."""
        seen, kinds = set(), []
        for event in self.got:
            if event["labels"].get("machine") == machine and event["id"] not in seen and "reminder" not in event:
                seen.add(event["id"])
                kinds.append(event["kind"])
        return kinds


def call(port, method, path, body=None):
    """Status and text."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": "text/plain"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def alerts(world):
    status, text = call(world.gateway_port, "GET", "/api/v1/alerts")
    assert status == 200, text
    return json.loads(text)["data"]["alerts"]


def hot(url, more=""):
    return (STREAM + "CREATE RULE hot AS SELECT dev, machine, value FROM heat PARTITION BY dev, machine\n"
            f"  ALERT ON value > 90 CLEAR value < 80 DO log(), webhook('{url}'){more};\n")


def begin(world, rules, extra="", seal_ms=250, mkdir=True, **gateway):
    """A gateway with these rules and an agent that sends only what is handed to it."""
    folder = world.gateway_store / "rules"
    if mkdir:
        folder.mkdir(parents=True)
    for name, text in rules.items():
        (folder / name).write_text(text)
    world.start_gateway(extra=f"[rules]\nsnapshot_interval_ms = 500\nretry_ms_max = 1000\n{extra}", **gateway)
    agent = world.make_agent("press-7", seal_ms=seal_ms, sources="".join(
        f"[sources.{source}]\nenabled = false\n"
        for source in ("cpu", "memory", "load", "disk", "filesystem", "network", "self")))
    wait_until("the rules running", lambda: world.metrics()["lambda_rules_loaded"] > 0, 20)
    world.enrol(agent)
    world.start_agent(agent)
    return agent


def push(agent, machine, value):
    """Hands a point in until the agent has it."""
    line = json.dumps({"name": "heat", "labels": {"machine": machine}, "value": value}).encode()

    def pushed():
        status, text = call(agent.port, "POST", "/api/v1/push", line)
        return status == 200 and json.loads(text)["accepted"] == 1

    wait_until(f"{machine} {value} being taken", pushed, 20)


def firing(world):
    return sorted(alert["labels"]["machine"] for alert in alerts(world) if alert["state"] == "firing")


@case
def a_webhook_that_is_away_gets_everything_when_it_is_back(options):
    receiver = Receiver()
    with options.world("rules-away") as world:
        agent = begin(world, {"hot.sql": hot(receiver.url)})
        push(agent, "a", 95)
        wait_until("the alert firing", lambda: firing(world) == ["a"], 20)
        push(agent, "a", 70)
        wait_until("the alert being over", lambda: firing(world) == [], 20)
        push(agent, "b", 99)
        wait_until("the other alert firing", lambda: firing(world) == ["b"], 20)
        wait_until("attempts that failed", lambda: world.metrics()["lambda_rules_delivery_failures_total"] > 0, 20)
        world.gateway.kill()
        world.gateway.start()
        wait_until("the gateway being back", world.gateway_ready, 60)
        receiver.start()
        wait_until("everything being told", lambda: len({event["id"] for event in receiver.got}) >= 3, 60)
        assert receiver.kinds("a") == ["firing", "resolved"], receiver.got
        assert receiver.kinds("b") == ["firing"], receiver.got
        assert [event["alert"] for event in receiver.got if event["labels"]["machine"] == "a"][0] == \
            [event["alert"] for event in receiver.got if event["labels"]["machine"] == "a"][-1]
        wait_until("nothing waiting", lambda: world.metrics()["lambda_rules_deliveries_waiting"] == 0, 20)
        world.stop_all()
    receiver.stop()


@case
def a_gateway_that_is_killed_while_an_alert_fires_neither_loses_nor_repeats_it(options):
    receiver = Receiver()
    receiver.start()
    with options.world("rules-kill") as world:
        agent = begin(world, {"hot.sql": hot(receiver.url)})
        expected = {}
        for round_ in range(KILLS):
            machine = f"m{round_}"
            push(agent, machine, 95)
            # Anywhere between the point's arrival and long after the state was saved.
            time.sleep(options.random.random() * 1.2)
            world.gateway.kill()
            if round_ % 2:
                push(agent, machine, 70)
            world.gateway.start()
            wait_until("the gateway being back", world.gateway_ready, 60)
            expected[machine] = ["firing", "resolved"] if round_ % 2 else ["firing"]
        for machine, kinds in expected.items():
            wait_until(f"{machine} being told", lambda m=machine, k=kinds: receiver.kinds(m) == k, 40)
        wait_until("the right ones firing",
                   lambda: firing(world) == sorted(m for m, kinds in expected.items() if len(kinds) == 1), 20)
        time.sleep(2)  # what would come twice has had its time
        for machine, kinds in expected.items():
            assert receiver.kinds(machine) == kinds, (machine, receiver.got)
        world.stop_all()
    receiver.stop()


@case
def an_alert_does_not_wait_for_blocks_and_is_told_once_when_they_come(options):
    """Blocks are sealed after a minute; alerts come by the live lane, over a kill too, and the blocks bring the same
    points again."""
    receiver = Receiver()
    receiver.start()
    with options.world("rules-live") as world:
        agent = begin(world, {"hot.sql": hot(receiver.url)}, seal_ms=60_000)
        machines, waited = [f"m{number}" for number in range(8)], []
        for machine in machines:
            pushed = time.monotonic()
            push(agent, machine, 95)
            wait_until(f"{machine} being told", lambda m=machine: receiver.kinds(m) == ["firing"], 40, step=0.02)
            waited.append(time.monotonic() - pushed)
        first, *others = waited
        print(f"   told {sorted(others)[len(others) // 2]:.2f} s after the point in half of {len(others)} alerts, "
              f"{max(others):.2f} s at most; the first one {first:.2f} s", flush=True)
        for machine in machines[:4]:
            push(agent, machine, 70)
        assert world.metrics(agent.port)["lambda_agent_points_packed_total"] == 0, "a parcel came first: nothing was shown"
        world.gateway.kill()
        for machine in machines[4:6]:
            push(agent, machine, 70)
        world.gateway.start()
        wait_until("the gateway being back", world.gateway_ready, 60)
        expected = {machine: ["firing", "resolved"] if number < 6 else ["firing"] for number, machine in enumerate(machines)}
        for machine, kinds in expected.items():
            wait_until(f"{machine} being told", lambda m=machine, k=kinds: receiver.kinds(m) == k, 40)
        # One that was not answered since it came back keeps its blocks when it ends.
        wait_until("the agent being answered", lambda: world.status(agent)["answered"], 30)
        agent.stop()  # what it has goes out as blocks
        wait_until("the blocks being read", lambda: world.metrics()["lambda_rules_blocks_decoded_total"] >= len(machines) and
                   world.metrics()["lambda_rules_behind_bytes"] == 0, 60)
        wait_until("nothing waiting", lambda: world.metrics()["lambda_rules_deliveries_waiting"] == 0, 20)
        for machine, kinds in expected.items():
            assert receiver.kinds(machine) == kinds, (machine, receiver.got)
        assert firing(world) == machines[6:]
        world.stop_all()
    receiver.stop()


@case
def rules_are_changed_under_load_without_a_lost_or_doubled_alert(options):
    receiver = Receiver()
    receiver.start()
    with options.world("rules-change") as world:
        agent = begin(world, {"hot.sql": hot(receiver.url)})
        lam = [world.binaries / "lambda", "rules"]
        at = ["--gateway", f"http://127.0.0.1:{world.gateway_port}"]
        machines = [f"m{number}" for number in range(8)]
        stopped = threading.Event()

        def load():
            while not stopped.is_set():
                push(agent, "steady", 50)
                time.sleep(0.01)

        loader = threading.Thread(target=load, daemon=True)
        loader.start()
        changed = world.folder / "hot.sql"
        for number, machine in enumerate(machines):
            push(agent, machine, 95)
            changed.write_text(hot(receiver.url).replace("> 90", f"> {90 + number % 3}"))
            world.call(*lam, "replace", changed, *at)
        wait_until("all firing", lambda: firing(world) == machines, 30)
        changed.write_text(hot(receiver.url).replace("FROM heat", "FROM haet"))
        done = world.call(*lam, "replace", changed, *at, code=2)
        assert "hot.sql:2:" in done.stderr and 'did you mean "heat"?' in done.stderr, done.stderr
        assert firing(world) == machines, "a wrong file changed something"
        for machine in machines:
            push(agent, machine, 70)
        wait_until("all over", lambda: firing(world) == [], 30)
        for machine in machines:
            wait_until(f"{machine} being told", lambda m=machine: receiver.kinds(m) == ["firing", "resolved"], 20)
        stopped.set()
        loader.join(10)
        # Another file, listed, shown and removed again.
        other = world.folder / "other.sql"
        other.write_text(STREAM + "CREATE RULE warm AS SELECT dev, machine FROM heat WHERE value > 60 DO mqtt('warm');\n")
        world.call(*lam, "add", other, *at)
        world.call(*lam, "add", other, *at, code=1)
        listed = json.loads(world.call(*lam, "list", *at, "--json").stdout)
        assert [file["file"] for file in listed["files"]] == ["hot.sql", "other.sql"], listed
        assert world.call(*lam, "show", "other", *at).stdout == other.read_text()
        world.call(*lam, "remove", "other", *at)
        assert call(world.gateway_port, "GET", "/api/v1/lambda/rules/other.sql")[0] == 404
        assert not (world.gateway_store / "rules" / "other.sql").exists()
        # The same rules over what is stored: by the gateway, and out of its store once it has ended. Nobody is told.
        replayed = world.folder / "replayed.sql"
        replayed.write_text(hot(receiver.url))
        replay = [world.binaries / "lambda", "cep", "replay", "--rules", replayed, "--from", "now-1h"]
        wait_until("all points being stored", lambda: world.metrics()["lambda_live_points"] == 0, 30)
        told, before = len(receiver.got), world.metrics()["lambda_rules_alerts_fired_total"]
        said = [json.loads(line) for line in world.call(*replay, *at).stdout.splitlines()]
        for machine in machines:
            assert [(one["kind"], one["late"]) for one in said if one["fields"]["machine"] == machine] == \
                [("firing", True), ("resolved", True)], said
        assert world.metrics()["lambda_rules_alerts_fired_total"] == before
        world.stop_all()
        assert [json.loads(line) for line in world.call(*replay, "--store", world.gateway_store).stdout.splitlines()] == said
        assert len(receiver.got) == told, receiver.got[told:]
    receiver.stop()


@case
def debians_alertmanager_shows_what_fires_and_that_it_is_over(options):
    program = shutil.which("prometheus-alertmanager")
    if program is None:
        raise Skip("there is no prometheus-alertmanager")
    with options.world("rules-alertmanager") as world:
        port = worlds.free_port()
        config = world.folder / "alertmanager.yml"
        config.write_text("route:\n  receiver: nobody\nreceivers:\n- name: nobody\n")
        manager = worlds.Program("alertmanager", [
            program, f"--config.file={config}", f"--storage.path={world.folder}/alertmanager",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="], world.folder)
        world.programs.append(manager)
        agent = begin(world, {"hot.sql": hot("http://127.0.0.1:9/none").replace("log(), ", "")},
                      f'alertmanagers = ["http://127.0.0.1:{port}"]\n')
        push(agent, "a", 95)
        wait_until("the alert firing", lambda: firing(world) == ["a"], 20)
        manager.start()

        def shown():
            status, text = call(port, "GET", "/api/v2/alerts")
            assert status == 200, text
            return [alert for alert in json.loads(text) if alert["labels"]["alertname"] == "hot"]

        [alert] = wait_until("the Alertmanager knowing it", shown, 60)
        assert alert["labels"] == {"alertname": "hot", "site": world.site, "dev": "press-7", "machine": "a"}, alert
        assert alert["annotations"]["value"] == "95", alert
        assert alert["status"]["state"] == "active", alert
        push(agent, "a", 70)
        wait_until("the Alertmanager knowing that it is over", lambda: not shown(), 60)
        manager.kill()
        world.stop_all()


if __name__ == "__main__":
    sys.exit(main())
