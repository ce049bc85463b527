#!/usr/bin/env python3
"""The rules of this repository that a compiler does not know.

  tidy.py includes              who may include whom (docs/ARCHITECTURE.md, "Who may include whom")
  tidy.py calls                 no call to the operating system outside base/os and sdk/port
  tidy.py built COMPILE_COMMANDS  every source and test file is built by some target
  tidy.py readmes               each top-level folder says what it is, in at most 40 lines
  tidy.py self                  each rule above is shown to fail on a planted offence

Prints file:line: what is wrong, for each offence. Exit status 1 if there is one.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# First path component -> components it may include. `lambda` is sdk/include, `proto` the generated messages.
MAY_INCLUDE = {
    "sdk": {"lambda", "sdk", "proto"},
    "base": {"base", "lambda"},
    "cep": {"cep", "base", "lambda"},
    "query": {"query", "base", "lambda"},
    "agent": {"agent", "base", "lambda", "query", "proto"},
    "gateway": {"gateway", "base", "lambda", "query", "cep", "proto"},
    "cli": {"cli", "base", "lambda", "query", "gateway", "agent", "cep", "proto"},
    "boards": {"boards", "lambda"},
    "bench": None,
    "tests": None,
}
# Inside a folder: room -> rooms of the same folder it may include. Files beside the rooms compose all of them.
CEP_MAY_INCLUDE = {
    "language": {"language"},
    "stream": {"stream", "language"},
    "machine": {"machine", "stream", "language"},
}
GATEWAY_MAY_INCLUDE = {
    "store": {"store"},
    "site": {"site"},
    "broker": {"broker", "site"},
    "ingest": {"ingest", "store", "site"},
    "live": {"live", "ingest", "store", "site"},
    "questions": {"questions", "ingest", "store"},
    "rules": {"rules", "store"},
    "handoff": {"handoff", "store"},
    "ring": {"ring", "store", "handoff"},
    "anchor": {"anchor", "store", "light"},
    "light": {"light"},
    "api": None,
}
ROOMS = {"cep": CEP_MAY_INCLUDE, "gateway": GATEWAY_MAY_INCLUDE}
OURS = set(MAY_INCLUDE) | {"lambda", "proto"}

# What only base/os and sdk/port may say. main.cpp of a program builds the real world but still through base/os.
BANNED = [
    (r"\bstd::(thread|jthread|async)\b", "threads belong to base/os"),
    (r"\bstd::chrono::\w+_clock\b|\b(gettimeofday|clock_gettime|time)\s*\(\s*(NULL|nullptr|0|&|CLOCK)", "time comes from Clock"),
    (r"\bstd::(random_device|mt19937(_64)?)\b|(?<![\w.>])s?rand(om)?\s*\(\s*\)|\bgetrandom\s*\(", "randomness comes from Random"),
    (r"\bstd::(basic_)?[io]?fstream\b|(?<![\w:.>])f?open(at)?\s*\(\s*\"|\bfopen\s*\(|(?<!\w)::open\s*\(", "files are reached through Disk"),
    (r"\bstd::filesystem\b", "files are reached through Disk"),
    (r"(?<![\w.>])(socket|accept4?|getaddrinfo|recvfrom|sendto)\s*\(", "sockets belong to base/os"),
    (r"(?<![\w.>])(fork|execv[pe]*|posix_spawnp?|system|popen)\s*\(", "processes belong to base/os"),
    (r"(?<![\w.>])(u?sleep|nanosleep)\s*\(|\bsleep_(for|until)\b", "waiting is a timer of EventLoop"),
    (r"#\s*include\s*<(mqtt/|MQTT|boost/|sys/socket|sys/stat|unistd|fcntl|sys/statvfs|thread|fstream|filesystem)", "this header belongs to base/os"),
]
BANNED_EXEMPT = ("base/os/", "sdk/port/", "tests/", "bench/", "boards/")
SOURCE = re.compile(r"\.(h|c|cpp)$")


def tracked(root):
    listing = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True)
    return [p for p in listing.stdout.splitlines() if os.path.exists(os.path.join(root, p))]


def lines(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()


def is_test(path):
    """Tests, and what only tests link: x_test.cpp, test_world.h, a model beside the thing it models."""
    helper = re.search(r"(^|/)(test_\w+|\w*model)\.(h|cpp)$", path)
    return path.endswith(("_test.cpp", "_test.c")) or path.startswith("tests/") or "/test/" in path or helper is not None


def without_comment(line):
    return re.sub(r"//.*", "", line)


def check_includes(root):
    offences = []
    for path in filter(SOURCE.search, tracked(root)):
        owner = path.split("/")[0]
        allowed = MAY_INCLUDE.get(owner, set())
        if allowed is None or is_test(path):
            continue
        for number, line in enumerate(lines(root, path), 1):
            found = re.match(r'\s*#\s*include\s*[<"]([^">]+)[">]', line)
            if not found:
                continue
            parts = found.group(1).split("/")
            if len(parts) < 2 or parts[0] not in OURS:
                continue
            if parts[0] not in allowed:
                offences.append(f"{path}:{number}: {owner} may not include {found.group(1)}")
            elif owner in ROOMS and parts[0] == owner and path.count("/") > 1:
                room = path.split("/")[1]
                inner = ROOMS[owner].get(room, set())
                # A room never looks up to what composes it; the gateway's few words for all rooms lie beside them.
                if inner is not None and (parts[1] not in inner if len(parts) > 2 else owner == "cep"):
                    offences.append(f"{path}:{number}: {owner}/{room} may not include {found.group(1)}")
            elif parts[0] == "base" and parts[1] == "os" and owner != "base" and not path.endswith("main.cpp") and owner != "cli":
                offences.append(f"{path}:{number}: only a main.cpp includes base/os; take what you need from Env")
    return offences


def check_calls(root):
    offences = []
    for path in filter(SOURCE.search, tracked(root)):
        if path.startswith(BANNED_EXEMPT) or is_test(path):
            continue
        for number, line in enumerate(lines(root, path), 1):
            for pattern, why in BANNED:
                if re.search(pattern, without_comment(line)):
                    offences.append(f"{path}:{number}: {why}: {line.strip()}")
    return offences


def check_built(root, compile_commands):
    with open(compile_commands, encoding="utf-8") as file:
        built = {os.path.relpath(os.path.realpath(entry["file"]), os.path.realpath(root)) for entry in json.load(file)}
    listed = ""
    for path in tracked(root):
        if path.endswith(("CMakeLists.txt", ".cmake")):
            listed += "\n".join(lines(root, path))
    offences = []
    for path in tracked(root):
        name = os.path.basename(path)
        if path.endswith((".cpp", ".c")) and path not in built and not re.search(rf"\b{re.escape(name)}\b", listed):
            offences.append(f"{path}:1: no target builds this file")
        if path.startswith("tests/") and path.endswith("_test.py") and not re.search(rf"\b{re.escape(name)}\b", listed):
            offences.append(f"{path}:1: no target runs this test")
    return offences


def check_readmes(root):
    offences = []
    folders = {p.split("/")[0] for p in tracked(root) if "/" in p and p.split("/")[0] in MAY_INCLUDE}
    for folder in sorted(folders - {"bench"}):
        path = f"{folder}/README.md"
        if not os.path.exists(os.path.join(root, path)):
            offences.append(f"{path}:1: missing")
            continue
        text = lines(root, path)
        if len(text) > 40:
            offences.append(f"{path}:41: longer than 40 lines")
        for heading in ("What it is", "In and out", "May include", "How to test"):
            if not any(re.match(rf"#+ {heading}", line) for line in text):
                offences.append(f"{path}:1: no heading \"{heading}\"")
    return offences


def check_self():
    """Plants one offence of each sort in a small repository and demands that it is found, and that clean code is not."""
    failures = []

    def expect(what, offences, wanted):
        if len(offences) != wanted:
            failures.append(f"tests/tidy/tidy.py:1: {what}: {len(offences)} offences found, {wanted} planted: {offences}")

    with tempfile.TemporaryDirectory() as root:
        subprocess.run(["git", "-C", root, "init", "-q"], check=True)

        def write(path, text):
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)

        write("query/a.h", '#include "base/result.h"\n#include "lambda/block.h"\n#include <string>\n')
        write("query/README.md", "# Query\n## What it is\n## In and out\n## May include\n## How to test\n")
        expect("clean includes", check_includes(root), 0)
        expect("clean calls", check_calls(root), 0)
        expect("clean readmes", check_readmes(root), 0)
        write("query/b.cpp", '#include "gateway/node.h"\n#include "base/os/disk.h"\n')
        write("gateway/store/c.cpp", '#include "gateway/ingest/ingest.h"\n')
        write("cep/language/c.cpp", '#include "cep/language/plan.h"\n#include "cep/machine/rule.h"\n#include "cep/engine.h"\n')
        expect("includes", check_includes(root), 5)
        write("agent/d.cpp", "auto t = std::chrono::steady_clock::now();\nint s = socket(AF_INET, 0, 0);\n// std::thread in words is fine\nstd::thread t;\n")
        expect("calls", check_calls(root), 3)
        write("compile_commands.json", json.dumps([{"file": os.path.join(root, "query/b.cpp")}]))
        write("tests/e2e/x_test.py", "")
        expect("built", check_built(root, os.path.join(root, "compile_commands.json")), 4)
        expect("readmes", check_readmes(root), 4)  # agent, cep, gateway and tests have none
    return failures


def main(arguments):
    if not arguments:
        sys.exit(__doc__)
    rule = arguments[0]
    if rule == "includes":
        offences = check_includes(ROOT)
    elif rule == "calls":
        offences = check_calls(ROOT)
    elif rule == "built" and len(arguments) == 2:
        offences = check_built(ROOT, arguments[1])
    elif rule == "readmes":
        offences = check_readmes(ROOT)
    elif rule == "self":
        offences = check_self()
    else:
        sys.exit(__doc__)
    for offence in offences:
        print(offence)
    print(f"tidy {rule}: {len(offences)} offences")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
