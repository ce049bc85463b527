"""A site of real processes for tests: gateway with mosquitto, agents, devices; TLS, free ports, time limits.

Every process is started here and ended here, by its pid. On failure the logs are shown and the folder is kept.
"""
import contextlib
import functools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "check"))
import balance  # noqa: E402

LOG_LINES_SHOWN = 40
HASTY_UPLINK = "answer_timeout_ms = 1000\nanswer_timeout_ms_max = 4000\nbackoff_ms_max = 2000"   # tests are short

# For programs that were built with an address sanitizer; others do not read it. Call chains are followed through
# libraries, so that what is excused is a library's leak and no other.
SANITIZER = {"ASAN_OPTIONS": "fast_unwind_on_malloc=0:malloc_context_size=20",
             "LSAN_OPTIONS": f"print_suppressions=0:suppressions={pathlib.Path(__file__).with_name('leaks_of_libraries.txt')}"}

_ports = set()


def free_port():
    """A port nobody listens on, never the same twice, and below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randint(15_000, 32_000)
        if port in _ports:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _ports.add(port)
            return port


class Program:
    """One process at a time, and its log."""

    def __init__(self, name, command, folder, environment=None):
        self.name, self.command = name, [str(part) for part in command]
        self.log = pathlib.Path(folder) / f"{name}.log"
        self.environment = {**os.environ, **SANITIZER, **(environment or {})}
        self.process = None
        self.kills = 0

    def start(self):
        assert self.process is None, f"{self.name} runs already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=self.environment)

    def errors(self):
        """Lines of its log that are errors."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [line for line in lines if line.split(" ")[1:2] == ["error"]]

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.kills += 1

    def stop(self, seconds=20):
        """SIGTERM. An error if it ends with another status than 0, or past the limit: then SIGKILL."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} did not end within {seconds} s of SIGTERM") from None
        if status != 0:
            raise AssertionError(f"{self.name} ended with status {status}")


def get(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def wait_until(what, condition, seconds, step=0.1):
    """Asks until it is true and returns what it said."""
    deadline = time.monotonic() + seconds
    problem = None
    while time.monotonic() < deadline:
        try:
            found = condition()
            if found:
                return found
        except (OSError, ValueError, KeyError) as error:
            problem = error
        time.sleep(step)
    raise AssertionError(f"{what} did not happen within {seconds} s" + (f" ({problem!r})" if problem else ""))


class World:
    """`binaries` has lambda-gateway, lambda-agent and lambda."""

    def __init__(self, binaries, name, site="hall"):
        self.binaries = pathlib.Path(binaries)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"lambda-{name}-"))
        self.site = site
        self.programs = []
        self.agents = {}
        self.gateway = None
        self.gateway_store = self.folder / "gateway"
        self.broker_port, self.gateway_port = free_port(), free_port()

    # --- gateway ---

    def configure_gateway(self, extra="", store=None, broker="", merge_interval_ms=60_000, http=""):
        self.gateway_store = pathlib.Path(store) if store else self.gateway_store
        (self.folder / "gateway.toml").write_text(f"""\
[gateway]
id = "fog-1"

[site]
name = "{self.site}"
directory = "{self.folder}/site"

[store]
directory = "{self.gateway_store}"
free_bytes_min = 0
free_bytes_resume = 0
merge_interval_ms = {merge_interval_ms}

[broker]
port = {self.broker_port}
{broker}
[http]
port = {self.gateway_port}
{http}
{extra}""")

    def make_gateway(self, environment=None, prefix=(), **options):
        self.configure_gateway(**options)
        self.gateway = Program("gateway", [*prefix, self.binaries / "lambda-gateway", "--config",
                                           self.folder / "gateway.toml"], self.folder, environment)
        self.programs.append(self.gateway)
        return self.gateway

    def gateway_ready(self):
        return get(f"http://127.0.0.1:{self.gateway_port}/readyz", 2) is not None

    def start_gateway(self, seconds=30, **options):
        if self.gateway is None:
            self.make_gateway(**options)
        self.gateway.start()
        wait_until("the gateway being ready", self.gateway_ready, seconds)

    def broker_pid(self):
        """The child mosquitto of the gateway."""
        children = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(self.gateway.pid)], capture_output=True,
                                  text=True, timeout=10).stdout.split("\n")
        found = [int(line.split()[0]) for line in children if "mosquitto" in line]
        return found[0] if found else None

    def kill_broker(self):
        pid = wait_until("a broker running", self.broker_pid, 15)
        os.kill(pid, signal.SIGKILL)

    def segment_bytes(self):
        return sum(path.stat().st_size for path in self.gateway_store.rglob("seg-*.lam"))

    def wait_stored_again(self, what, seconds, more_than=0):
        """Until segments have grown; merging makes them smaller in between."""
        least = self.segment_bytes()

        def grown():
            nonlocal least
            now = self.segment_bytes()
            least = min(least, now)
            return now > least + more_than

        wait_until(what, grown, seconds)

    @functools.cached_property
    def is_sanitized(self):
        """Whether the programs carry AddressSanitizer, whose own memory says nothing about theirs."""
        return b"__asan_init" in (self.binaries / "lambda-agent").read_bytes()

    def metrics(self, port=None):
        """name{labels} -> value."""
        found = {}
        for line in get(f"http://127.0.0.1:{port or self.gateway_port}/metrics").splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                with contextlib.suppress(ValueError):
                    found[name] = float(value)
        return found

    # --- agents ---

    def make_agent(self, name, series=0, interval_ms=1000, seal_ms=1000, extra="", state=None, urls=None, environment=None,
                   prefix=(), sources=None, uplink=HASTY_UPLINK, http=""):
        state = pathlib.Path(state) if state else self.folder / name
        port = free_port()
        if sources is None:
            # Only the synthetic source: its values are unique.
            names = ("cpu", "memory", "load", "disk", "filesystem", "network", "pressure", "sockets", "processes", "time",
                     "sensors", "cgroup", "self")
            sources = "".join(f"[sources.{source}]\nenabled = false\n" for source in names) if series else ""
            if series:
                sources += f"[sources.synthetic]\nenabled = true\nseries = {series}\ninterval_ms = {interval_ms}\n"
        if urls is None:
            urls = [f"mqtts://localhost:{self.broker_port}"]   # none at all: those of the bundle
        config = self.folder / f"{name}.toml"
        config.write_text(f"""\
