#!/usr/bin/env python3
"""`lambda top` as somebody sees it who types it: of a real agent and a real gateway, on a terminal, in a pipe, while the
agent is away."""
import contextlib
import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "fault"))
from harness import case, main, wait_until  # noqa: E402

DONE, UNREACHABLE = 0, 3   # cli/README.md
QUICK = "".join(f"[sources.{source}]\ninterval_ms = 500\n" for source in ("processes", "time"))
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8"}


def once(world, *arguments, code=DONE):
    done = subprocess.run([str(world.binaries / "lambda"), "top", "--once", *arguments], capture_output=True, text=True,
                          timeout=120, env=ENVIRONMENT)
    assert done.returncode == code, f"exit {done.returncode}, expected {code}\n{done.stdout}{done.stderr}"
    return done.stdout


def agent_url(agent):
    return f"http://127.0.0.1:{agent.port}"


def rows(frame):
    """First words of the lines -> the lines."""
    return {line.split("  ")[0].strip(): line for line in frame.splitlines() if line.strip()}


@case
def one_frame_of_a_machine_is_plain_text(options):
    with options.world("top-agent") as world:
        agent = world.make_agent("press-7", sources=QUICK, urls=[])
        world.start_agent(agent)
        wanted = {"cpu", "load 1m", "memory", "net in", "net out", "fullest disk", "PROCESS"}

        def whole_frame():
            shown = once(world, "--agent", agent_url(agent))
            return shown if wanted <= rows(shown).keys() and re.search(r"% cpu, [\d.]+ MB", shown) else None

        frame = wait_until("every line being known", whole_frame, 60)
        lines = frame.splitlines()
        assert len(lines) <= 24 and max(map(len, lines)) <= 80, frame
        assert "\x1b" not in frame
        assert lines[0].startswith("press-7, up "), lines[0]
        total = int(re.search(r"MemTotal: +(\d+) kB", pathlib.Path("/proc/meminfo").read_text())[1]) * 1024
        shown = re.search(r"of ([\d.]+) GB", rows(frame)["memory"])
        assert shown and abs(float(shown[1]) * 1e9 - total) <= 0.05 * total + 5e7, (rows(frame)["memory"], total)
        assert f"of {os.cpu_count()} cores" in rows(frame)["cpu"]
        assert re.search(r"agent \d\S*: \d+ series, \d+ points made", frame), frame
        assert "uplink: not enrolled; waiting: 0 parcels" in frame, frame
        assert "\x1b" not in once(world, "--ascii", "--agent", agent_url(agent))
        # Away: what --help promises.
        agent.kill()
        assert once(world, "--agent", agent_url(agent), code=UNREACHABLE) == ""


@case
def a_site_is_a_line_for_each_device(options):
    with options.world("top-site") as world:
        world.start_gateway()
        agent = world.make_agent("press-7", seal_ms=500, sources=QUICK)
        world.enrol(agent)
        world.start_agent(agent)
        url = f"http://127.0.0.1:{world.gateway_port}"

        def line():
            frame = once(world, "--gateway", url)
            assert "\x1b" not in frame
            # How far behind it is shows with its first parcel; its figures may come ahead of that, live.
            wanted = r"press-7 +online +-?[\d.]+ s .* [\d.]+ %"
            return next((text for text in frame.splitlines() if re.match(wanted, text)), None)

        assert wait_until("the device being shown with its lag and its processor time", line, 90)


class Terminal:
    """`lambda top` on a terminal of its own."""

    def __init__(self, world, columns, lines, *arguments):
        self.master, slave = pty.openpty()
        self.resize(columns, lines)
        self.text = ""
        self.process = subprocess.Popen([str(world.binaries / "lambda"), "top", *arguments], stdin=slave, stdout=slave,
                                        stderr=slave, env=ENVIRONMENT, start_new_session=True)
        os.close(slave)

    def resize(self, columns, lines):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def pump(self):
        while select.select([self.master], [], [], 0)[0]:
            with contextlib.suppress(OSError):
                got = os.read(self.master, 65536).decode(errors="replace")
                self.text += got
                if got:
                    continue
            return

    def frames(self):
        """What each whole frame shows, without its dress."""
        self.pump()
        whole = [piece.split("\x1b[J")[0] for piece in self.text.split("\x1b[H")[1:] if "\x1b[J" in piece]
        return [[re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).replace("\r", "") for line in frame.split("\n")]
                for frame in whole]

    def shows(self, what, seconds=60):
        """Waits for a frame from now on that `what` holds of."""
        before = len(self.frames())
        return wait_until("the screen showing it", lambda: next((frame for frame in self.frames()[before:] if what(frame)),
                                                                None), seconds)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            self.pump()   # or it could not write its last words
            time.sleep(0.05)
        self.pump()
        assert self.process.returncode == DONE, self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        os.close(self.master)


@case
def a_terminal_is_followed_and_given_back_whatever_the_agent_does(options):
    with options.world("top-terminal") as world:
        agent = world.make_agent("press-7", sources=QUICK, urls=[])
        world.start_agent(agent)
        terminal = Terminal(world, 80, 24, "--agent", agent_url(agent))
        try:
            def fits(columns, lines):
                return lambda frame: (len(frame) <= lines and max(map(len, frame)) <= columns and
                                      any(line.startswith("memory") for line in frame))

            first = terminal.shows(fits(80, 24))
            assert max(map(len, first)) > 60, "the width is used"
            terminal.resize(132, 40)
            terminal.shows(lambda frame: max(map(len, frame)) > 110)
            terminal.resize(40, 10)
            terminal.shows(fits(40, 10))
            terminal.resize(100, 30)
            agent.kill()
            away = terminal.shows(lambda frame: any("not fresh, asking again" in line for line in frame))
            assert any(line.startswith("memory") for line in away), "what was known stays"
            world.start_agent(agent)
            terminal.shows(lambda frame: not any("not fresh" in line for line in frame))
            terminal.end()
            assert terminal.text.startswith("\x1b[?1049h\x1b[?25l"), terminal.text[:40]
            assert terminal.text.endswith("\x1b[?25h\x1b[?1049l"), terminal.text[-40:]
        finally:
            terminal.close()


@case
def without_a_terminal_frames_come_one_below_the_other(options):
    with options.world("top-pipe") as world:
        agent = world.make_agent("press-7", sources=QUICK, urls=[])
        world.start_agent(agent)
        process = subprocess.Popen([str(world.binaries / "lambda"), "top", "--agent", agent_url(agent)],
                                   stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        try:
            seen = []
            while sum(line.startswith("press-7") for line in seen) < 3:
                line = process.stdout.readline()
                assert line, f"it ended: {seen}"
                seen.append(line)
            assert "\x1b" not in "".join(seen)
            process.stdout.close()   # as head does: the next frame cannot be written
            assert process.wait(60) != 0
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(20)


if __name__ == "__main__":
    sys.exit(main())
