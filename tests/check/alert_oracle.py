#!/usr/bin/env python3
"""Prometheus as an oracle for alerts: the same samples through `lambda cep run` and `promtool test rules`.

  alert_oracle.py LAMBDA [--seeds N]

Each case is an alert of ours beside one of Prometheus', and series of samples 10 s apart. After each instant, what is
pending and firing here must be what ALERTS says there. Exit status 0: all agree; 1: not; 77: there is no promtool, and
nothing was checked.

The two differ in what they are asked: Prometheus looks at each instant, we at each event and timer. So the samples lie
on the instants, and time is brought to each instant with advance_to before it is compared. A range [35s] holds what
SLIDE 35s holds, because no sample lies on either end.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

STEP_S = 10
MISSING = None

STREAM = "CREATE STREAM m (dev TEXT, v DOUBLE);\n"


def on(alert):
    return STREAM + f"CREATE RULE a AS SELECT dev, v FROM m PARTITION BY dev ALERT {alert} DO log();\n"


# name: (our rules, expr, for, keep_firing_for, {device: samples})
CASES = {
    "above_a_threshold": (on("ON v > 90"), "m > 90", 0, 0, {"x": [80, 91, 95, 90, 91, 10]}),
    "below_a_threshold": (on("ON v <= 5"), "m <= 5", 0, 0, {"x": [6, 5, 4, 6, 5, 7]}),
    "for_is_over_at_its_very_end": (on("ON v > 90 FOR 30s"), "m > 90", 30, 0, {"x": [0, 95, 95, 95, 95, 95, 0]}),
    "for_ends_one_sample_early": (on("ON v > 90 FOR 30s"), "m > 90", 30, 0, {"x": [0, 95, 95, 95, 0, 0, 0]}),
    "for_is_broken_at_its_very_end": (on("ON v > 90 FOR 30s"), "m > 90", 30, 0, {"x": [95, 95, 95, 0, 95, 95, 95, 95, 95]}),
    "flapping_never_fires": (on("ON v > 90 FOR 20s"), "m > 90", 20, 0, {"x": [95, 0, 95, 95, 0, 95, 95, 0, 95, 0]}),
    "fires_again_after_it_was_over": (on("ON v > 90 FOR 10s"), "m > 90", 10, 0,
                                      {"x": [95, 95, 95, 0, 0, 95, 95, 95, 0]}),
    "several_keys": (on("ON v > 90 FOR 20s"), "m > 90", 20, 0,
                     {"x": [95, 95, 95, 95, 0, 0], "y": [0, 95, 95, 0, 95, 95], "z": [0, 0, 0, 95, 95, 95]}),
    "kept_firing": (on("ON v > 90 CLEAR v <= 90 FOR 30s"), "m > 90", 0, 30, {"x": [95, 0, 0, 0, 0, 0, 0]}),
    "kept_firing_until_it_is_true_again": (on("ON v > 90 CLEAR v <= 90 FOR 30s"), "m > 90", 0, 30,
                                           {"x": [95, 0, 0, 95, 0, 0, 0, 0, 95, 0]}),
    "for_and_kept_firing": (on("ON v > 90 FOR 20s CLEAR v <= 90 FOR 20s"), "m > 90", 20, 20,
                            {"x": [95, 95, 95, 0, 95, 0, 0, 0, 95, 95, 0], "y": [0, 95, 0, 95, 95, 95, 95, 0, 0, 0, 0]}),
    "a_silent_series_stays_what_it_was": (on("ON v > 90 FOR 30s"), "m > 90", 30, 0,
                                          {"x": [0, 95, MISSING, MISSING, MISSING, MISSING, 0],
                                           "y": [95, 0, MISSING, 95, 95, 95, 95]}),
    "a_missing_series": (
        STREAM + "CREATE RULE a AS SELECT dev FROM PATTERN (EVERY b = m -> NOT m FOR 30s) PARTITION BY dev ALERT REMIND 1h "
        "DO log();\n", 'absent_over_time(m{dev="x"}[25s])', 0, 0,
        {"x": [1, 1, MISSING, MISSING, MISSING, MISSING, 1, 1, MISSING, MISSING, 1]}),
    "samples_in_a_row": (on("ON v > 90 FOR 3 SAMPLES"), "m > 90", 20, 0, {"x": [95, 95, 0, 95, 95, 95, 95, 0, 95]}),
    "average_of_a_sliding_window": (
        STREAM + "CREATE RULE a AS SELECT dev, avg(v) AS v FROM m PARTITION BY dev WINDOW SLIDE 35s ALERT ON v > 50 FOR 10s "
        "DO log();\n", "avg_over_time(m[35s]) > 50", 10, 0,
        {"x": [0, 0, 90, 90, 90, 60, 10, 10, 10, 90, 90], "y": [60, 50, 40, 60, 60, 60, 60, 60, 0, 0, 0]}),
    "greatest_of_a_sliding_window": (
        STREAM + "CREATE RULE a AS SELECT dev, max(v) AS v FROM m PARTITION BY dev WINDOW SLIDE 25s ALERT ON v > 50 DO "
        "log();\n", "max_over_time(m[25s]) > 50", 0, 0, {"x": [0, 60, 0, 0, 0, 0, 60, 60, 0, 0, 0, 0]}),
    "two_conditions": (on("ON v > 10 AND v < 20 FOR 10s"), "m > 10 < 20", 10, 0, {"x": [15, 15, 25, 15, 15, 15, 5, 15]}),
}


def random_cases(seeds):
    for seed in range(1, seeds + 1):
        dice = random.Random(seed)
        hold, keep = dice.choice([0, 10, 20, 30, 50]), dice.choice([0, 10, 20, 40])
        length = dice.randint(5, 40)
        series = {dev: [dice.choice([0, 95, 95]) if dice.random() < 0.9 else MISSING for _ in range(length)]
                  for dev in "xyz"[:dice.randint(1, 3)]}
        for samples in series.values():
            samples[0] = samples[0] or 0  # a series that never began has no state to keep
        rule = on("ON v > 90" + (f" FOR {hold}s" if hold else "") + (f" CLEAR v <= 90 FOR {keep}s" if keep else ""))
        yield f"seed {seed}", (rule, "m > 90", hold, keep, series)


def instants(series):
    return [i * STEP_S for i in range(max(len(samples) for samples in series.values()))]


def our_states(program, rules, series):
    """By instant: {(device, "pending" or "firing")}."""
    lines, times = [], instants(series)
    for i, time in enumerate(times):
        for dev, samples in series.items():
            if i < len(samples) and samples[i] is not MISSING:
                lines.append({"t": time * 1000, "stream": "m", "fields": {"dev": dev, "v": samples[i]}})
        lines.append({"advance_to": time * 1000})
    with tempfile.TemporaryDirectory() as folder:
        rules_file, events_file = pathlib.Path(folder, "rules.sql"), pathlib.Path(folder, "events.jsonl")
        rules_file.write_text(rules)
        events_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        run = subprocess.run([program, "cep", "run", "--rules", rules_file, "--events", events_file],
                             capture_output=True, text=True, check=True, timeout=60)
    said = [json.loads(line) for line in run.stdout.splitlines()]
    states, now, place = {}, {}, 0
    for time in times:
        while place < len(said) and said[place]["t"] <= time * 1000:
            dev, kind = said[place]["fields"]["dev"], said[place]["kind"]
            now[dev] = kind
            place += 1
        # Pending that vanishes says nothing (43): it is over as soon as a sample is not true.
        states[time] = set()
        for dev, kind in now.items():
            samples = series[dev]
            sample = samples[time // STEP_S] if time // STEP_S < len(samples) else MISSING
            if kind == "pending" and sample is not MISSING and pending_is_over(rules, dev, series, time):
                now[dev] = kind = "quiet"
            if kind in ("pending", "firing"):
                states[time].add((dev, kind))
    assert place == len(said), "an output behind the last instant"
    return states


def pending_is_over(rules, dev, series, time):
    """Is the alert's condition not true at this instant? Asked of the engine too: a rule that prints each true row."""
    head, tail = rules.split(" ALERT ON ")
    condition = tail.split(" FOR ")[0].split(" CLEAR ")[0].split(" DO ")[0]
    window = " WINDOW " in head
    test = head + (" HAVING " if window else " WHERE ") + condition
    if not window:  # WHERE stands ahead of PARTITION BY
        test = head.replace(" PARTITION BY dev", f" WHERE {condition} PARTITION BY dev")
    else:
        test = test.replace(" HAVING v", f" HAVING {head.split('SELECT dev, ')[1].split(' AS ')[0]}")
    key = (test, dev, tuple(series[dev]))
    if key not in TRUE_ROWS:
        TRUE_ROWS[key] = true_rows(test + " DO log();\n", dev, series[dev])
    return time not in TRUE_ROWS[key]


