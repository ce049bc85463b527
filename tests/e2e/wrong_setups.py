#!/usr/bin/env python3
"""What an operator gets wrong: each mistake ends the program at its start, with an exit status that is not 0 and one
line that names the thing to mend. --check-config finds what can be found without touching anything."""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from harness import Skip, case, main, wait_until, worlds  # noqa: E402

SECONDS_MAX = 60   # a program that is still there then has not noticed


class Setup:
    """A folder, a configuration by dotted keys, and the program that is given it."""

    def __init__(self, world, program, number):
        self.world, self.program = world, world.binaries.resolve() / f"lambda-{program}"
        self.folder = world.folder / f"{program}-{number}"
        self.folder.mkdir()
        self.config = self.folder / f"{program}.toml"
        self.extra = ""
        self.environment = dict(os.environ)
        self.processes = []
        self.mounts = []
        self.arguments = ()
        if program == "gateway":
            self.keys = {"gateway.id": '"fog-1"', "site.name": '"hall"', "site.directory": f'"{self.folder}/site"',
                         "store.directory": f'"{self.folder}/store"', "broker.port": worlds.free_port(),
                         "broker.address": '"127.0.0.1"', "http.port": worlds.free_port()}
        else:
            self.keys = {"agent.device": '"press-7"', "agent.state": f'"{self.folder}/state"',
                         "http.port": worlds.free_port()}

    def write(self):
        self.config.write_text("".join(f"{key} = {value}\n" for key, value in self.keys.items()) + self.extra)

    def run(self, *arguments):
        """(exit status, standard error)."""
        command = [str(self.program), "--config", str(self.config), *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder,
                                   env=self.environment, stdin=subprocess.DEVNULL)
        try:
            _, said = process.communicate(timeout=SECONDS_MAX)
            return process.returncode, said
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
            return None, said

    def start(self):
        """Runs it beside, until the end of the case."""
        self.write()
        log = open(self.folder / "beside.log", "ab")
        with log:
            process = subprocess.Popen([self.program, "--config", self.config], stdout=log, stderr=log,
                                       stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    @contextlib.contextmanager
    def made_site(self):
        """A gateway's site, while the gateway runs."""
        process = self.start()
        site = self.folder / "site"
        wait_until("the site being made", (site / "crl.pem").exists, 60)
        yield site
        process.terminate()
        process.wait(30)

    def small_disk(self):
        """A full tmpfs; its path."""
        mount = self.folder / "small"
        mount.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)], capture_output=True,
                              timeout=20)
        if done.returncode != 0:
            raise Skip("no tmpfs can be mounted here (not root?), so no disk can be filled")
        self.mounts.append(mount)
        with contextlib.suppress(OSError), open(mount / "ballast", "wb", buffering=0) as ballast:
            while True:
                ballast.write(b"x" * 4096)
        return mount

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()
        for mount in self.mounts:
            subprocess.run(["umount", str(mount)], check=True, timeout=20)


# --- the mistakes: (name, program, what is wrong, words that the line must have, whether --check-config finds it) ---

MISTAKES = []


def mistake(program, *words, checked=False):
    def add(function):
        for name in ("gateway", "agent") if program == "both" else (program,):
            MISTAKES.append((function.__name__, name, function, words, checked))
        return function
    return add


def set_key(name, program, key, value, *words, checked=True):
    MISTAKES.append((name, program, lambda setup: setup.keys.update({key: value}), words, checked))


def listen(setup, key):
    """Takes the port that the configuration names."""
    taken = socket.create_server(("127.0.0.1", setup.keys[key]))
    setup.taken = taken   # as long as the setup lives


def certificate(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-keyout", str(folder / f"{name}.key"), "-out",
                    str(folder / f"{name}.crt")], check=True, capture_output=True, timeout=30)


def tls(setup, certificate_file, key_file):
    setup.keys.update({"http.certificate_file": f'"{certificate_file}"', "http.key_file": f'"{key_file}"'})


