#!/usr/bin/env python3
"""Points that programs hand in over HTTP: what is answered well is stored, once, whatever is killed meanwhile, and the
clients are those that people have: Prometheus writing on, InfluxDB's library, and a dozen lines of anybody's."""
import gzip
import importlib.util
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

KILLS = 5


def ask(port, path, body=None, headers=None, seconds=10):
    """Status and text."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def query(port, expression):
    status, text = ask(port, "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
    assert status == 200, (expression, status, text)
    return json.loads(text)["data"]["result"]


def samples(port, selector):
    """{client: {value: how often}} of the last ten minutes."""
    found = {}
    for series in query(port, f"{selector}[10m]"):
        values = found.setdefault(series["metric"].get("client"), {})
        for _, value in series["values"]:
            values[float(value)] = values.get(float(value), 0) + 1
    return found


class Pusher(threading.Thread):
    """Sends its next point until it is told that it is stored: at least once, as any careful client."""

    def __init__(self, port, name):
        super().__init__(daemon=True)
        self.port, self.name_, self.acked, self.stopped, self.failures = port, name, [], False, 0

    def run(self):
        value = 0
        while not self.stopped:
            value += 1
            line = {"name": "pushed", "labels": {"client": self.name_}, "t": int(time.time() * 1000), "value": value}
            body = (json.dumps(line) + "\n").encode()
            while not self.stopped:
                try:
                    status, text = ask(self.port, "/api/v1/push", body, seconds=5)
                except (OSError, ValueError):
                    status, text = 0, ""
                if status == 200:
                    assert json.loads(text)["accepted"] == 1, text
                    self.acked.append(value)
                    break
                # After a start the agent does not know what it took before: the same point may be taken again, as
                # another one of the same time. So a client that was not answered goes on with a new one.
                self.failures += 1
                if status == 0:
                    break
                time.sleep(0.05)
            time.sleep(0.01)


def plain_agent(world, name="press-7", extra=""):
    return world.make_agent(name, sources="".join(
        f"[sources.{source}]\nenabled = false\n"
        for source in ("cpu", "memory", "load", "disk", "filesystem", "network", "self")), extra=extra)


@case
def what_is_answered_is_stored_once_whatever_is_killed(options):
    with options.world("doors") as world:
        world.start_gateway()
        agent = plain_agent(world)
        world.enrol(agent)
        world.start_agent(agent)
        pushers = [Pusher(agent.port, f"c{number}") for number in range(4)]
        for pusher in pushers:
            pusher.start()
        for round_ in range(KILLS):
            time.sleep(1 + options.random.random())
            victim = options.random.choice([agent, world.gateway]) if round_ else agent
            victim.kill()
            victim.start()
            if victim is agent:
                wait_until("the agent being back", lambda: ask(agent.port, "/readyz")[0] == 200, 20)
            else:
                wait_until("the gateway being back", world.gateway_ready, 60)
        time.sleep(1)
        for pusher in pushers:
            pusher.stopped = True
        for pusher in pushers:
            pusher.join(20)
        assert all(pusher.failures > 0 for pusher in pushers), "no client saw a kill"
        wait_until("everything being stored", lambda: world.status(agent)["buffered"] == 0, 60)
        stored = samples(world.gateway_port, "pushed")
        for pusher in pushers:
            of = stored.get(pusher.name_, {})
            assert len(pusher.acked) > 20, f"{pusher.name_} was answered {len(pusher.acked)} times only"
            missing = [value for value in pusher.acked if value not in of]
            assert not missing, f"{pusher.name_}: answered, and not stored: {missing[:5]}"
            twice = [value for value, count in of.items() if count > 1]
            assert not twice, f"{pusher.name_}: stored twice: {twice[:5]}"
        agent.stop()
        world.gateway.stop()
        totals = world.balance()
        assert totals["stored"] >= sum(len(pusher.acked) for pusher in pushers) and totals["dropped"] == 0, totals


@case
def prometheus_writes_here(options):
    program = shutil.which("prometheus")
    if program is None:
        raise Skip("prometheus is not installed, so nothing writes as it does")
    with options.world("remote-write") as world:
        agent = plain_agent(world)
        world.start_agent(agent)
        port = worlds.free_port()
        config = world.folder / "prometheus.yml"
        config.write_text(f"""\
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: itself
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
remote_write:
  - url: http://127.0.0.1:{agent.port}/api/v1/write
    queue_config: {{batch_send_deadline: 1s}}