TRUE_ROWS = {}
PROGRAM = None


def true_rows(rules, dev, samples):
    with tempfile.TemporaryDirectory() as folder:
        rules_file, events_file = pathlib.Path(folder, "rules.sql"), pathlib.Path(folder, "events.jsonl")
        rules_file.write_text(rules)
        events_file.write_text("".join(
            json.dumps({"t": i * STEP_S * 1000, "stream": "m", "fields": {"dev": dev, "v": sample}}) + "\n"
            for i, sample in enumerate(samples) if sample is not MISSING))
        run = subprocess.run([PROGRAM, "cep", "run", "--rules", rules_file, "--events", events_file],
                             capture_output=True, text=True, check=True, timeout=60)
    return {json.loads(line)["t"] // 1000 for line in run.stdout.splitlines()}


def prometheus_test(name, case, states):
    """The case as promtool's YAML (which JSON is)."""
    _, expr, hold, keep, series = case
    by_series = "absent" not in expr
    rule = {"alert": "a", "expr": expr, "for": f"{hold}s", "keep_firing_for": f"{keep}s"}
    if not by_series:
        rule["labels"] = {"dev": "x"}
    checks = [{"expr": "ALERTS", "eval_time": f"{time}s", "exp_samples": [
        {"labels": f'ALERTS{{alertname="a", alertstate="{state}", dev="{dev}"}}', "value": 1}
        for dev, state in sorted(alerts)]} for time, alerts in states.items()]
    values = {dev: " ".join("_" if sample is MISSING else str(sample) for sample in samples)
              for dev, samples in series.items()}
    test = {"interval": f"{STEP_S}s", "name": name, "promql_expr_test": checks, "input_series": [
        {"series": f'm{{dev="{dev}"}}', "values": text} for dev, text in values.items()]}
    return {"groups": [{"name": "g", "rules": [rule]}]}, test


def agrees(program, promtool, name, case):
    states = our_states(program, case[0], case[4])
    rules, test = prometheus_test(name, case, states)
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "rules.yml").write_text(json.dumps(rules))
        pathlib.Path(folder, "test.yml").write_text(json.dumps(
            {"rule_files": ["rules.yml"], "evaluation_interval": f"{STEP_S}s", "tests": [test]}))
        run = subprocess.run([promtool, "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True, timeout=60)
    if run.returncode != 0:
        print(f"{name}: promtool does not agree\n{case[0]}{case[4]}\n{run.stdout}{run.stderr}")
        return False
    return True


def main():
    global PROGRAM
    options = argparse.ArgumentParser()
    options.add_argument("program")
    options.add_argument("--seeds", type=int, default=30)
    options = options.parse_args()
    PROGRAM = os.path.abspath(options.program)
    promtool = shutil.which("promtool")
    if promtool is None:
        print("SKIPPED: no promtool (Debian package prometheus); alerts were NOT compared with Prometheus")
        return 77
    cases = list(CASES.items()) + list(random_cases(options.seeds))
    bad = [name for name, case in cases if not agrees(PROGRAM, promtool, name, case)]
    # The check itself: an alert that fires too early must not be agreed on.
    name, wrong = "for_is_over_at_its_very_end", list(CASES["for_is_over_at_its_very_end"])
    wrong[0] = on("ON v > 90 FOR 20s")
    print("expected to differ:")
    if agrees(PROGRAM, promtool, "an alert that fires too early", tuple(wrong)):
        bad.append("an alert that fires too early was agreed on")
    print(f"{len(cases)} cases, {len(CASES)} of them written, seeds 1 to {options.seeds}; "
          + (f"these differ: {', '.join(bad)}" if bad else "all agree with promtool"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
