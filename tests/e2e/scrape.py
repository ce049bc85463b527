#!/usr/bin/env python3
"""A real agent reads the metrics of other programs: Debian's node_exporter, a program with the npm package prom-client,
and servers that do everything wrong. What comes out is asked for at the agent's query interface."""
import contextlib
import gzip
import http.server
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))
from harness import Skip, case, main, wait_until  # noqa: E402
from harness import worlds  # noqa: E402

PROM_CLIENT = ROOT / "third_party" / "npm" / "node_modules" / "prom-client"   # ./dev setup puts it there
INTERVAL_MS = 1000
COLLECTORS = ("cpu", "memory", "load", "disk", "filesystem", "network", "pressure", "sockets", "processes", "time",
              "sensors", "cgroup", "self")
MEGABYTE = 1 << 20


class ScrapingAgent:
    """An agent that scrapes and does nothing else. `targets`: name -> (url, further settings)."""

    def __init__(self, world, targets):
        self.world = world
        off = "".join(f"[sources.{source}]\nenabled = false\n" for source in COLLECTORS)
        extra = "".join(f'[[scrape]]\nname = "{name}"\nurl = "{url}"\ninterval_ms = {INTERVAL_MS}\n{settings}\n'
                        for name, (url, settings) in targets.items())
        self.agent = world.make_agent("shop-1", sources=off, urls=[], extra=extra)
        world.start_agent(self.agent)

    def values(self, expression):
        """Labels without the device's own and the target's name -> value."""
        found = {}
        for series in self.world.query(expression, self.agent.port):
            labels = {k: v for k, v in series["metric"].items() if k not in ("__name__", "instance", "site", "job")}
            found[tuple(sorted(labels.items()))] = float(series["value"][1])
        return found

    def value(self, expression):
        found = self.values(expression)
        assert len(found) <= 1, f"{expression}: {found}"
        return next(iter(found.values())) if found else None

    def becomes(self, expression, value, seconds=60):
        try:
            wait_until(f"{expression} being {value}", lambda: self.value(expression) == value, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.value(expression)}; targets: {self.targets()}") from None

    def targets(self):
        answer = json.loads(worlds.get(f"http://127.0.0.1:{self.agent.port}/api/v1/targets"))
        return {target["scrapePool"]: target for target in answer["data"]["activeTargets"]}

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.agent.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) * 1024


def eventually(check, seconds=60):
    """Runs `check` until none of its assertions fails: a busy machine may miss a scrape, and a target is down then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except (AssertionError, KeyError, TypeError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what the server's `pages` has for the path: (content type, body) or a function of the handler."""
    def do_GET(self):  # noqa: N802
        page = self.server.pages.get(self.path)
        self.server.asked[self.path] = self.headers
        with contextlib.suppress(OSError):
            if callable(page):
                page(self)
            elif page is None:
                self.send_error(404)
            else:
                self.answer(*page)

    def answer(self, kind, body, headers=()):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def server(pages):
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.daemon_threads = True
    served.pages, served.asked = pages, {}
    served.url = f"http://127.0.0.1:{served.server_address[1]}"
    threading.Thread(target=served.serve_forever, daemon=True).start()
    try:
        yield served
    finally:
        served.shutdown()
        served.server_close()


TEXT = "text/plain; version=0.0.4; charset=utf-8"


def check_node_page(world, agent, page):
    theirs = [line for line in page.splitlines() if line and not line.startswith("#")]
    names = {line.split("{")[0].split(" ")[0] for line in theirs if not line.startswith("go_")}
    ours = {series["metric"]["__name__"] for series in world.query('{job="node",room="hall"}', agent.agent.port)}
    made = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_series_added",
            "scrape_samples_post_metric_relabeling"}
    assert ours == names | made, f"missing {names - ours}, too many {ours - names - made}"
    go = sum(line.startswith("go_") for line in theirs)
    scraped = agent.value('scrape_samples_scraped{job="node"}')
    assert scraped - agent.value('scrape_samples_post_metric_relabeling{job="node"}') == go > 0
    total = next(float(line.split(" ")[1]) for line in theirs if line.startswith("node_memory_MemTotal_bytes "))
    assert agent.value("node_memory_MemTotal_bytes") == total