[agent]
device = "{name}"
state = "{state}"

[uplink]
gateways = {json.dumps(urls)}
{uplink}

[seal]
age_ms = {seal_ms}

[journal]
keep = true

[http]
port = {port}
{http}

{sources}
{extra}""")
        agent = Program(name, [*prefix, self.binaries / "lambda-agent", "--config", config], self.folder, environment)
        agent.config, agent.state, agent.port = config, state, port
        self.programs.append(agent)
        self.agents[name] = agent
        return agent

    def enrol(self, agent, *options):
        """Enrols an agent by the command line, or a test device."""
        bundle = self.folder / f"{agent.name}.bundle"
        if hasattr(agent, "request"):
            request = agent.request()
        else:
            request = self.folder / f"{agent.name}.request"
            self.call(self.binaries / "lambda-agent", "--config", agent.config, "--request", request)
        self.call(self.binaries / "lambda", "enroll", request, "--site", self.folder / "site", "--out", bundle, *options)
        if hasattr(agent, "install"):
            agent.install(bundle)
        else:
            self.call(self.binaries / "lambda-agent", "--config", agent.config, "--install", bundle)

    def start_agent(self, agent, seconds=20):
        agent.start()
        wait_until(f"{agent.name} being ready", lambda: get(f"http://127.0.0.1:{agent.port}/readyz", 2) is not None, seconds)

    def status(self, agent):
        return json.loads(get(f"http://127.0.0.1:{agent.port}/api/v1/lambda/status"))

    def backlog(self, agent):
        return self.status(agent)["backlog_parcels"]

    def drain(self, agent, seconds=30, parcels=1):
        """Waits until the agent has at most `parcels` unsettled ones (it goes on making points)."""
        wait_until(f"{agent.name} being drained", lambda: self.backlog(agent) <= parcels, seconds)

    # --- others ---

    def call(self, *command, code=0, seconds=60):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=seconds)
        if code is not None and done.returncode != code:
            raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}, expected {code}\n"
                                 f"{done.stdout}{done.stderr}")
        return done

    def query(self, expression, port=None):
        asked = urllib.parse.urlencode({"query": expression})
        answer = json.loads(get(f"http://127.0.0.1:{port or self.gateway_port}/api/v1/query?{asked}"))
        return answer["data"]["result"]

    def stop_all(self):
        for program in self.programs:
            if program.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    program.signal(signal.SIGCONT)
                program.stop()

    def balance(self, agents=None, agent_state_lost=False, stored_min_percent=0, gateways=None):
        """The checker's totals, of programs that have ended; fails unless they hold."""
        if agents is None:
            agents = [agent.state for agent in self.agents.values()]
        found, totals = balance.run(gateways or [self.gateway_store], [agent for agent in agents if agent.exists()],
                                    agent_state_lost, [self.folder / "site"])
        print(json.dumps(totals), flush=True)
        print("   " + ", ".join(f"{count} {what}" for what, count in found.stats.items()), flush=True)
        for complaint in found.complaints:
            print("  " + complaint)
        assert balance.holds(totals, stored_min_percent), f"the balance does not hold: {totals}"
        assert totals["made"] > 0, "nothing was made: nothing was tested"
        assert totals["unverified"] == 0, f"{totals['unverified']} signatures are of devices that nobody enrolled"
        assert totals["signatures"] > 0 or totals["stored"] == 0, "no signature was verified"
        totals["stats"] = found.stats
        times = [time for points in found.stored.values() for _, piece, _ in points.pieces for time in piece]
        totals["span_ms"] = max(times) - min(times) if times else 0
        return totals


@contextlib.contextmanager
def world(binaries, name, **options):
    """Ends every process at the end; on failure shows the logs' ends and keeps the folder."""
    made = World(binaries, name, **options)
    try:
        yield made
    except BaseException:
        traceback.print_exc()
        for program in made.programs:
            if program.log.exists():
                lines = program.log.read_text(errors="replace").splitlines()
                print(f"-- end of {program.log}", *lines[-LOG_LINES_SHOWN:], sep="\n", file=sys.stderr)
        print(f"-- kept: {made.folder}", file=sys.stderr)
        for program in made.programs:
            program.kill()
        raise
    for program in made.programs:
        program.kill()
    shutil.rmtree(made.folder, ignore_errors=True)
