#!/usr/bin/env python3
"""What the agent costs, beside node_exporter on the same machine in the same run.

  bench_agent.py --bin DIR

memory   resident memory with ten minutes of 1,000 series at 1 Hz: as many points are made at 10 Hz within a minute,
         all of them younger than ten minutes, so that all are held.
cpu      processor time of the agent with all its default collectors at 1 s, beside that of node_exporter scraped once
         a second (its default collectors, and the ones the agent has).

Last line: JSON. Exit status 1 when a "must" is missed: 16 MB, and half of node_exporter's time.
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
import urllib.request

SERIES = 1000
RSS_MB_MUST = 16
CPU_RATIO_MUST = 0.5
CPU_SECONDS = 30
EXPORTER = "/usr/bin/prometheus-node-exporter"
SAME_COLLECTORS = ["cpu", "meminfo", "loadavg", "diskstats", "filesystem", "netdev", "stat"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        values = dict(line.split(":", 1) for line in file)
    return int(values["VmRSS"].split()[0]) / 1024, int(values["VmHWM"].split()[0]) / 1024


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


def start_agent(binaries, folder, name, settings):
    port = free_port()
    state = os.path.join(folder, name)
    config = state + ".toml"
    with open(config, "w", encoding="utf-8") as file:
        file.write(f'[agent]\ndevice = "bench"\nstate = "{state}"\n[http]\nport = {port}\n{settings}')
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


def measure_memory(binaries, folder):
    others = "".join(f"[sources.{name}]\nenabled = false\n" for name in ("cpu", "memory", "load", "disk", "filesystem", "network", "self"))
    agent, port = start_agent(binaries, folder, "memory", f"[sources.synthetic]\nenabled = true\nseries = {SERIES}\ninterval_ms = 100\n{others}")
    try:
        wanted = SERIES * 600
        while True:
            made = json.loads(get(f"http://127.0.0.1:{port}/api/v1/lambda/status"))["made"]
            if made >= wanted:
                break
            time.sleep(1)
        answer = json.loads(get(f"http://127.0.0.1:{port}/api/v1/query?query=sum(count_over_time(lambda_synthetic%5B10m%5D))"))
        held = sum(int(series["value"][1]) for series in answer.get("data", {}).get("result", []))
        now, most = rss_mb(agent.pid)
    finally:
        agent.end()
    print(f"memory  {made} points of {SERIES} series made, {held} of them answered from memory; resident {now:.1f} MB (most {most:.1f} MB)", flush=True)
    return now, held, made


def measure_cpu(binaries, folder):
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
        for second in range(CPU_SECONDS):
            for _, port in exporters.values():
                get(f"http://127.0.0.1:{port}/metrics")
            time.sleep(max(0.0, start + second + 1 - time.monotonic()))
        passed = time.monotonic() - start
        used = {name: (cpu_seconds(process.pid) - before[name]) / passed for name, (process, _) in exporters.items()}
        used["agent"] = (cpu_seconds(agent.pid) - before["agent"]) / passed
        rss = rss_mb(agent.pid)[0]
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
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="lambda-bench-agent-")
    try:
        used = measure_cpu(os.path.abspath(options.bin), folder)
        rss, held, made = measure_memory(os.path.abspath(options.bin), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratio = used["agent"] / used["default"]
    good = rss <= RSS_MB_MUST and ratio <= CPU_RATIO_MUST and held >= 0.95 * SERIES * 600
    print(json.dumps({"rss_mb": round(rss, 1), "points_made": made, "points_held": held, "agent_cpu_ms_per_s": round(used["agent"] * 1000, 2),
                      "node_exporter_cpu_ms_per_s": round(used["default"] * 1000, 2), "cpu_ratio": round(ratio, 3),
                      "cpu_ratio_same_collectors": round(used["agent"] / max(used["same"], 1e-9), 3), "must": good}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
