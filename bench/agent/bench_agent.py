#!/usr/bin/env python3
"""What the agent costs, beside node_exporter on the same machine in the same run.

  bench_agent.py --bin DIR [--full] [--cpu-seconds N]

cpu      processor time of the agent with all its default collectors at 1 s, beside that of node_exporter scraped once
         a second (its default collectors, and the ones the agent has).
memory   resident memory of two enrolled agents, each with ten minutes of 1,000 series at 1 Hz in memory: counters in
         uneven steps, decimals and doubles that wander. One has its gateway, one finds none and fills its spool.
         By default ten times as fast: 10 Hz, blocks sealed each 6 s, retained for a minute, so that as many points in
         as many blocks are held after a minute as after ten minutes otherwise; it ends after 72 s. --full takes the
         true times, and 12 minutes.

Last line: JSON. Exit status 1 when a "must" is missed: 16 MB at every look, all points answered from memory, and half
of node_exporter's time.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

SERIES = 1000
RSS_MB_MUST = 16
CPU_RATIO_MUST = 0.5
CPU_SECONDS = 30
EXPORTER = "/usr/bin/prometheus-node-exporter"
OUR_SOURCES = ["cpu", "memory", "load", "disk", "filesystem", "network", "pressure", "sockets", "processes", "time", "sensors",
               "cgroup", "self"]
SAME_COLLECTORS = ["cpu", "meminfo", "loadavg", "diskstats", "filesystem", "netdev", "stat", "pressure", "sockstat", "tcpstat",
                   "processes", "timex", "thermal_zone", "hwmon"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid):
    """Of all its threads, in the scheduler's own count: ticks of the clock miss work that takes less than one."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


class Process:
    def __init__(self, command, log):
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.pid = self.process.pid

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def write_config(folder, name, settings):
    port = free_port()
    state = os.path.join(folder, name)
    config = state + ".toml"
    with open(config, "w", encoding="utf-8") as file:
        file.write(f'[agent]\ndevice = "{name}"\nstate = "{state}"\n[http]\nport = {port}\n{settings}')
    return config, state, port


def start_agent(binaries, folder, name, settings):
    config, state, port = write_config(folder, name, settings)
    with open(state + ".log", "wb") as log:
        agent = Process([os.path.join(binaries, "lambda-agent"), "--config", config], log)
    for _ in range(100):
        try:
            get(f"http://127.0.0.1:{port}/readyz")
            return agent, port
        except OSError:
            if agent.process.poll() is not None:
                break
            time.sleep(0.1)
    with open(state + ".log", encoding="utf-8", errors="replace") as log:
        sys.exit(f"bench_agent: the agent is not ready:\n{log.read()[-2000:]}")


def memory_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        values = dict(line.split(":", 1) for line in file)
    return {name: int(values[name].split()[0]) for name in ("VmRSS", "VmHWM", "RssAnon", "RssFile")}