@case
def debians_node_exporter_is_read_as_it_is(options):
    exporter = shutil.which("prometheus-node-exporter")
    if exporter is None:
        raise Skip("prometheus-node-exporter is not installed")
    port = worlds.free_port()
    process = subprocess.Popen([exporter, f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults",
                                "--collector.loadavg", "--collector.meminfo", "--collector.netdev", "--collector.uname"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/metrics"
        wait_until("node_exporter answering", lambda: worlds.get(url, 5) is not None, 60)
        with options.world("scrape-node") as world:
            agent = ScrapingAgent(world, {"node": (url, 'exclude = "^go_"\nlabels = ["room=hall"]')})
            agent.becomes('up{job="node"}', 1)

            def the_page_is_here():
                check_node_page(world, agent, worlds.get(url))

            eventually(the_page_is_here)
            # The target goes: its series end at the next scrape, not five minutes later.
            process.terminate()
            process.wait(20)
            agent.becomes('up{job="node"}', 0)
            assert agent.values('node_memory_MemTotal_bytes{job="node"}') == {}
            assert agent.targets()["node"]["health"] == "down" and agent.targets()["node"]["lastError"]
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(20)


def check_shop(agent, job):
    assert agent.values(f"shop_orders_total{job}") == {(("region", "east"),): 5, (("region", 'we"st\\\n'),): 7}
    assert agent.value(f"shop_queue_depth{job}") == -2.5
    assert agent.values(f"shop_request_seconds_bucket{job}") == {
        (("le", "0.1"),): 1, (("le", "1"),): 3, (("le", "10"),): 4, (("le", "+Inf"),): 5}
    assert agent.value(f"shop_request_seconds_sum{job}") == 56.05
    assert abs(agent.value(f"histogram_quantile(0.5, shop_request_seconds_bucket{job})") - 0.775) < 1e-9
    assert agent.values(f"shop_answer_bytes{job}") == {(("quantile", "0.5"),): 20}
    assert agent.value(f"shop_answer_bytes_count{job}") == 3
    assert agent.value(f"process_cpu_seconds_total{job}") > 0
    told = json.loads(worlds.get(f"http://127.0.0.1:{agent.agent.port}/api/v1/metadata"))["data"]
    assert told["shop_request_seconds"] == [{"type": "histogram", "help": "Time of a request.", "unit": ""}], told
    assert "shop_request_seconds_bucket" not in told and told["up"][0]["type"] == "gauge", told


@case
def prom_clients_pages_are_read_in_both_formats(options):
    node = shutil.which("node")
    if node is None or not PROM_CLIENT.exists():
        raise Skip("node, or the npm package prom-client that ./dev setup fetches with npm, is not here")
    program = subprocess.Popen([node, pathlib.Path(__file__).with_name("measured_program.js"), PROM_CLIENT],
                               stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(program.stdout.readline())}"
        with options.world("scrape-npm") as world:
            agent = ScrapingAgent(world, {"plain": (url + "/metrics", ""), "open": (url + "/openmetrics", "")})
            for job in ("plain", "open"):
                eventually(lambda: check_shop(agent, f'{{job="{job}"}}'))  # noqa: B023
    finally:
        program.kill()
        program.wait(20)


def flood(kind, line, total_bytes):
    """A page that never seems to end: as much of `line` as the client takes."""
    def send(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        piece = line * (MEGABYTE // len(line))
        for _ in range(total_bytes // MEGABYTE):
            handler.wfile.write(piece)
    return send


def drip(handler):
    """Never finishes, a byte at a time."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(600):
        handler.wfile.write(b"#")
        handler.wfile.flush()
        time.sleep(0.1)


@case
def a_target_that_does_everything_wrong_harms_nobody(options):
    many = b"".join(b"many{index=\"%d\"} 1\n" % index for index in range(150_000))
    bomb = gzip.compress(b"#" * (50 * MEGABYTE), 1)
    churn = {"round": 0}

    def ever_new(handler):
        churn["round"] += 1
        handler.answer(TEXT, b"".join(b"new{round=\"%d\",index=\"%d\"} 1\n" % (churn["round"], i) for i in range(100)))

    pages = {
        "/good": (TEXT, b"good 42\n"),
        "/packed": lambda handler: handler.answer(TEXT, gzip.compress(b"packed 7\n"), [("Content-Encoding", "gzip")]),
        "/huge": flood(TEXT, b"# a remark that says nothing\n", 50 * MEGABYTE),
        "/bomb": lambda handler: handler.answer(TEXT, bomb, [("Content-Encoding", "gzip")]),
        "/many": (TEXT, many),
        "/new": ever_new,
        "/garbage": ("application/octet-stream", bytes(range(256)) * 1000),
        "/html": ("text/html", b"<html>not here</html>"),
        "/drip": drip,
        "/half": (TEXT, b"half 1\nhalf_too 2"),
    }
    with server(pages) as served, options.world("scrape-siege") as world:
        targets = {path[1:]: (served.url + path, "") for path in pages}
        targets["new"] = (served.url + "/new", "series_max = 250")
        targets["many"] = (served.url + "/many", "body_bytes_max = 8000000")
        targets["nobody"] = (f"http://127.0.0.1:{worlds.free_port()}/metrics", "")
        agent = ScrapingAgent(world, targets)
        for name in ("good", "packed", "new"):
            agent.becomes(f'up{{job="{name}"}}', 1)
        for name in sorted(targets.keys() - {"good", "packed", "new"}):
            agent.becomes(f'up{{job="{name}"}}', 0)
            assert agent.values(f'{{job="{name}",__name__!~"up|scrape_.*"}}') == {}, name
        agent.becomes("good", 42)
        agent.becomes("packed", 7)
        wait_until("all new series being refused", lambda: churn["round"] >= 5, 60)
        wait_until("the refusals being counted", lambda: world.metrics(agent.agent.port)[
            'lambda_agent_scrape_samples_refused_total{reason="series"}'] >= 100, 60)
        status = world.status(agent.agent)
        assert status["series"] <= 250 + 6 * len(targets), status["series"]

        def each_fault_is_told_and_counted():
            metrics = world.metrics(agent.agent.port)
            for reason in ("unreachable", "body_bytes_max", "malformed", "sample_max"):
                assert metrics[f'lambda_agent_scrapes_failed_total{{reason="{reason}"}}'] > 0, reason
            told = {name: target["lastError"] for name, target in agent.targets().items()}
            assert "sample_max" in told["many"] and "cut" in told["half"] and "text/html" in told["html"], told

        eventually(each_fault_is_told_and_counted)
        assert served.asked["/good"]["Accept-Encoding"] == "gzip"
        # What the pages took is given back.
        if world.is_sanitized:
            print("*** NOT LOOKED AT under AddressSanitizer: what is resident afterwards ***", flush=True)
        else:
            wait_until("the agent being small", lambda: agent.resident_bytes() < 64 * MEGABYTE, 60)
        print(f"resident: {agent.resident_bytes() / MEGABYTE:.1f} MB", flush=True)
        assert not agent.agent.errors(), agent.agent.errors()


@case
def targets_change_with_the_configuration(options):
    with server({"/a": (TEXT, b"a 1\n"), "/b": (TEXT, b"b 2\n")}) as served, options.world("scrape-reload") as world:
        agent = ScrapingAgent(world, {"a": (served.url + "/a", 'token = "secret"')})
        agent.becomes("a", 1)
        assert served.asked["/a"]["Authorization"] == "Bearer secret"
        text = agent.agent.config.read_text()
        agent.agent.config.write_text(text + f'[[scrape]]\nname = "a"\nurl = "{served.url}/b"\n')
        refused = world.call(agent.agent.command[0], "--config", agent.agent.config, "--check-config", code=1)
        assert 'another target has this name' in refused.stderr, refused.stderr
        agent.agent.config.write_text(text + f'[[scrape]]\nname = "b"\nurl = "{served.url}/b"\ninterval_ms = 300\n')
        agent.agent.signal(signal.SIGHUP)
        agent.becomes('b{job="b"}', 2)
        assert agent.targets().keys() == {"a", "b"}
        world.stop_all()
        assert not agent.agent.errors(), agent.agent.errors()


if __name__ == "__main__":
    sys.exit(main())
