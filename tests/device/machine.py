"""Devices for tests: the firmware in QEMU or as a process, enrolled with a real site, started and ended by pid."""
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from world import Program  # noqa: E402

PROVISION = ROOT / "boards" / "provision.py"
MEMORY_AT = {"mps2-an385": 0x00000000, "mps2-an386": 0x00000000, "mps2-an505": 0x10000000}
IDENTITY_OFFSET = 0x003F0000
WALL_S_MAX = 600


def skip(reason):
    print(f"\n*** SKIPPED, NOTHING IS PROVEN: {reason} ***\n")
    sys.exit(77)


class Device:
    """A device of a world: keys, identity, and the program that is its life. `board` is host or a machine of QEMU."""

    def __init__(self, world, board, firmware, name="press-7"):
        self.world, self.board, self.firmware, self.name = world, board, firmware, name
        self.folder = world.folder / f"device-{name}"
        self.folder.mkdir()
        self.keys, self.identity = self.folder / "keys", self.folder / "identity.bin"
        self.serial = self.folder / "serial.log"
        self.monitor_path = self.folder / "monitor.sock"
        self.program = None

    # --- enrolment, as world.enrol() asks for it ---

    def request(self):
        path = self.folder / f"{self.name}.request"
        self.world.call(sys.executable, PROVISION, "request", "--device", self.name, "--keys", self.keys, "--out", path)
        return path

    def install(self, bundle):
        self.bundle = pathlib.Path(bundle)

    def write_identity(self, port=None, broker_name="localhost", **options):
        """`options` are those of provision.py image, with _ for -."""
        command = [sys.executable, PROVISION, "image", "--keys", self.keys, "--bundle", self.bundle, "--out", self.identity,
                   "--broker-port", port or self.world.broker_port, "--broker-name", broker_name,
                   "--broker-address", "127.0.0.1" if self.board == "host" else "10.0.2.2"]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), value]
        self.world.call(*command)

    # --- its life ---

    def command(self):
        if self.board == "host":
            return [self.firmware, "--identity", self.identity, "--saved", self.folder / "saved.bin",
                    "--flash", self.folder / "flash.bin"]
        identity_at = MEMORY_AT[self.board] + IDENTITY_OFFSET
        return ["qemu-system-arm", "-M", self.board, "-nographic", "-serial", f"file:{self.serial}",
                "-monitor", f"unix:{self.monitor_path},server=on,wait=off", "-nic", "user,id=n0,model=lan9118",
                "-semihosting-config", "enable=on,target=native",
                "-device", f"loader,file={self.identity},addr={identity_at:#x},force-raw=on", "-kernel", self.firmware]

    def start(self):
        if self.program is None:
            self.program = Program(self.name, self.command(), self.folder)
            self.world.programs.append(self.program)
        self.program.start()

    def stop(self):
        """Pulls the plug: a device has no other end."""
        self.program.kill()

    def monitor(self, line):
        """A command of QEMU's human monitor; returns what it said."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.monitor_path))
            said = b""
            while not said.endswith(b"(qemu) "):
                said += connection.recv(4096)
            connection.sendall(line.encode() + b"\n")
            said = b""
            while not said.endswith(b"(qemu) "):
                part = connection.recv(4096)
                if not part:
                    break
                said += part
            return said.decode(errors="replace")

    def set_link(self, up):
        self.monitor(f"set_link n0 {'on' if up else 'off'}")

    def reset(self):
        self.monitor("system_reset")

    # --- what it says ---

    def lines(self):
        path = self.program.log if self.board == "host" else self.serial
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def lines_of_starts(self):
        return [number for number, line in enumerate(self.lines()) if line.split(" ")[1:2] == ["start"]]

    def events(self, name, from_line=0):
        """The fields of each line `<ms> name field=value ...`, in order."""
        found = []
        for line in self.lines()[from_line:]:
            parts = line.split(" ")
            if len(parts) >= 2 and parts[1] == name and parts[0].isdigit():
                found.append({"ms": int(parts[0]), **dict(part.split("=", 1) for part in parts[2:] if "=" in part)})
        return found

    def last(self, name):
        """The numbers of its last line of that name since it began; empty when there is none yet."""
        began = self.lines_of_starts()
        found = self.events(name, began[-1] if began else 0)
        return {field: int(value) for field, value in found[-1].items() if re.fullmatch(r"\d+", str(value))} if found else {}

    def boots(self):
        return [int(event["boot"], 16) for event in self.events("device")]

    def lived_ms(self):
        """How long it has run, by its own clock: an emulated processor that gets no turn stands still."""
        lived = last = 0
        for line in self.lines():
            parts = line.split(" ")
            if len(parts) < 2 or not parts[0].isdigit():
                continue
            if parts[1] == "start":
                lived, last = lived + last, 0
            last = max(last, int(parts[0]))
        return lived + last

    def wait(self, what, condition, seconds):
        """Asks until it is true. The limit is the device's own time, and in any case WALL_S_MAX or twice it."""
        started, born_ms = time.monotonic(), self.lived_ms()
        while True:
            try:
                found = condition()
            except (OSError, ValueError, KeyError):
                found = None   # nothing said yet
            if found:
                return found
            waited = time.monotonic() - started
            if waited > max(WALL_S_MAX, 2 * seconds) or (waited > seconds and self.lived_ms() - born_ms > seconds * 1000):
                raise AssertionError(f"{what} did not happen within {seconds} s of {self.name}'s time ({waited:.0f} s)")
            time.sleep(0.2)

    def wait_event(self, name, count, seconds):
        return self.wait(f"{count} x {name}", lambda: len(self.events(name)) >= count and self.events(name), seconds)

    def wait_settled(self, more, seconds):
        """Until `more` points beyond those settled now are."""
        before = self.last("stats").get("settled", 0)
        return self.wait(f"{more} more points being settled",
                         lambda: self.last("stats").get("settled", 0) >= before + more, seconds)