for each in ("gateway", "agent"):
    set_key("an_unknown_key", each, "http.prot", "8700", f"{each}.toml:", "http.prot", "is not known; did you mean http.port?")
    set_key("a_number_in_quotes", each, "http.port", '"8700"', f"{each}.toml:", "http.port")
    set_key("a_port_past_65535", each, "http.port", "87000", f"{each}.toml:", "http.port", "65535")
    set_key("an_address_that_is_none", each, "http.address", '"everywhere"', f"{each}.toml:", "http.address", "everywhere")
    set_key("open_to_the_world_without_a_token", each, "http.address", '"0.0.0.0"', f"{each}.toml:", "http.address",
            "not loopback", "http.token")
    set_key("bodies_larger_than_all_may_hold", each, "http.held_bytes_max", "65536", "http.held_bytes_max",
            "http.body_bytes_max")
    set_key("a_secret_that_is_not_set", each, "http.token", '"${NO_SUCH_VARIABLE}"', "http.token", "NO_SUCH_VARIABLE")
    set_key("a_secret_file_that_is_missing", each, "http.token", '"file:/no/such/token"', "http.token", "/no/such/token")
    set_key("a_log_level_that_is_none", each, "log.level", '"loud"', f"{each}.toml:", "log.level", "debug")
set_key("a_name_with_a_blank", "gateway", "gateway.id", '"Fog 1"', "gateway.toml:1", "gateway.id")
set_key("a_device_with_a_slash", "agent", "agent.device", '"hall/press-7"', "agent.toml:1", "agent.device")
set_key("a_gateway_without_a_port", "agent", "uplink.gateways", '["mqtts://fog-1"]', "uplink.gateways", "mqtts://fog-1")
set_key("a_regular_expression_that_is_none", "agent", "sources.disk.include", '"sd["', "disk", checked=False)
set_key("a_broker_elsewhere_and_no_url", "gateway", "broker.mode", '"none"', "broker.url", "must be given")
set_key("a_broker_that_is_not_installed", "gateway", "broker.program", '"/no/such/mosquitto"', "/no/such/mosquitto",
        checked=False)


@mistake("both", "toml:", checked=True)
def a_quote_that_is_not_closed(setup):
    setup.extra = 'log.level = "info\n'


@mistake("agent", "agent.device", checked=True)
def no_device(setup):
    del setup.keys["agent.device"]


@mistake("both", "no-such.toml", checked=True)
def no_configuration(setup):
    setup.config = setup.folder / "no-such.toml"
    setup.write = lambda: None


@mistake("both", "site", checked=True)
def a_folder_as_configuration(setup):
    setup.config = setup.folder / "site"
    setup.config.mkdir()
    setup.write = lambda: None


@mistake("both", "port", "in use")
def the_port_of_http_is_taken(setup):
    setup.keys["http.address"] = '"127.0.0.1"'
    listen(setup, "http.port")


@mistake("agent", "agent.toml:", "statsd.address", "statsd.from_anywhere", checked=True)
def statsd_for_everyone_by_mistake(setup):
    setup.keys.update({"statsd.enabled": "true", "statsd.address": '"0.0.0.0"'})


@mistake("agent", "statsd", "in use")
def the_port_of_statsd_is_taken(setup):
    setup.keys.update({"statsd.enabled": "true", "statsd.port": worlds.free_port()})
    setup.taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    setup.taken.bind(("127.0.0.1", setup.keys["statsd.port"]))


@mistake("agent", "statsd", "/nowhere/statsd.sock", "No such file")
def a_folder_for_the_socket_of_statsd_that_is_not_there(setup):
    setup.keys.update({"statsd.enabled": "true", "statsd.address": '""', "statsd.socket": '"/nowhere/statsd.sock"'})


@mistake("gateway", "broker", "port")
def the_port_of_the_broker_is_taken(setup):
    listen(setup, "broker.port")