def call(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        sys.exit(f"bench_agent: {' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def start_gateway(binaries, folder):
    """A gateway with its own broker; the process and the broker's url."""
    broker, http = free_port(), free_port()
    config = os.path.join(folder, "gateway.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f'[gateway]\nid = "bench-gateway"\n[site]\nname = "bench"\ndirectory = "{folder}/site"\n'
                   f'[store]\ndirectory = "{folder}/store"\n[broker]\nport = {broker}\n[http]\nport = {http}\n')
    with open(os.path.join(folder, "gateway.log"), "wb") as log:
        gateway = Process([os.path.join(binaries, "lambda-gateway"), "--config", config], log)
    for _ in range(200):
        try:
            get(f"http://127.0.0.1:{http}/readyz")
            return gateway, f"mqtts://localhost:{broker}"
        except OSError:
            time.sleep(0.1)
    gateway.end()
    sys.exit("bench_agent: the gateway is not ready after 20 s")


def make_agent(binaries, folder, name, url, speed):
    """An enrolled agent with made-up sources; it and its HTTP port."""
    others = "".join(f"[sources.{source}]\nenabled = false\n" for source in OUR_SOURCES)
    settings = (f'[sources.synthetic]\nenabled = true\nseries = {SERIES}\nshape = "lifelike"\ninterval_ms = {1000 // speed}\n{others}'
                f'[uplink]\ngateways = ["{url}"]\n[seal]\nage_ms = {60_000 // speed}\n[memory]\nretention_ms = {600_000 // speed}\n')
    config = write_config(folder, name, settings)[0]
    request, bundle = os.path.join(folder, name + ".request"), os.path.join(folder, name + ".bundle")
    call(os.path.join(binaries, "lambda-agent"), "--config", config, "--request", request)
    call(os.path.join(binaries, "lambda"), "enroll", request, "--site", os.path.join(folder, "site"), "--out", bundle)
    call(os.path.join(binaries, "lambda-agent"), "--config", config, "--install", bundle)
    return start_agent(binaries, folder, name, settings)


def measure_memory(binaries, folder, full):
    speed = 1 if full else 10
    gateway, url = start_gateway(binaries, folder)
    agents = {}
    looks = []
    try:
        agents["gateway"] = make_agent(binaries, folder, "with-gateway", url, speed)
        agents["alone"] = make_agent(binaries, folder, "alone", f"mqtts://localhost:{free_port()}", speed)
        start = time.monotonic()
        for minute in (1, 5, 10, 12):
            time.sleep(max(0.0, start + minute * 60 / speed - time.monotonic()))
            for name, (agent, port) in agents.items():
                status = json.loads(get(f"http://127.0.0.1:{port}/api/v1/lambda/status"))
                look = {"minute": minute, "agent": name, **memory_kb(agent.pid), "made": status["made"],
                        "backlog_bytes": status["backlog_bytes"]}
                looks.append(look)
                print(f"memory  {minute:3} min{'' if full else ' / 10'}  {name:8} resident {look['VmRSS'] / 1024:5.1f} MB (own "
                      f"{look['RssAnon'] / 1024:.1f}, most {look['VmHWM'] / 1024:.1f}), {look['made']} points made, spool "
                      f"{look['backlog_bytes'] / 1e6:.1f} MB", flush=True)
        # What is held is asked for last: a query over everything takes room of its own, which is then given back.
        span = f"{600 // speed}s"
        asked = urllib.parse.urlencode({"query": f'sum(count_over_time({{__name__=~"lambda_synthetic.*"}}[{span}]))'})
        held = []
        for name, (agent, port) in agents.items():
            answer = json.loads(get(f"http://127.0.0.1:{port}/api/v1/query?{asked}"))
            held.append(sum(int(series["value"][1]) for series in answer.get("data", {}).get("result", [])))
        time.sleep(12)
        for (name, (agent, _)), points in zip(agents.items(), held):
            look = memory_kb(agent.pid)
            print(f"memory  {name:8} answered {points} points in one question; 12 s later resident {look['VmRSS'] / 1024:.1f} MB "
                  f"(most {look['VmHWM'] / 1024:.1f})", flush=True)
    finally:
        for agent, _ in agents.values():
            agent.end()
        gateway.end()
    return looks, min(held)


def measure_cpu(binaries, folder, seconds):
    agent, _ = start_agent(binaries, folder, "cpu", "")
    exporters = {}
    with open(os.path.join(folder, "exporter.log"), "wb") as log:
        for name, flags in (("default", []), ("same", ["--collector.disable-defaults"] + [f"--collector.{c}" for c in SAME_COLLECTORS])):
            port = free_port()
            exporters[name] = (Process([EXPORTER, f"--web.listen-address=127.0.0.1:{port}"] + flags, log), port)
    try:
        time.sleep(3)
        before = {name: cpu_seconds(process.pid) for name, (process, _) in exporters.items()}
        before["agent"] = cpu_seconds(agent.pid)
        start = time.monotonic()
        for second in range(seconds):
            for _, port in exporters.values():
                get(f"http://127.0.0.1:{port}/metrics")
            time.sleep(max(0.0, start + second + 1 - time.monotonic()))
        passed = time.monotonic() - start
        used = {name: (cpu_seconds(process.pid) - before[name]) / passed for name, (process, _) in exporters.items()}
        used["agent"] = (cpu_seconds(agent.pid) - before["agent"]) / passed
        rss = memory_kb(agent.pid)["VmRSS"] / 1024
    finally:
        agent.end()
        for process, _ in exporters.values():
            process.end()
    print(f"cpu     agent {used['agent'] * 1000:.1f} ms/s ({rss:.1f} MB); node_exporter scraped each second: "
          f"{used['default'] * 1000:.1f} ms/s with its defaults (ratio {used['agent'] / used['default']:.2f}), "
          f"{used['same'] * 1000:.1f} ms/s with the agent's collectors (ratio {used['agent'] / max(used['same'], 1e-9):.2f})", flush=True)
    return used


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--full", action="store_true", help="true ten minutes instead of a tenth of the time")
    parser.add_argument("--cpu-seconds", type=int, default=CPU_SECONDS)
    options = parser.parse_args()
    binaries = os.path.abspath(options.bin)
    folder = tempfile.mkdtemp(prefix="lambda-bench-agent-")
    try:
        used = measure_cpu(binaries, folder, options.cpu_seconds)
        looks, held = measure_memory(binaries, folder, options.full)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    most = {name: max(look["VmRSS"] for look in looks if look["agent"] == name) / 1024 for name in ("gateway", "alone")}
    ratio = used["agent"] / used["default"]
    good = max(most.values()) <= RSS_MB_MUST and ratio <= CPU_RATIO_MUST and held >= 0.98 * SERIES * 600
    print(json.dumps({"true_times": options.full, "rss_mb_max": round(most["gateway"], 1), "rss_mb_max_without_gateway": round(most["alone"], 1),
                      "points_held": held, "agent_cpu_ms_per_s": round(used["agent"] * 1000, 2),
                      "node_exporter_cpu_ms_per_s": round(used["default"] * 1000, 2), "cpu_ratio": round(ratio, 3),
                      "cpu_ratio_same_collectors": round(used["agent"] / max(used["same"], 1e-9), 3), "must": good}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
