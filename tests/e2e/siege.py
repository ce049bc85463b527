#!/usr/bin/env python3
"""HTTP under siege, on an agent and on a gateway: ten thousand idle connections, clients that write or read slowly,
garbage, floods of series. Good clients get their answers all the while; memory and descriptors stay within what the
settings say. And the door is shut: with a token or client certificates no page answers without, not one of them."""
import contextlib
import http.client
import json
import pathlib
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from harness import Skip, case, main, wait_until  # noqa: E402

IDLE = 10_000
FLOOD_SERIES = 200_000
CONNECTIONS_MAX = 256
HELD_MB = 8
HTTP = f"connections_max = {CONNECTIONS_MAX}\nheld_bytes_max = {HELD_MB << 20}\n"
# What the settings allow, with 100 KB for each connection's own buffers and as much again as the heap may waste.
RSS_MB_MAX = 2 * (HELD_MB + CONNECTIONS_MAX * 100 // 1024)
NO_SOURCES = "".join(f"[sources.{source}]\nenabled = false\n" for source in (
    "cpu", "memory", "load", "disk", "filesystem", "network", "pressure", "sockets", "processes", "time", "sensors",
    "cgroup", "self"))


def ask(port, path, body=None, headers=None, seconds=20, context=None):
    """Status and text, over a connection of its own."""
    make = http.client.HTTPConnection if context is None else http.client.HTTPSConnection
    more = {} if context is None else {"context": context}
    connection = make("localhost" if context else "127.0.0.1", port, timeout=seconds, **more)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def answers(port, path, headers=None):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return ask(port, path, headers=headers)[0] == 200
    return False


def memory_mb(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no {field}")


def descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


class GoodClient(threading.Thread):
    """Asks again and again, over new connections and over one that it keeps; every answer must be a good one."""

    def __init__(self, port, page="/api/v1/query?query=vector(1)"):
        super().__init__(daemon=True)
        self.port, self.page, self.stopped, self.answered, self.problems = port, page, False, 0, []
        self.slowest_s = 0

    def run(self):
        kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self.stopped:
            started = time.monotonic()
            try:
                kept.request("GET", self.page)
                answer = kept.getresponse()
                answer.read()
                status = ask(self.port, self.page)[0]
                if (answer.status, status) != (200, 200):
                    self.problems.append((answer.status, status))
            except (OSError, http.client.HTTPException) as error:
                self.problems.append(repr(error))
                kept.close()
            self.answered += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            time.sleep(0.02)
        kept.close()

    def finish(self, least):
        """Ends when `least` questions were answered, those of the siege among them."""
        deadline = time.monotonic() + 60
        while self.answered < least and time.monotonic() < deadline:
            time.sleep(0.02)
        self.stopped = True
        self.join(60)
        assert not self.problems, f"a good client: {len(self.problems)} of {self.answered}: {self.problems[:5]}"
        assert self.answered >= least, f"a good client was answered {self.answered} times"


class Siege:
    """Sockets that stay open until the end of the siege, whatever the other side does."""

    def __init__(self, port):
        self.port, self.sockets = port, []

    def open(self, data=b"", small=False):
        made = socket.socket()
        if small:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.settimeout(20)
        made.connect(("127.0.0.1", self.port))
        self.sockets.append(made)
        if data:
            made.settimeout(1)
            with contextlib.suppress(OSError):   # it may be dropped while it sends, or not be read any more
                made.sendall(data)
        return made

    def close(self):
        for each in self.sockets:
            each.close()


def room_for_sockets(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Skip(f"RLIMIT_NOFILE: at most {hard} descriptors here, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def check_memory(world, grown_mb, allowed_mb, what):
    assert world.is_sanitized or grown_mb <= allowed_mb, f"{grown_mb:.1f} MB more for {what}, at most {allowed_mb}"


def say_what_is_not_looked_at(world):
    if world.is_sanitized:
        print("   *** MEMORY IS NOT LOOKED AT under AddressSanitizer, whose own is most of it ***", flush=True)


def besiege(options, world, port, pid):
    room_for_sockets(IDLE + 1_000)
    good = GoodClient(port)
    good.start()
    wait_until("good clients being answered", lambda: good.answered > 5, 30)
    rss, files = memory_mb(pid, "VmRSS"), descriptors(pid)
    siege = Siege(port)
    say_what_is_not_looked_at(world)
    most_files = 0

    def watch():
        nonlocal most_files
        most_files = max(most_files, descriptors(pid))
        check_memory(world, memory_mb(pid, "VmRSS") - rss, RSS_MB_MAX, "what is resident under siege")

    try:
        for number in range(IDLE):
            siege.open()
            if number % 500 == 0:
                watch()
        watch()
        print(f"   {IDLE} idle: {memory_mb(pid, 'VmRSS') - rss:+.1f} MB, {most_files - files} descriptors more", flush=True)
        # Slow writers: a body is promised, most of it comes, the rest never does.
        head = b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
        for _ in range(60):
            siege.open(head + b"x" * 3_000_000)
            watch()
        for number in range(200):   # half a head
            siege.open(b"GET /api/v1/query?query=vector(1) HTTP/1.1\r\nX-Half: " + b"y" * number)
        watch()
        # Slow readers: large answers that nobody takes.
        text = urllib.parse.urlencode({"query": '"' + "z" * 900_000 + '"'}).encode()
        head = (b"POST /api/v1/format_query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                b"Content-Length: %d\r\n\r\n" % len(text))
        for _ in range(60):
            siege.open(head + text, small=True)
            watch()
        # Garbage, also behind a good request.
        for number in range(200):
            garbage = options.random.randbytes(options.random.randrange(1, 40_000))
            siege.open((b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" if number % 2 else b"") + garbage)
        siege.open(b"GET / HTTP/1.1\r\n" + b"".join(b"H%d: x\r\n" % number for number in range(200_000)))
        watch()
        assert most_files - files <= CONNECTIONS_MAX + 20, f"{most_files - files} descriptors more"
        print(f"   then slow writers, slow readers, garbage: {memory_mb(pid, 'VmRSS') - rss:+.1f} MB, at most "
              f"{memory_mb(pid, 'VmHWM') - rss:+.1f}; {good.answered} good answers, the slowest in {good.slowest_s:.2f} s",
              flush=True)
        good.finish(50)
    finally:
        good.stopped = True
        siege.close()
    counted = {}
    for line in ask(port, "/metrics")[1].splitlines():
        if line.startswith("lambda_http_"):
            name, _, value = line.rpartition(" ")
            counted[name] = float(value)
    assert counted["lambda_http_connections_dropped_total"] >= IDLE - CONNECTIONS_MAX, counted
    assert counted["lambda_http_held_bytes"] <= HELD_MB << 20, counted
    assert counted["lambda_http_requests_refused_total"] > 0, counted


@case
def an_agent_under_siege_serves_good_clients_within_its_memory(options):
    with options.world("siege-agent") as world:
        agent = world.make_agent("press-7", sources=NO_SOURCES, http=HTTP, urls=[])
        world.start_agent(agent)
        besiege(options, world, agent.port, agent.pid)
        agent.stop()


@case
def a_gateway_under_siege_serves_good_clients_within_its_memory(options):
    with options.world("siege-gateway") as world:
        world.start_gateway(http=HTTP)
        besiege(options, world, world.gateway_port, world.gateway.pid)
        world.gateway.stop()


@case
def a_flood_of_series_costs_no_more_than_the_cap(options):
    with options.world("flood") as world:
        agent = world.make_agent("press-7", sources=NO_SOURCES, urls=[],
                                 extra="[doors]\nseries_max = 1000\n[log]\nformat = \"json\"\n")
        world.start_agent(agent)

        def push(lines):
            status, text = ask(agent.port, "/api/v1/push", "\n".join(json.dumps(line) for line in lines).encode())
            return status, json.loads(text)
        status, answer = push([{"name": "good", "labels": {"n": str(number)}, "value": 1} for number in range(900)])
        assert status == 200 and answer["accepted"] == 900, answer
        say_what_is_not_looked_at(world)
        before = memory_mb(agent.pid, "VmRSS")
        step = 5_000
        for first in range(0, FLOOD_SERIES, step):
            status, answer = push([{"name": f"flood_{number % 3}", "labels": {"n": str(number)}, "value": 1}
                                   for number in range(first, first + step)])
            assert status in (200, 400), answer
            assert answer["refused"] >= step - 100, answer
        status, answer = push([{"name": "good", "labels": {"n": str(number)}, "value": 2} for number in range(900)])
        assert status == 200 and answer["accepted"] == 900, answer   # known series go on
        grown = memory_mb(agent.pid, "VmHWM") - before
        print(f"   {FLOOD_SERIES} new series: {grown:+.1f} MB at most", flush=True)
        check_memory(world, grown, 24, "a flood that was refused")
        counted = world.metrics(agent.port)
        assert counted["lambda_agent_door_series"] == 1000, counted["lambda_agent_door_series"]
        assert counted["lambda_agent_series_refused_total"] == FLOOD_SERIES - 100, counted["lambda_agent_series_refused_total"]
        worst = {name: value for name, value in counted.items() if name.startswith("lambda_agent_series_refused_worst")}
        assert sum(worst.values()) == FLOOD_SERIES - 100, worst
        assert set(worst) == {f'lambda_agent_series_refused_worst{{metric="flood_{n}"}}' for n in range(3)}, worst

        def named():
            return [line for line in agent.log.read_text().splitlines() if "series_over_cap" in line and "flood_" in line]
        wait_until("the log naming them", named, 20)
        assert len(named()) < 5, "it is told once a minute, not for each"
        agent.stop()


# --- nobody without ---

def pages(port, headers=None, context=None):
    """All that are served, as the program itself lists them to those who may ask."""
    status, text = ask(port, "/no/such/page", headers=headers, context=context)
    assert status == 404, (status, text)
    listed = json.loads(text)["pages"]
    assert len(listed) >= 15 and "/metrics" in listed and "/healthz" in listed and "/api/v1/query" in listed, listed
    return listed


def token_is_asked_for_everywhere(port, token):
    good = {"Authorization": f"Bearer {token}"}
    listed = pages(port, good)
    for page in [*listed, "/", "/no/such/page", "/metrics/../metrics", "//metrics", "/metrics?x=1"]:
        for body in (None, b"x"):
            for wrong in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Basic {token}"}, {"X-Token": token}):
                status, _ = ask(port, page, body, wrong)
                assert status == 401, f"{page} answers {status} to somebody without the token"
        status, _ = ask(port, page, None, good)
        assert status != 401, f"{page} does not believe the token"
    print(f"   {len(listed)} pages: each asks for the token", flush=True)
    return listed


@case
def with_a_token_no_page_answers_without_it(options):
    with options.world("token") as world:
        world.make_gateway(http='token = "open-sesame"\n').start()
        agent = world.make_agent("press-7", sources=NO_SOURCES, http='token = "open-sesame"\n', urls=[])
        agent.start()
        good = {"Authorization": "Bearer open-sesame"}
        for port in (agent.port, world.gateway_port):
            wait_until("it being ready", lambda port=port: answers(port, "/readyz", good), 60)
        listed = token_is_asked_for_everywhere(agent.port, "open-sesame")
        assert {"/api/v1/push", "/api/v1/write", "/api/v2/write", "/write"} <= set(listed), listed
        token_is_asked_for_everywhere(world.gateway_port, "open-sesame")
        world.stop_all()


def make_certificates(folder):
    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-days", 2, "-subj", "/CN=authority", "-keyout", folder / "ca.key", "-out", folder / "ca.crt")
    for name in ("server", "client"):
        openssl("req", *key, "-subj", "/CN=localhost", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr")
        (folder / "names").write_text("subjectAltName = DNS:localhost\n")
        openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key",
                "-CAcreateserial", "-days", 2, "-extfile", folder / "names", "-out", folder / f"{name}.crt")


@case
def with_client_certificates_no_page_answers_without_one(options):
    with options.world("mutual-tls") as world:
        make_certificates(world.folder)
        tls = "".join(f'{key} = "{world.folder}/{file}"\n' for key, file in (
            ("certificate_file", "server.crt"), ("key_file", "server.key"), ("client_ca_file", "ca.crt")))
        world.make_gateway(http=tls).start()
        agent = world.make_agent("press-7", sources=NO_SOURCES, http=tls, urls=[])
        agent.start()
        good = ssl.create_default_context(cafile=world.folder / "ca.crt")
        stranger = ssl.create_default_context(cafile=world.folder / "ca.crt")
        good.load_cert_chain(world.folder / "client.crt", world.folder / "client.key")
        for port in (agent.port, world.gateway_port):
            def ready(port=port):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    return ask(port, "/healthz", context=good)[0] == 200
                return False
            wait_until("it answering over TLS", ready, 60)
            listed = pages(port, context=good)
            for page in [*listed, "/", "/no/such/page"]:
                for context in (stranger, None):   # TLS without a certificate, and no TLS at all
                    try:
                        answer = ask(port, page, context=context)
                    except (OSError, http.client.HTTPException):
                        continue   # that is: ended without an answer
                    raise AssertionError(f"{page} answers {answer} to somebody without a certificate")
            print(f"   {len(listed)} pages: each asks for a certificate", flush=True)
        world.stop_all()


if __name__ == "__main__":
    sys.exit(main())
