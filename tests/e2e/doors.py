#!/usr/bin/env python3
"""Points that programs hand in over HTTP: what is answered well is stored, once, whatever is killed meanwhile, and the
clients are those that people have: Prometheus writing on, InfluxDB's library, and a dozen lines of anybody's."""
import gzip
import http.client
import importlib.util
import json
import pathlib
import shutil
import socket
import struct
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


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def remote_write(labels, time_ms, value):
    """A WriteRequest of one sample, packed by snappy's rules without finding anything to shorten."""
    series = b"".join(field(1, field(1, name.encode()) + field(2, text.encode())) for name, text in labels)
    message = field(1, series + field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(time_ms)))
    assert len(message) <= 256
    return varint(len(message)) + bytes([60 << 2, len(message) - 1]) + message


class Pusher(threading.Thread):
    """Sends its next point until it is told that it is stored: at least once, as any careful client."""

    def __init__(self, port, name, door="push"):
        super().__init__(daemon=True)
        self.port, self.name_, self.acked, self.stopped, self.failures = port, name, [], False, 0
        self.door = door

    def request(self, value):
        """Path, body and headers of one point."""
        now = int(time.time() * 1000)
        if self.door == "push":
            line = {"name": "pushed", "labels": {"client": self.name_}, "t": now, "value": value}
            return "/api/v1/push", (json.dumps(line) + "\n").encode(), {}
        if self.door == "line protocol":
            return "/api/v2/write?precision=ms", f"pushed,client={self.name_} value={value} {now}\n".encode(), {}
        labels = (("__name__", "pushed"), ("client", self.name_))
        return "/api/v1/write", remote_write(labels, now, value), {"Content-Encoding": "snappy"}

    def run(self):
        value = 0
        while not self.stopped:
            value += 1
            path, body, headers = self.request(value)
            while not self.stopped:
                try:
                    status, text = ask(self.port, path, body, headers, seconds=5)
                except (OSError, ValueError, http.client.HTTPException):
                    status, text = 0, ""
                if status in (200, 204):
                    assert status == 204 or json.loads(text)["accepted"] == 1, text
                    self.acked.append(value)
                    break
                self.failures += 1   # the same again, byte for byte, until there is an answer
                time.sleep(0.05)
            time.sleep(0.01)


def missing_of(world, pushers):
    """What was answered well and cannot be asked for at the gateway."""
    stored = samples(world.gateway_port, "pushed")
    return [(pusher.name_, value) for pusher in pushers for value in pusher.acked
            if value not in stored.get(pusher.name_, {})]


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
        # The last parcel may be acked a moment before its points can be asked for.
        wait_until("all that was answered well being there", lambda: not missing_of(world, pushers), 60)
        stored = samples(world.gateway_port, "pushed")
        for pusher in pushers:
            of = stored.get(pusher.name_, {})
            assert len(pusher.acked) > 20, f"{pusher.name_} was answered {len(pusher.acked)} times only"
            twice = [value for value, count in of.items() if count > 1]
            assert not twice, f"{pusher.name_}: stored twice: {twice[:5]}"
        agent.stop()
        world.gateway.stop()
        totals = world.balance()
        assert totals["stored"] >= sum(len(pusher.acked) for pusher in pushers) and totals["dropped"] == 0, totals


@case
def a_batch_whose_answer_was_lost_is_not_made_again(options):
    with options.world("again") as world:
        agent = plain_agent(world)
        world.start_agent(agent)

        def counted(name):
            text = ask(agent.port, "/metrics")[1]
            return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

        now = int(time.time() * 1000)
        lines = "".join(json.dumps({"name": "pushed", "t": now + number, "value": number}) + "\n" for number in range(5))
        influx = "".join(f"line value={number} {now + number}\n" for number in range(5))
        labels = (("__name__", "written"),)
        requests = [("/api/v1/push", lines.encode(), 200), ("/api/v2/write?precision=ms", influx.encode(), 204),
                    ("/api/v1/write", remote_write(labels, now, 1), 204), ("/api/v1/write", remote_write(labels, now + 1, 2), 204)]
        for round_ in ("first", "again", "killed", "stopped"):
            if round_ == "killed":
                agent.kill()
            elif round_ == "stopped":
                agent.stop()
            if round_ in ("killed", "stopped"):
                agent.start()
                wait_until("the agent being back", lambda: ask(agent.port, "/readyz")[0] == 200, 20)
            for path, body, good in requests:
                status, text = ask(agent.port, path, body)
                assert status == good, (round_, path, status, text)
                assert good == 204 or json.loads(text)["accepted"] == 5, (round_, text)
            made = counted('lambda_agent_door_points_total{result="made"}')
            again = counted("lambda_agent_door_requests_again_total")
            assert made == (12 if round_ in ("first", "again") else 0), (round_, made)
            assert again == (0 if round_ == "first" else 4), (round_, again)
        agent.stop()