@mistake("both", "no-such.crt")
def a_certificate_that_is_not_there(setup):
    tls(setup, setup.folder / "no-such.crt", setup.folder / "no-such.key")


@mistake("both", "this.toml")
def a_certificate_that_is_none(setup):
    (setup.folder / "this.toml").write_text("port = 1\n")
    tls(setup, setup.folder / "this.toml", setup.folder / "this.toml")


@mistake("both", "second.key")
def a_key_that_is_not_the_certificates(setup):
    for name in ("first", "second"):
        certificate(setup.folder, name)
    tls(setup, setup.folder / "first.crt", setup.folder / "second.key")


@mistake("both", "certificate", "key")
def a_certificate_without_a_key(setup):
    certificate(setup.folder, "first")
    setup.keys["http.certificate_file"] = f'"{setup.folder}/first.crt"'


@mistake("gateway", "/proc/nowhere")
def a_store_that_cannot_be_written(setup):
    setup.keys["store.directory"] = '"/proc/nowhere"'


@mistake("gateway", "/proc/nowhere")
def a_site_that_cannot_be_written(setup):
    setup.keys["site.directory"] = '"/proc/nowhere"'


@mistake("agent", "/proc/nowhere")
def a_state_that_cannot_be_written(setup):
    setup.keys["agent.state"] = '"/proc/nowhere"'


@mistake("both", "place")
def a_file_where_a_folder_should_be(setup):
    (setup.folder / "place").write_text("")
    setup.keys.update({key: f'"{setup.folder}/place"' for key in ("store.directory", "agent.state") if key in setup.keys})


@mistake("both", "small", "space")
def a_disk_that_is_full_at_the_first_start(setup):
    mount = setup.small_disk()
    for key in ("site.directory", "store.directory", "agent.state"):
        if key in setup.keys:
            setup.keys[key] = f'"{mount}/{key}"'


def second_of(setup, *same):
    """Another one runs already with the same values of the keys `same`."""
    process = setup.start()
    port = setup.keys["http.port"]
    wait_until("the first one being there", lambda: worlds.get(f"http://127.0.0.1:{port}/healthz", 2), 60)
    assert process.poll() is None
    setup.keys.update({key: worlds.free_port() for key in ("http.port", "broker.port") if key in setup.keys and
                       key not in same})


@mistake("gateway", "store", "another process has it")
def a_store_that_another_gateway_has_open(setup):
    second_of(setup, "store.directory")


@mistake("agent", "state", "another process has it")
def a_state_that_another_agent_has_open(setup):
    second_of(setup, "agent.state")


def after_a_first_life(setup):
    process = setup.start()
    port = setup.keys["http.port"]
    wait_until("the first life", lambda: worlds.get(f"http://127.0.0.1:{port}/healthz", 2), 60)
    process.terminate()
    process.wait(30)


@mistake("gateway", "site", "hall", "barn")
def a_site_of_another_name(setup):
    after_a_first_life(setup)
    setup.keys["site.name"] = '"barn"'


@mistake("gateway", "site.json")
def a_damaged_site(setup):
    after_a_first_life(setup)
    (setup.folder / "site" / "site.json").write_text("{}")


@mistake("gateway", "gateway.crt")
def a_certificate_of_the_gateways_own_that_is_damaged(setup):
    after_a_first_life(setup)
    (setup.folder / "site" / "ca.key").unlink()   # else it would make itself another
    (setup.folder / "site" / "gateway.crt").write_text("none")


@mistake("agent", "device.key")
def a_key_that_is_damaged(setup):
    after_a_first_life(setup)
    (setup.folder / "state" / "device.key").write_text("none")


@mistake("agent", "enrolment.json")
def an_enrolment_that_is_damaged(setup):
    after_a_first_life(setup)
    (setup.folder / "state" / "enrolment.json").write_text("{")


