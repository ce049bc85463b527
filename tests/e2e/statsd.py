#!/usr/bin/env python3
"""StatsD into a real agent: by its npm client hot-shots, over UDP and a Unix socket, over a reload, beside garbage.
What comes out is asked for at the agent's query interface."""
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))
from harness import Skip, case, main, wait_until  # noqa: E402
from harness import worlds  # noqa: E402

HOT_SHOTS = ROOT / "third_party" / "npm" / "node_modules" / "hot-shots"   # ./dev setup puts it there
INTERVAL_MS = 200


class StatsdAgent:
    """An agent with StatsD and nothing else, on a free port and a Unix socket."""

    def __init__(self, world, extra=""):
        self.world = world
        self.port, self.path = worlds.free_port(), world.folder / "statsd.sock"
        names = ("cpu", "memory", "load", "disk", "filesystem", "network", "pressure", "sockets", "processes", "time",
                 "sensors", "cgroup")
        off = "".join(f"[sources.{source}]\nenabled = false\n" for source in names)
        self.agent = world.make_agent("shop-1", sources=off, urls=[], extra=f"""\
[statsd]
enabled = true
port = {self.port}
socket = "{self.path}"
interval_ms = {INTERVAL_MS}
{extra}""")
        world.start_agent(self.agent)

    def udp(self, *packets):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for packet in packets:
                sender.sendto(packet.encode(), ("127.0.0.1", self.port))

    def unix(self, *packets):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(self.path))
            for packet in packets:
                sender.send(packet.encode())

    def values(self, selector):
        """Labels without the device's own -> value."""
        found = {}
        for series in self.world.query(selector, self.agent.port):
            labels = {k: v for k, v in series["metric"].items() if k not in ("__name__", "instance", "site")}
            found[tuple(sorted(labels.items()))] = float(series["value"][1])
        return found

    def value(self, selector):
        found = self.values(selector)
        assert len(found) <= 1, f"{selector}: {found}"
        return next(iter(found.values())) if found else None

    def becomes(self, selector, value, seconds=20):
        try:
            wait_until(f"{selector} being {value}", lambda: self.value(selector) == value, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.value(selector)}") from None


@case
def what_the_npm_client_sends_can_be_asked_for(options):
    node = shutil.which("node")
    if node is None or not HOT_SHOTS.exists():
        raise Skip("node, or the npm package hot-shots that ./dev setup fetches with npm, is not here")
    with options.world("statsd") as world:
        agent = StatsdAgent(world)
        client = subprocess.run([node, pathlib.Path(__file__).with_name("hot_shots_client.js"), HOT_SHOTS, str(agent.port)],
                                capture_output=True, text=True, timeout=60)
        assert client.returncode == 0, client.stdout + client.stderr
        agent.becomes('shop_orders_total{region="west"}', 500)
        agent.becomes('shop_orders_total{region="east"}', 505)
        agent.becomes('lambda_agent_statsd_lines_refused_total{reason="negative_count"}', 1)   # the decrement
        agent.becomes("shop_queue_depth", 40)
        agent.becomes("shop_request_time_count", 100)
        agent.becomes("shop_request_time_sum", 5050)
        agent.becomes("shop_payload_sum", 50500)
        agent.becomes("shop_spread_count", 100)
        agent.becomes('shop_request_time_bucket{le="64"}', 64)
        agent.becomes('shop_request_time_bucket{le="+Inf"}', 100)
        agent.becomes("max_over_time(shop_users[1m])", 3)
        agent.becomes("lambda_agent_statsd_lines_left_out_total", 2)   # the event and the check
        assert agent.values("shop_orders_total").keys() == {(("env", "test"), ("region", "east")),
                                                            (("env", "test"), ("region", "west"))}
        # The values of an interval, wherever the intervals' borders fell.
        assert agent.value("max_over_time(shop_request_time_max[1m])") == 100
        assert agent.value("min_over_time(shop_request_time_min[1m])") == 1
        agent.becomes("lambda_agent_statsd_packets_dropped_total", 0)
        world.stop_all()


@case
def nothing_is_missed_over_a_reload_and_beside_garbage(options):
    with options.world("statsd-reload") as world:
        agent = StatsdAgent(world)
        agent.unix("by.path:1|c", "by.path:2|c\nby.path:3|c")
        agent.becomes("by_path_total", 6)
        sent = 0
        for second in range(3):
            for _ in range(50):
                garbage = bytes(options.random.getrandbits(8) for _ in range(options.random.randrange(1, 200)))
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.sendto(garbage.replace(b":", b"."), ("127.0.0.1", agent.port))   # no good line by chance
                agent.udp("good:1|c\ngood:1|c")
                sent += 2
                time.sleep(0.005)
            agent.agent.signal(signal.SIGHUP)
            agent.udp("good:1|c")
            sent += 1
            log = agent.agent.log
            wait_until("the agent having read its configuration again",
                       lambda: log.read_text(errors="replace").count(" reloaded") == second + 1, 20)
        agent.becomes("good_total", sent)
        agent.becomes("by_path_total", 6)
        assert agent.value('lambda_agent_statsd_lines_refused_total{reason="no_name"}') >= 150 * 0.9
        assert not agent.agent.errors(), agent.agent.errors()
        world.stop_all()
        assert not agent.path.exists(), "the socket was left behind"


@case
def an_address_that_everyone_reaches_must_be_allowed(options):
    with options.world("statsd-address") as world:
        agent = world.make_agent("shop-1", extra='[statsd]\nenabled = true\naddress = "0.0.0.0"\n', urls=[])
        refused = world.call(agent.command[0], "--config", agent.config, "--check-config", code=1)
        assert "statsd.address" in refused.stderr and "statsd.from_anywhere" in refused.stderr, refused.stderr
        text = agent.config.read_text()
        agent.config.write_text(text + "from_anywhere = true\n")
        world.call(agent.command[0], "--config", agent.config, "--check-config")


if __name__ == "__main__":
    sys.exit(main())