class StatsdSender(threading.Thread):
    """Counters and timers over UDP; nobody answers, so nothing is known of them but that they balance."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.stopped = port, False

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not self.stopped:
                for number in range(20):
                    line = f"orders.{number % 5}:1|c|#hall:{number % 3}\nrequest.time:{number}|ms"
                    try:
                        sender.sendto(line.encode(), ("127.0.0.1", self.port))
                    except OSError:
                        pass   # the agent is away just now
                time.sleep(0.01)


def start_prometheus(world, agent, targets, name="prometheus"):
    """Prometheus itself, scraping `targets` (job -> port) each second and writing on into the agent."""
    program = shutil.which("prometheus")
    if program is None:
        raise Skip("prometheus is not installed, so nothing writes as it does")
    port = worlds.free_port()
    config = world.folder / f"{name}.yml"
    jobs = "".join(f'  - job_name: {job}\n    static_configs: [{{targets: ["127.0.0.1:{target or port}"]}}]\n'
                   for job, target in targets.items())
    config.write_text(f"""\
global: {{scrape_interval: 1s}}
scrape_configs:
{jobs}remote_write:
  - url: http://127.0.0.1:{agent.port}/api/v1/write
    queue_config: {{batch_send_deadline: 1s}}
    metadata_config: {{send_interval: 2s}}
