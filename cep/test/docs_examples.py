#!/usr/bin/env python3
"""Runs the examples of docs/rules.md: what the text says that rules print, they must print.

    docs_examples.py LAMBDA RULES_MD

In a fenced block, CREATE STREAM and CREATE TABLE begin new declarations, events begin new events, and a CREATE RULE is
followed by its outputs, or by "-- column N: ..", its error. Rules of one block are created together, those with an
error each by itself. What a block does not give is what the last one gave; text that names a file of events, as in
`pumps.jsonl`, goes back to the events, and their declarations, that follow that name. Rows of tables are objects in the
text between two blocks.
"""
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path


class Rule:
    def __init__(self, line, text):
        self.line = line
        self.text = text
        self.outputs = []
        self.error = None

    def name(self):
        return re.match(r"CREATE RULE (\w+)", self.text).group(1)


class Block:
    def __init__(self):
        self.declarations = []
        self.events = []
        self.rules = []


def parse_block(lines, first):
    block = Block()
    number = 0
    while number < len(lines):
        line = lines[number]
        if re.match(r"CREATE (STREAM|TABLE)", line):
            block.declarations.append(line)
        elif line.startswith('{"rule"'):
            block.rules[-1].outputs.append(line)
        elif line.startswith("{"):
            block.events.append(line)
        elif line.startswith("-- column"):
            block.rules[-1].error = line[3:]
        elif line.startswith("CREATE RULE"):
            begin = number
            while not lines[number].rstrip().endswith(";"):
                number += 1
            block.rules.append(Rule(first + begin, "\n".join(lines[begin:number + 1])))
        else:
            raise SystemExit(f"line {first + number}: neither a statement, nor an event, nor an output: {line}")
        number += 1
    return block


def pieces(text):
    """Yields ("text", .., line) and ("block", lines, line) in turn."""
    prose, code, inside, first = [], [], False, 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("```"):
            if inside:
                yield "block", code, first
                code = []
            else:
                yield "text", " ".join(prose), first
                prose = []
            inside, first = not inside, number + 1
        else:
            (code if inside else prose).append(line)


class Runner:
    def __init__(self, program, folder):
        self.program = program
        self.folder = Path(folder)
        self.problems = []
        self.checked = 0

    def call(self, *args):
        done = subprocess.run([self.program, "cep", *args], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    def run(self, declarations, events, rules, tables):
        files = {"rules.sql": "\n".join(declarations + [rule.text for rule in rules]),
                 "events.jsonl": "\n".join(events)}
        options = []
        for name, rows in tables.items():
            files[f"{name}.jsonl"] = "\n".join(rows)
            options += ["--table", f"{name}={self.folder / name}.jsonl"]
        for name, text in files.items():
            (self.folder / name).write_text(text + "\n", encoding="utf-8")
        status, out, err = self.call("run", "--rules", str(self.folder / "rules.sql"), "--events",
                                     str(self.folder / "events.jsonl"), *options)
        if status != 0 or err:
            self.problems.append(f"line {rules[0].line}: exit {status}: {err}")
            return
        got = {}
        for line in out.splitlines():
            got.setdefault(json.loads(line)["rule"], []).append(line)
        for rule in rules:
            self.checked += 1
            if got.get(rule.name(), []) != rule.outputs:
                self.problems.append(f"line {rule.line}: rule {rule.name()} prints\n" +
                                     "\n".join(got.get(rule.name(), ["nothing"])) + "\nand not\n" +
                                     "\n".join(rule.outputs or ["nothing"]))

    def check(self, declarations, rule):
        path = self.folder / "rules.sql"
        path.write_text("\n".join(declarations + [rule.text]) + "\n", encoding="utf-8")
        status, _, err = self.call("check", str(path))
        expected = rule.error.replace("column ", f"{path}:{len(declarations) + 1}:") + "\n"
        self.checked += 1
        if status != 2 or err != expected:
            self.problems.append(f"line {rule.line}: exit {status}, {err!r}, and not {expected!r}")


def tables_of(declarations, prose, before):
    """Rows in the text go to the table that has their columns; without new ones it keeps those of `before`."""
    out = {}
    for declaration in declarations:
        found = re.match(r"CREATE TABLE (\w+) \((.*)\)", declaration)
        if found:
            columns = {column.split()[0] for column in found.group(2).split(",")}
            rows = re.findall(r"`(\{[^`]*\})`", prose)
            fitting = [row for row in rows if set(json.loads(row)) == columns]
            out[found.group(1)] = fitting or before.get(found.group(1), [])
    return out


def main():
    program, document = sys.argv[1:]
    named = {}
    declarations, events, pending, tables, rows_text, file_name = [], [], [], {}, "", None
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(program, folder)
        for kind, content, line in pieces(Path(document).read_text(encoding="utf-8")):
            if kind == "text":
                names = re.findall(r"`(\w+\.jsonl)`", content)
                file_name = names[-1] if names else None
                if file_name in named:
                    declarations, events = named[file_name]
                rows_text = content
                continue
            if content and content[0].startswith('{"rule"'):  # what the rule of the blocks ahead prints
                block = Block()
                block.rules, pending = pending, []
                block.rules[0].outputs = content
            else:
                block = parse_block(content, line)
            declarations = block.declarations or declarations
            events = block.events or events
            if file_name and block.events:
                named[file_name] = (declarations, events)
            wrong = [rule for rule in block.rules if rule.error]
            right = [rule for rule in block.rules if not rule.error]
            if right and not any(rule.outputs for rule in right):
                pending = right  # its outputs are another block
                continue
            tables = tables_of(declarations, rows_text, tables)
            if right:
                runner.run(declarations, events, right, tables)
            for rule in wrong:
                runner.check(declarations, rule)
        for problem in runner.problems:
            print(problem)
        print(f"{runner.checked} rules checked")
        return 1 if runner.problems or runner.checked < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