def enrolled(setup):
    """By a site of its own."""
    with Setup(setup.world, "gateway", setup.folder.name).made_site() as site:
        setup.write()
        request, bundle = setup.folder / "a.request", setup.folder / "a.bundle"
        command = setup.world.binaries / "lambda"
        setup.world.call(setup.program, "--config", setup.config, "--request", request)
        setup.world.call(command, "enroll", request, "--site", site, "--out", bundle, "--gateway", "mqtts://localhost:9")
        setup.world.call(setup.program, "--config", setup.config, "--install", bundle)


@mistake("agent", "enrolment.json", "another key", "tls.key")
def a_key_that_is_not_the_enrolled_one(setup):
    enrolled(setup)
    (setup.folder / "state" / "tls.key").unlink()   # the agent makes itself another


@mistake("agent", "press-7", "press-8")
def another_name_than_it_was_enrolled_under(setup):
    enrolled(setup)
    setup.keys["agent.device"] = '"press-8"'


@mistake("agent", "no-such.bundle")
def a_bundle_that_is_not_there(setup):
    setup.arguments = ("--install", "no-such.bundle")


@mistake("agent", "bundle")
def a_bundle_that_is_none(setup):
    setup.write()
    setup.arguments = ("--install", setup.config)


@mistake("agent", "/proc/nowhere")
def a_request_that_cannot_be_written(setup):
    setup.arguments = ("--request", "/proc/nowhere/a.request")


def try_one(world, number, name, program, spoil, words, checked):
    """None, or what is wrong with how the program took it."""
    setup = Setup(world, program, number)
    try:
        spoil(setup)
        setup.write()
        status, said = setup.run(*setup.arguments)
        lines = [line for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if line.split(" ")[1:2] == ["error"]] or lines
        problem = None
        if status in (None, 0):
            problem = "it runs" if status is None else "exit status 0"
        elif status != 1:
            problem = f"exit status {status}"
        elif len(errors) != 1:
            problem = f"{len(errors)} lines of error"
        elif not all(word in errors[0] for word in words):
            problem = f"the line does not have all of {words}"
        if problem is None and not setup.arguments:
            status, said = setup.run("--check-config")
            if (status == 1) != checked:
                problem = f"--check-config ends with {status}"
        return f"{program}: {name}: {problem}:\n      " + "\n      ".join(said.splitlines()[-6:]) if problem else None
    finally:
        setup.close()
        shutil.rmtree(setup.folder, ignore_errors=True)


@case
def every_mistake_ends_with_one_line_that_names_it(options):
    with options.world("mistakes") as world:
        found, skipped = [], 0
        for number, (name, program, *rest) in enumerate(MISTAKES):
            try:
                problem = try_one(world, number, name, program, *rest)
            except Skip as reason:
                print(f"   {program}: {name}: SKIPPED: {reason}", flush=True)
                skipped += 1
                continue
            print(f"   {program}: {name}: {'WRONG' if problem else 'named'}", flush=True)
            if problem:
                found.append(problem)
        assert skipped < len(MISTAKES) / 2, "most of it was skipped"
        assert not found, f"{len(found)} of {len(MISTAKES)}:\n   " + "\n   ".join(found)


@case
def certificates_of_an_agent_that_are_gone_or_damaged_are_written_again_from_its_bundle(options):
    with options.world("mended") as world:
        setup = Setup(world, "agent", 0)
        try:
            enrolled(setup)
            state = setup.folder / "state"
            before = {path: path.read_text() for kind in ("ca", "certificate") for path in state.glob(f"{kind}-*.pem")}
            assert len(before) == 2
            for path, spoil in zip(before, (pathlib.Path.unlink, lambda path: path.write_text("none"))):
                spoil(path)
            setup.start()
            wait_until("the agent running", lambda: worlds.get(f"http://127.0.0.1:{setup.keys['http.port']}/healthz", 2), 60)
            assert {path: path.read_text() for path in before} == before
        finally:
            setup.close()


if __name__ == "__main__":
    sys.exit(main())