""")
    prometheus = worlds.Program(name, [program, f"--config.file={config}", f"--storage.tsdb.path={world.folder}/{name}",
                                       f"--web.listen-address=127.0.0.1:{port}"], world.folder)
    world.programs.append(prometheus)
    prometheus.start()
    return prometheus, port


@case
def with_every_door_open_the_balance_holds(options):
    """Collectors, StatsD, push, remote-write (of Prometheus, too, where it is installed) and line protocol into one
    agent, which is killed now and then, as is its gateway."""
    with options.world("every-door") as world:
        world.start_gateway()
        statsd_port = worlds.free_port()
        agent = world.make_agent("press-7", sources="[sources.cpu]\ninterval_ms = 500\n",
                                 extra=f"[statsd]\nenabled = true\nport = {statsd_port}\ninterval_ms = 300\n")
        world.enrol(agent)
        world.start_agent(agent)
        senders = [StatsdSender(statsd_port)]
        pushers = [Pusher(agent.port, f"c{number}-{door.split()[0]}", door)
                   for number in range(2) for door in ("push", "line protocol", "remote-write")]
        prometheus = None
        try:
            prometheus, _ = start_prometheus(world, agent, {"itself": None})
        except Skip as reason:
            print(f"   without one client: {reason}", flush=True)
        for each in senders + pushers:
            each.start()
        for round_ in range(4):
            time.sleep(1.5 + options.random.random())
            victim = world.gateway if round_ == 2 else agent
            victim.kill()
            victim.start()
            if victim is agent:
                wait_until("the agent being back", lambda: ask(agent.port, "/readyz")[0] == 200, 30)
            else:
                wait_until("the gateway being back", world.gateway_ready, 60)
        if prometheus is not None:   # it was told nothing well that was not kept, and comes again with what was not
            wait_until("prometheus writing again", lambda: len(query(agent.port, 'up{job="itself"}')) == 1, 60)
        time.sleep(2)
        for each in senders + pushers:
            each.stopped = True
        for each in senders + pushers:
            each.join(20)
        assert all(pusher.failures > 0 for pusher in pushers), "no client saw a kill"

        wait_until("all that was answered well being stored", lambda: not missing_of(world, pushers), 60)
        for name, values in samples(world.gateway_port, "pushed").items():
            twice = [value for value, count in values.items() if count > 1]
            assert not twice, f"{name}: stored twice: {twice[:5]}"
        for selector in ("orders_0_total", "request_time_count", "node_cpu_seconds_total",
                         *(["prometheus_build_info"] if prometheus else [])):
            assert query(world.gateway_port, selector + "[10m]"), f"nothing of {selector}"
        if prometheus is not None:
            prometheus.stop()
            failed = [line for line in prometheus.log.read_text().splitlines() if "non-recoverable" in line]
            assert not failed, failed[:3]
        agent.stop()
        world.gateway.stop()
        totals = world.balance()
        acked = sum(len(pusher.acked) for pusher in pushers)
        assert totals["stored"] >= acked > 200 and totals["dropped"] == 0, (acked, totals)


PROM_CLIENT = pathlib.Path(__file__).resolve().parents[2] / "third_party" / "npm" / "node_modules" / "prom-client"


@case
def what_prom_client_counts_arrives_by_way_of_prometheus(options):
    node = shutil.which("node")
    if node is None or not PROM_CLIENT.exists():
        raise Skip("node, or the npm package prom-client that ./dev setup fetches with npm, is not here")
    with options.world("prom-client") as world:
        agent = plain_agent(world)
        world.start_agent(agent)
        port = worlds.free_port()
        application = worlds.Program("application", [
            node, pathlib.Path(__file__).with_name("prom_client_server.js"), PROM_CLIENT, port], world.folder)
        world.programs.append(application)
        application.start()
        start_prometheus(world, agent, {"shop": port})
        wait_until("its points being here", lambda: len(query(agent.port, 'orders_total{job="shop"}')) == 2, 60)

        def value(expression):
            found = query(agent.port, expression)
            assert len(found) == 1, (expression, found)
            return float(found[0]["value"][1])
        assert value('orders_total{region="east"}') == 7 and value('orders_total{region="west"}') == 2.5
        assert value("queue_depth") == -3
        assert value("request_seconds_count") == 100 and abs(value("request_seconds_sum") - 50.5) < 1e-9
        assert value('request_seconds_bucket{le="0.5"}') == 50 and value('request_seconds_bucket{le="+Inf"}') == 100
        assert value("payload_bytes{quantile=\"0.5\"}") > 0
        application.stop()
        agent.stop()


@case
def prometheus_writes_here(options):
    with options.world("remote-write") as world:
        agent = plain_agent(world)
        world.start_agent(agent)
        prometheus, port = start_prometheus(world, agent, {"itself": None})
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

        def said(metric):
            return json.loads(ask(agent.port, "/api/v1/metadata?metric=" + metric)[1])["data"].get(metric, [{}])[0]
        wait_until("what it says of its metrics", lambda: said("go_goroutines").get("type") == "gauge", 60)
        assert "goroutines" in said("go_goroutines")["help"], said("go_goroutines")
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
            # No form begins so. Left to chance, it may be a '#', and a comment is nothing to refuse.
            body = b"\xfe" + options.random.randbytes(options.random.randrange(3_000))
            headers = {"Content-Encoding": "gzip"} if round_ % 3 == 0 else {}
            if round_ % 6 == 0:
                body = gzip.compress(body)
            status, _ = ask(agent.port, path, body, headers)
            assert 400 <= status < 500, (path, status)
            refused += 1
        status, text = ask(agent.port, "/api/v1/push", b"\n".join(
            json.dumps({"name": f"flood_{number}", "value": 1}).encode() for number in range(2_000)))
        assert status == 413, (status, text)   # more than may ever wait: not one of them
        assert not query(agent.port, '{__name__=~"flood_.*"}')
        status, _ = ask(agent.port, "/api/v1/push", gzip.compress(b"a" * (64 << 20)), {"Content-Encoding": "gzip"})
        assert status == 413, status
        wait_until("more points of the good client", lambda: len(good.acked) > 20, 60)
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
