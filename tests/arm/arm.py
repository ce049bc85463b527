#!/usr/bin/env python3
"""Programs that were built for ARM beside those of this machine: one site, one format, one answer.

  arm.py --bin BUILD/emulated --host-bin BUILD/bin [--seed N] [NAME ...]

`--bin` has scripts that start the programs for ARM in an emulator (cmake/lambda.cmake), `--host-bin` this machine's own.
Options of harness.py.
"""
import pathlib
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from harness import Skip, case, main, wait_until  # noqa: E402

PROGRAMS = ("lambda", "lambda-agent", "lambda-gateway")
SOURCES = "[sources.synthetic]\nenabled = true\nseries = 20\ninterval_ms = 500\n"   # beside those of the machine
START_S = 60         # an emulator translates a program anew at each start
PACKED_POINTS = 2_500
# Arithmetic alone: what a library of mathematics says in the last bit is its own.
QUESTIONS = ("lambda_synthetic", "sum(rate(lambda_synthetic[5s]))", "stddev by (__name__) ({__name__=~'.+'})",
             "quantile by (__name__) (0.9, {__name__=~'.+'})", "stdvar_over_time(lambda_synthetic[5s])",
             "deriv(node_memory_MemFree_bytes[5s]) / 3 + 0.1", "avg_over_time(node_load1[5s])")


def program(folder, name):
    return pathlib.Path(folder).resolve() / name


def need_programs(options):
    for folder in (options.binaries, options.host_binaries):
        for name in PROGRAMS:
            if not program(folder, name).exists():
                raise Skip(f"{program(folder, name)} is not there: ./dev test --arm builds it")


def run(folder, *arguments):
    """Standard output of `lambda`, which must succeed; bytes."""
    command = [str(part) for part in (program(folder, "lambda"), *arguments)]
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stderr.decode(errors='replace')}"
    return done.stdout


def the_same(options, what, *arguments):
    """What `lambda` says there and here, which must be one."""
    there, here = (run(folder, *arguments) for folder in (options.binaries, options.host_binaries))
    assert here, f"{what}: nothing was said, nothing was compared"
    assert there == here, f"{what}: said otherwise\n-- there\n{there[:2_000]!r}\n-- here\n{here[:2_000]!r}"
    return here


def keep_the_balance(options, name, there):
    """A site with the programs of `there` in the emulator, through a kill of the agent and one of the gateway; what it
    stored is exact, and is read alike by both."""
    need_programs(options)
    with options.world(name) as world:
        world.binaries = world.folder / "bin"
        world.binaries.mkdir()
        for wanted in PROGRAMS:
            origin = options.binaries if wanted in there else options.host_binaries
            (world.binaries / wanted).symlink_to(program(origin, wanted))
        world.start_gateway(START_S)
        agent = world.make_agent("press-7", seal_ms=1000, sources=SOURCES)
        world.enrol(agent)
        world.start_agent(agent, START_S)
        world.wait_stored_again("points being stored", START_S, more_than=2_000)
        agent.kill()
        world.start_agent(agent, START_S)
        world.wait_stored_again("points of the second boot being stored", START_S, more_than=2_000)
        world.gateway.kill()
        world.start_gateway(START_S)
        world.wait_stored_again("points being stored by the second gateway", START_S, more_than=2_000)
        agent.stop()
        world.start_agent(agent, START_S)   # what the last moments of a run made is sent in the next
        world.drain(agent, START_S)
        assert not agent.errors() and not world.gateway.errors(), agent.errors() + world.gateway.errors()
        world.stop_all()
        totals = world.balance(stored_min_percent=50)
        assert totals["buffered"] < totals["stored"], totals
        store = world.gateway_store
        the_same(options, "lambda store check", "store", "check", store)
        rows = the_same(options, "lambda store export", "store", "export", store).decode().splitlines()[1:]
        assert len(rows) == totals["stored"], f"{len(rows)} lines for {totals['stored']} points"
        times = [int(row.rsplit(",", 2)[1]) for row in rows]
        span = ("--start", f"{min(times) / 1000:.3f}", "--end", f"{max(times) / 1000:.3f}", "--step", "3")
        for question in QUESTIONS:
            the_same(options, question, "--json", "query", question, "--blocks", store, *span)


@case
def an_agent_there_and_a_gateway_here_keep_the_balance(options):
    keep_the_balance(options, "arm-agent", {"lambda-agent"})


@case
def an_agent_here_and_a_gateway_there_keep_the_balance(options):
    keep_the_balance(options, "arm-gateway", {"lambda-gateway", "lambda"})


def series(generator):
    """Type and values, as text, of what each type is good for; the ends of doubles among them."""
    walk, value = [], 20.0
    for _ in range(PACKED_POINTS):
        value += generator.gauss(0, 0.3)
        walk.append(value)
    ends = ["NaN", "+Inf", "-Inf", "-0", "5e-324", "-2.2250738585072014e-308", "1.7976931348623157e+308", "0.1"]
    counter, counters = 2**53, []
    for _ in range(PACKED_POINTS):
        counter += generator.choice((0, 1, 1, 2, 1_000_003))
        counters.append(str(counter))
    yield "f64", [repr(value) for value in walk] + ends
    yield "auto", [repr(value) for value in walk] + ends
    yield "auto", [f"{value:.1f}" for value in walk]
    yield "dec:2", [f"{round(value, 2) + 0.0:.2f}" for value in walk]  # a decimal has no negative zero
    yield "f32", [repr(struct.unpack("<f", struct.pack("<f", value))[0]) for value in walk]
    yield "i64", counters
    yield "state", [str(generator.choice((0, 0, 0, 0, 0, 1, 3))) for _ in range(PACKED_POINTS)]


@case
def what_is_packed_there_is_what_is_packed_here(options):
    need_programs(options)
    with options.world("arm-packed") as world:
        for number, (kind, values) in enumerate(series(options.random)):
            time, lines = -1_000 * options.random.randrange(10_000), []
            for value in values:
                time += 1_000 + (options.random.randrange(-3, 4) if number % 2 else 0)
                lines.append(f"{time},{value}\n")
            source = world.folder / f"{number}.csv"
            source.write_text("".join(lines))
            for seal in ((), ("--seal",)):
                what = f"series {number}, {kind} {' '.join(seal)}"
                packed = []
                for place, folder in (("there", options.binaries), ("here", options.host_binaries)):
                    packed.append(world.folder / f"{number}.{place}.lam")
                    run(folder, "block", "pack", *seal, "--type", kind, source, packed[-1])
                assert packed[0].read_bytes() == packed[1].read_bytes(), f"{what}: other bytes"
                points = the_same(options, what, "block", "unpack", packed[0]).decode().split()[1:]
                assert len(points) == len(values), f"{what}: {len(points)} points of {len(values)}"
                for line, point in zip(lines, points):
                    (at, given), (time_back, got) = line.strip().split(","), point.split(",")
                    assert at == time_back and bits(given) == bits(got), f"{what}: {line.strip()} came back as {point}"
                the_same(options, what, "block", "stat", packed[0])


def bits(text):
    return struct.pack("<d", float(text))


if __name__ == "__main__":
    sys.exit(main())
