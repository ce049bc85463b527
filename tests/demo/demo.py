#!/usr/bin/env python3
"""A gateway and an agent on this machine: real metrics over mutual TLS, both killed and restarted, and the balance.

  demo.py --bin DIR [--seconds N] [--keep DIR]

A rule of the gateway watches the machine's processors; the demo makes them busy for a while, so that an alert fires and
is resolved.

Last line: {"made":N,"stored":N,"buffered":N,"dropped":N,"lost":N,"doubled":N,"alerts_fired":N,"alerts_cleared":N}: the
points counted from the raw files by tests/check/balance.py, the alerts by their ids in the gateway's log. Exit status 0
only if made = stored + buffered + dropped, at least 80 % of what was made is stored, nothing is lost or doubled, and an
alert fired and was cleared.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECKER = os.path.join(ROOT, "tests", "check", "balance.py")
STORED_PERCENT_MIN = 80
BALANCE = ("made", "stored", "buffered", "dropped", "lost", "doubled")
SPARKS = "▁▂▃▄▅▆▇█"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get_json(url, timeout=2):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return json.load(answer)


def wait_until(what, condition, seconds):
    """Asks `condition` until it is true; ends the demo when it is not after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.1)
    raise SystemExit(f"demo: {what} did not happen within {seconds} s")


class Program:
    """One of our programs, started and ended by this script only."""

    def __init__(self, name, command, folder):
        self.name, self.command, self.log_path = name, command, os.path.join(folder, f"{name}.log")
        self.process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)

    def end(self, number, seconds=15):
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"demo: {self.name} did not end within {seconds} s; killed", file=sys.stderr)
            self.process.kill()
            self.process.wait()
        self.process = None

    def alive(self):
        return self.process is not None and self.process.poll() is None


# How the system counts the load that the demo makes.
MODE = "nice" if os.nice(0) > 0 else "user"


def mode_seconds():
    """Processor time that programs of the demo's priority had since the machine's start, of all processors together."""
    with open("/proc/stat", encoding="ascii") as file:
        return int(file.readline().split()[1 if MODE == "user" else 2]) / os.sysconf("SC_CLK_TCK")


def mode_share(seconds):
    """The share of the processors that such programs have now, before the demo makes any load: 0 to 1."""
    before, started = mode_seconds(), time.monotonic()
    time.sleep(seconds)
    return (mode_seconds() - before) / (time.monotonic() - started) / (os.cpu_count() or 1)


def spin(until):
    while time.monotonic() < until:
        sum(range(10_000))


class Load:
    """Processes that make all processors busy for a while."""

    def __init__(self):
        self.processes = []

    def start(self, seconds):
        self.end()
        until = time.monotonic() + seconds
        self.processes = [multiprocessing.Process(target=spin, args=(until,), daemon=True) for _ in range(2 * (os.cpu_count() or 1))]
        for process in self.processes:
            process.start()

    def end(self):
        for process in self.processes:
            process.terminate()
            process.join()
        self.processes = []


