#!/usr/bin/env python3
"""Compares our collectors with a real node_exporter on this machine: names, labels, values and types.

Usage: node_exporter_test.py PRINT_SOURCES_PROGRAM
Exit codes: 0 same, 1 different, 77 skipped because node_exporter is not installed.
"""
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

FAMILIES = re.compile(r"^node_(cpu_seconds_total|cpu_guest_seconds_total|memory_|load|disk_|filesystem_|"
                      r"network_(receive|transmit)_|boot_time_seconds|context_switches_total|forks_total|intr_total|"
                      r"procs_|pressure_|sockstat_|tcp_connection_states|processes_|timex_|thermal_zone_|cooling_device_|hwmon_)")
# What it has beside the kernel's files (netlink, sysfs) and we do not.
NOT_OURS = re.compile(r"^node_(disk_info|disk_device_mapper_info|disk_ata_|disk_filesystem_info|"
                      r"network_receive_nohandler_total|processes_threads_state|timex_pps_)")
# Series that are there while something is in the state: processes and connections come and go between two looks.
FLEETING = re.compile(r"^node_(processes_state|tcp_connection_states)$")
# How far a gauge may move between two collections a few hundred milliseconds apart on a busy machine.
MEMORY_SLACK_BYTES = 512 << 20
SPACE_SLACK_BYTES = 4 << 30
COUNT_SLACK = 100000


def parse(text):
    found = {}
    for line in text.splitlines():
        if not line.startswith("node_") or not FAMILIES.match(line) or NOT_OURS.match(line):
            continue
        head, value = line.rsplit(" ", 1)
        name, _, labels = head.partition("{")
        pairs = sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
        found[(name, tuple(pairs))] = float(value)
    return found


# It gives these as gauges or without a type though they count.
COUNTERS_ALL_THE_SAME = re.compile(r"^node_(hwmon_energy_joule_total)$")


def types(text):
    """Metric -> counter or gauge."""
    found = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    return {name: kind for name, kind in found.items() if FAMILIES.match(name) and not NOT_OURS.match(name)}


def complaints_about_texts(ours, theirs):
    """Types that differ, and metrics of ours without a word of help."""
    our_types, their_types = types(ours), types(theirs)
    wrong = [f"{name}: node_exporter has it as {their_types[name]}, we as {kind}" for name, kind in our_types.items()
             if name in their_types and their_types[name] in ("counter", "gauge") and their_types[name] != kind
             and not COUNTERS_ALL_THE_SAME.match(name)]
    told = {line.split(" ")[2]: line.split(" ", 3)[3] for line in ours.splitlines() if line.startswith("# HELP ")}
    return wrong + [f"{name} has no help text" for name, text in told.items() if not text.strip()]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scrape(program):
    port = free_port()
    exporter = subprocess.Popen(
        [program, f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults", "--collector.cpu",
         "--collector.meminfo", "--collector.loadavg", "--collector.diskstats", "--collector.filesystem",
         "--collector.netdev", "--collector.stat", "--collector.pressure", "--collector.sockstat", "--collector.tcpstat",
         "--collector.processes", "--collector.timex", "--collector.thermal_zone", "--collector.hwmon",
         "--collector.netdev.device-exclude=",
         "--collector.filesystem.mount-points-exclude="
         "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    return answer.read().decode()
            except OSError:
                if time.monotonic() > deadline or exporter.poll() is not None:
                    raise
                time.sleep(0.05)
    finally:
        exporter.terminate()
        exporter.wait(10)


def close_enough(key, before, theirs, after):
    name = key[0]
    low, high = min(before, after), max(before, after)
    if name.endswith("_total") or name in ("node_boot_time_seconds",):
        # Counters only rise: theirs lies between our two looks. A hundredth for idle times that step back a little.
        return low - 0.05 <= theirs <= high + 0.05
    if name.startswith("node_memory_"):
        return low - MEMORY_SLACK_BYTES <= theirs <= high + MEMORY_SLACK_BYTES
    if name.startswith("node_filesystem_") and name.endswith("_bytes"):
        slack = 0 if "size" in name else SPACE_SLACK_BYTES
        return low - slack <= theirs <= high + slack
    if name == "node_filesystem_files_free":
        return low - COUNT_SLACK <= theirs <= high + COUNT_SLACK
    if name.startswith("node_hwmon_temp_celsius") or name == "node_thermal_zone_temp":
        return low - 10 <= theirs <= high + 10
    if name.startswith("node_hwmon_") and "label" not in name and "names" not in name:
        return theirs >= 0
    if name == "node_timex_offset_seconds":
        return abs(theirs) < 1
    if name in ("node_timex_maxerror_seconds", "node_timex_estimated_error_seconds"):
        return low - 1 <= theirs <= high + 1
    if name in ("node_processes_pids", "node_processes_threads"):
        return 0.5 * low <= theirs <= 2 * high
    if name.startswith("node_sockstat_") or FLEETING.match(name):
        return theirs >= 0
    if name in ("node_procs_running", "node_procs_blocked", "node_disk_io_now") or name.startswith("node_load"):
        return theirs >= 0
    return low <= theirs <= high


def main():
    ours_program = sys.argv[1]
    exporter = shutil.which("prometheus-node-exporter")
    if not exporter:
        print("SKIPPED: prometheus-node-exporter is not installed, so nothing was compared")
        return 77
    first = subprocess.run([ours_program], check=True, capture_output=True, text=True).stdout
    page = scrape(exporter)
    before, theirs = parse(first), parse(page)
    after = parse(subprocess.run([ours_program], check=True, capture_output=True, text=True).stdout)
    wrong = [f"only node_exporter has {key}" for key in sorted(theirs.keys() - before.keys() - after.keys())
             if not FLEETING.match(key[0])]
    wrong += [f"only we have {key}" for key in sorted((before.keys() & after.keys()) - theirs.keys())
              if not FLEETING.match(key[0])]
    wrong += complaints_about_texts(first, page)
    compared = 0
    for key in sorted(theirs.keys() & before.keys() & after.keys()):
        compared += 1
        if not close_enough(key, before[key], theirs[key], after[key]):
            wrong.append(f"{key}: node_exporter {theirs[key]!r}, we {before[key]!r} then {after[key]!r}")
    for line in wrong:
        print(line)
    print(f"{compared} series compared, {len(wrong)} differences")
    return 1 if wrong or compared < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