""")
        prometheus = worlds.Program("prometheus", [
            program, f"--config.file={config}", f"--storage.tsdb.path={world.folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}"], world.folder)
        world.programs.append(prometheus)
        prometheus.start()
        wait_until("its points being here", lambda: len(query(agent.port, 'up{job="itself"}')) == 1, 60)
        wait_until("five of them", lambda: len(query(agent.port, 'up{job="itself"}[1m]')[0]["values"]) >= 5, 60)
        # What both say of the same moments is the same.
        names = ("up", "go_goroutines", "prometheus_tsdb_head_samples_appended_total", "process_resident_memory_bytes")
        for name in names:
            theirs = {float(t): v for t, v in query(port, f'{name}{{job="itself"}}[1m]')[0]["values"]}
            ours = {float(t): v for t, v in query(agent.port, f'{name}{{job="itself"}}[1m]')[0]["values"]}
            both = set(theirs) & set(ours)
            assert len(both) >= 4, (name, theirs, ours)
            differ = [(t, theirs[t], ours[t]) for t in both if float(theirs[t]) != float(ours[t])]
            assert not differ, (name, differ)
        prometheus.stop()
        failed = [line for line in prometheus.log.read_text().splitlines() if "non-recoverable" in line]
        assert not failed, failed[:3]
        agent.stop()


@case
def influxdbs_library_writes_here(options):
    if "influxdb" not in sys.modules and not importlib.util.find_spec("influxdb"):
        sys.path.append("/usr/lib/python3/dist-packages")   # Debian's, for another Python than Debian's
    try:
        import influxdb
    except ImportError as error:
        raise Skip(f"python3-influxdb cannot be used here ({error}), so nothing writes as it does") from None
    with options.world("influx") as world:
        agent = plain_agent(world)
        world.start_agent(agent)
        client = influxdb.InfluxDBClient("127.0.0.1", agent.port, database="any", gzip=True)
        assert client.ping() is not None
        now = int(time.time() * 1000)
        for number in range(3):
            assert client.write_points([
                {"measurement": "machine.state", "tags": {"hall": "two, left", "line": "a=b"}, "time": now + number,
                 "fields": {"pressure": 2.5 + number, "count": 7 + number, "on": True}}], time_precision="ms")
        try:
            client.write_points([{"measurement": "machine.state", "tags": {}, "time": now, "fields": {"note": "text"}}],
                                time_precision="ms")
            raise AssertionError("a text was taken for a number")
        except influxdb.exceptions.InfluxDBClientError as error:
            assert error.code == 400 and "is a text" in str(error), error
        found = {series["metric"]["__name__"]: [float(value) for _, value in series["values"]]
                 for series in query(agent.port, '{hall="two, left",line="a=b"}[1m]')}
        assert found == {"machine_state_pressure": [2.5, 3.5, 4.5], "machine_state_count": [7, 8, 9],
                         "machine_state_on": [1, 1, 1]}, found
        agent.stop()


@case
def garbage_at_every_door_hurts_nobody_else(options):
    with options.world("garbage") as world:
        agent = plain_agent(world, extra="[doors]\npoints_waiting_max = 1000\n")
        world.start_agent(agent)
        good = Pusher(agent.port, "good")
        good.start()
        paths = ("/api/v1/push", "/api/v1/write", "/api/v2/write", "/write")
        refused = 0
        for round_ in range(150):
            path = options.random.choice(paths)
            body = options.random.randbytes(options.random.randrange(1, 3_000))
            headers = {"Content-Encoding": "gzip"} if round_ % 3 == 0 else {}
            if round_ % 6 == 0:
                body = gzip.compress(body)
            status, _ = ask(agent.port, path, body, headers)
            assert 400 <= status < 500, (path, status)
            refused += 1
        status, text = ask(agent.port, "/api/v1/push", b"\n".join(
            json.dumps({"name": f"flood_{number}", "value": 1}).encode() for number in range(2_000)))
        assert status == 429, (status, text)   # more than may wait: not one of them
        assert not query(agent.port, '{__name__=~"flood_.*"}')
        status, _ = ask(agent.port, "/api/v1/push", gzip.compress(b"a" * (64 << 20)), {"Content-Encoding": "gzip"})
        assert status == 413, status
        good.stopped = True
        good.join(20)
        assert good.failures == 0 and len(good.acked) > 20, (good.failures, len(good.acked))
        stored = samples(agent.port, "pushed")["good"]
        differ = sorted(set(good.acked) ^ set(stored))
        assert not differ, f"the good client's points: {len(differ)} of {len(good.acked)} are not as they were acked"
        counted = world.metrics(agent.port)
        assert counted["lambda_agent_door_requests_refused_total"] >= refused, counted
        agent.stop()


if __name__ == "__main__":
    sys.exit(main())