class Demo:
    def __init__(self, binaries, folder):
        self.binaries, self.folder = binaries, folder
        self.agent_port, self.gateway_port, self.broker_port = free_port(), free_port(), free_port()
        self.device = "this-machine"
        self.write("gateway.toml", f"""\
[gateway]
id = "demo-gateway"

[site]
name = "demo"
directory = "{folder}/site"

[store]
directory = "{folder}/gateway"

[broker]
port = {self.broker_port}

[http]
port = {self.gateway_port}
""")
        self.write("agent.toml", f"""\
[agent]
device = "{self.device}"
state = "{folder}/agent"

[uplink]
gateways = ["mqtts://localhost:{self.broker_port}"]
backoff_ms_max = 1000

[seal]
age_ms = 1000

[journal]
keep = true        # the checker counts what was made from the journals

[http]
port = {self.agent_port}
""")
        # Above what others need already, in the middle between that and all there is.
        quiet = mode_share(1.5)
        self.busy_at = quiet + (1 - quiet) / 2
        os.makedirs(f"{folder}/gateway/rules", exist_ok=True)
        self.write("gateway/rules/cpu.sql", f"""\
-- The share of a second that programs of the demo's priority had of a processor, over the last four seconds.
CREATE STREAM node_cpu_seconds_total (dev TEXT, cpu TEXT, mode TEXT, value DOUBLE);
CREATE RULE cpu_share AS SELECT dev, cpu, rate(value) AS share FROM node_cpu_seconds_total WHERE mode = '{MODE}'
  PARTITION BY dev, cpu WINDOW SLIDE 4s;
CREATE RULE processor_busy AS SELECT dev, cpu, share FROM cpu_share PARTITION BY dev, cpu
  ALERT ON share > {self.busy_at:.3f} CLEAR share < {self.busy_at:.3f} FOR 1s DO log();
""")
        self.load = Load()
        self.gateway = Program("gateway", [self.program("lambda-gateway"), "--config", self.path("gateway.toml")], folder)
        self.agent = Program("agent", [self.program("lambda-agent"), "--config", self.path("agent.toml")], folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def program(self, name):
        return os.path.join(self.binaries, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def run(self, *arguments):
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise SystemExit(f"demo: {' '.join(arguments)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")

    def ready(self, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return answer.status == 200

    def start_gateway(self):
        self.gateway.start()
        wait_until("the gateway being ready", lambda: self.ready(self.gateway_port), 20)

    def start_agent(self):
        self.agent.start()
        wait_until("the agent being ready", lambda: self.ready(self.agent_port), 20)

    def enrol(self):
        request, bundle = self.path("this-machine.request"), self.path("this-machine.bundle")
        self.run(self.program("lambda-agent"), "--config", self.path("agent.toml"), "--request", request)
        self.run(self.program("lambda"), "enroll", request, "--site", self.path("site"), "--out", bundle)
        self.run(self.program("lambda-agent"), "--config", self.path("agent.toml"), "--install", bundle)

    def status(self):
        try:
            return get_json(f"http://127.0.0.1:{self.agent_port}/api/v1/lambda/status")
        except (OSError, ValueError):
            return None

    def alerts(self):
        """(fired, cleared): different alerts in the gateway's log; a gateway that was killed may write one again."""
        with open(self.gateway.log_path, encoding="utf-8", errors="replace") as log:
            lines = log.readlines()
        ids = lambda event: len({found for line in lines if event in line for found in re.findall(r"\bid=\"?([0-9a-f]{32})", line)})
        return ids("alert_firing"), ids("alert_resolved")

    def newest(self, port, expression):
        """Values of an instant query, one for each series; nothing while the program is down."""
        query = urllib.parse.urlencode({"query": expression})
        try:
            answer = get_json(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=0.3)
        except (OSError, ValueError):
            return []
        return [float(series["value"][1]) for series in answer["data"]["result"]]


class Screen:
    """One line a second: what the gateway says, or, while it is away, the agent's own ten minutes."""

    def __init__(self, demo):
        self.demo, self.busy, self.before = demo, [], None
        print(f"{'':>5}  {'cpu busy':>8}  {'':<30}  {'load1':>6}  {'mem free':>9}  {'received':>10}  {'unacked':>7}  asked", flush=True)

    def line(self, second, note):
        demo = self.demo
        asked, port = "gateway", demo.gateway_port
        idle = demo.newest(port, 'sum(node_cpu_seconds_total{mode="idle"})')
        if not idle:
            asked, port = "agent", demo.agent_port
            idle = demo.newest(port, 'sum(node_cpu_seconds_total{mode="idle"})')
        now = time.monotonic()
        if idle and self.before and asked == self.before[2] and idle[0] > self.before[0]:
            share = (idle[0] - self.before[0]) / ((now - self.before[1]) * (os.cpu_count() or 1))
            self.busy = (self.busy + [max(0.0, min(100.0, 100 * (1 - share)))])[-30:]
        if idle and (self.before is None or asked != self.before[2] or idle[0] != self.before[0]):
            self.before = (idle[0], now, asked)

        def shown(expression, form, scale=1.0):
            values = demo.newest(port, expression)
            return form.format(sum(values) / scale) if values else "-"

        spark = "".join(SPARKS[min(7, int(b / 12.5))] for b in self.busy)
        busy = f"{self.busy[-1]:.0f} %" if self.busy else "-"
        unacked = (demo.status() or {}).get("backlog_parcels", "-")
        print(f"{second:>4}s  {busy:>8}  {spark:<30}  {shown('node_load1', '{:.2f}'):>6}  "
              f"{shown('node_memory_MemAvailable_bytes', '{:.0f} MB', 2**20):>9}  "
              f"{shown('node_network_receive_bytes_total', '{:.1f} MB', 2**20):>10}  {unacked:>7}  {asked:<7}  {note}", flush=True)


def run_demo(demo, seconds):
    """Runs until `seconds` have passed, with two rounds of SIGKILL of both programs while parcels are unacked."""
    started = time.monotonic()
    elapsed = lambda: time.monotonic() - started
    demo.start_gateway()
    demo.enrol()
    demo.start_agent()
    screen = Screen(demo)

    def show(until, note="", stop_when=None):
        while elapsed() < until:
            screen.line(int(elapsed()), note)
            if stop_when and stop_when():
                return True
            time.sleep(max(0.0, 1 - (time.monotonic() - started) % 1))
        return False

    def unacked():
        return (demo.status() or {}).get("backlog_parcels", 0) >= 2

    quarter = max(3.0, (seconds - 12) / 4)
    demo.load.start(quarter)
    show(quarter, "all processors busy")
    demo.load.end()
    demo.gateway.end(signal.SIGKILL)
    show(elapsed() + quarter / 2, "gateway killed (SIGKILL)", unacked)
    demo.agent.end(signal.SIGKILL)
    print("       agent killed too, with parcels unacked", flush=True)
    demo.start_agent()
    show(elapsed() + 2, "agent restarted, no gateway")
    demo.start_gateway()
    show(2 * quarter, "gateway restarted")
    demo.gateway.process.send_signal(signal.SIGSTOP)  # parcels leave the agent and are not acked
    show(elapsed() + 3, "gateway stopped (SIGSTOP)", unacked)
    demo.agent.end(signal.SIGKILL)
    demo.gateway.end(signal.SIGKILL)
    print("       both killed, with parcels in flight", flush=True)
    demo.start_gateway()
    demo.start_agent()
    if demo.alerts()[1] == 0:  # the quiet after the load may have been too short
        show(elapsed() + 3, "both restarted")
        if demo.alerts()[0] == 0:
            demo.load.start(6)
            show(elapsed() + 6, "all processors busy")
            demo.load.end()
        show(elapsed() + 12, "quiet", lambda: demo.alerts()[1] > 0)
    show(max(elapsed() + 2, seconds - 8), "both restarted")
    print("       draining", flush=True)
    end = time.monotonic() + 5
    while time.monotonic() < end and (demo.status() or {}).get("backlog_parcels", 1) > 1:
        time.sleep(0.2)
    demo.agent.end(signal.SIGTERM)
    demo.gateway.end(signal.SIGTERM)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", metavar="DIR")
    options = parser.parse_args()
    if options.seconds < 20:
        sys.exit("demo: --seconds must be at least 20: four kills and a drain need their time")
    if options.keep and os.path.isdir(options.keep) and os.listdir(options.keep):
        sys.exit(f"demo: {options.keep} is not empty")
    folder = os.path.abspath(options.keep) if options.keep else tempfile.mkdtemp(prefix="lambda-demo-")
    os.makedirs(folder, exist_ok=True)
    demo = Demo(os.path.abspath(options.bin), folder)
    failed = True
    try:
        run_demo(demo, options.seconds)
        counted = subprocess.run([sys.executable, CHECKER, "--gateway", demo.path("gateway"), "--agent", demo.path("agent"),
                                  "--site", demo.path("site"),
                                  "--stored-min-percent", str(STORED_PERCENT_MIN)], timeout=600, capture_output=True, text=True)
        print(counted.stderr, end="", file=sys.stderr)
        *findings, last = counted.stdout.splitlines() or ["{}"]
        print("\n".join(findings))
        balance = {key: json.loads(last).get(key) for key in BALANCE}
        balance["alerts_fired"], balance["alerts_cleared"] = demo.alerts()
        print(json.dumps(balance, separators=(",", ":")), flush=True)
        no_alert = 0 in (balance["alerts_fired"], balance["alerts_cleared"])
        if no_alert:
            print(f"demo: no alert fired and was cleared; busy means {demo.busy_at:.2f} of a processor", file=sys.stderr)
        failed = counted.returncode != 0 or None in balance.values() or no_alert
    finally:
        demo.load.end()
        demo.agent.end(signal.SIGKILL)
        demo.gateway.end(signal.SIGKILL)
        if failed:
            for program in (demo.gateway, demo.agent):
                if os.path.exists(program.log_path):
                    with open(program.log_path, encoding="utf-8", errors="replace") as log:
                        print(f"-- end of {program.log_path}\n" + "".join(log.readlines()[-25:]), file=sys.stderr)
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
