#!/usr/bin/env python3
"""Gateways that stay away, agents that are copied or put back, clocks that jump."""
import os
import shutil
import signal
import subprocess
import sys
import time

from harness import Skip, case, main, wait_until, worlds


def running(world, series=50, interval_ms=250, **agent_options):
    """A gateway and an enrolled agent whose points arrive."""
    world.start_gateway()
    agent = world.make_agent("press-7", series=series, interval_ms=interval_ms, seal_ms=500, **agent_options)
    world.enrol(agent)
    world.start_agent(agent)
    wait_until("points being stored", lambda: world.segment_bytes() > 0, 30)
    return agent


@case
def a_gateway_that_was_away_gets_everything(options):
    """In full size the backlog has as many rows as an hour at one a second."""
    with options.world("away") as world:
        agent = running(world, interval_ms=10 if options.full else 250)
        world.gateway.stop()
        time.sleep(40 if options.full else 6)
        world.start_gateway()
        world.drain(agent, 90)
        agent.stop()
        world.gateway.stop()
        totals = world.balance(stored_min_percent=80)
        assert totals["dropped"] == 0, totals


@case
def a_gateway_that_was_away_for_longer_than_memory_remembers(options):
    """In real time, with the settings that agents have by default: points leave the agent's memory while nobody has
    acked them, and the waits between attempts to connect are as long as they get. --away-s 3600 makes it an hour."""
    away_s = options.away_s or (660 if options.full else 15)
    with options.world("long-away") as world:
        world.start_gateway()
        # Ten minutes of memory, or as much less as the absence is shorter than eleven.
        retention_ms = min(600_000, away_s * 1000 * 10 // 11)
        agent = world.make_agent("press-7", series=300, interval_ms=1000 if away_s > 60 else 100, seal_ms=min(60_000, away_s * 100),
                                 uplink="", extra=f"[memory]\nretention_ms = {retention_ms}\n")
        world.enrol(agent)
        world.start_agent(agent)
        wait_until("points being stored", lambda: world.segment_bytes() > 0, 150)
        world.gateway.stop()
        time.sleep(away_s)
        world.start_gateway()
        world.drain(agent, 240)
        agent.stop()
        world.gateway.stop()
        totals = world.balance(stored_min_percent=80)
        assert totals["dropped"] == 0, totals
        assert totals["span_ms"] > away_s * 1000, f"the points span {totals['span_ms']} ms: the case was not tested"


@case
def away_for_longer_than_the_spool_holds_the_gaps_name_what_is_missing(options):
    with options.world("overflow") as world:
        agent = running(world, series=600, extra="[spool]\nbytes_max = 262144\nfile_bytes = 65536\n")
        world.gateway.stop()

        time.sleep(1)
        oldest = min(agent.state.rglob("spool-*.lam"))
        wait_until("the oldest spool file going", lambda: not oldest.exists(), 90)
        time.sleep(2)
        world.start_gateway()
        world.drain(agent, 60)
        time.sleep(2)   # the parcel that names the gaps is one of those made now
        world.drain(agent, 60)
        agent.stop()
        world.gateway.stop()
        totals = world.balance()
        assert totals["dropped"] > 0, f"nothing was dropped: the case was not tested: {totals}"
        # The gateway alone knows of every gap: nothing that is missing there is missing silently.
        _, known = worlds.balance.run([world.gateway_store], [])
        assert (known["dropped"], known["lost"]) == (totals["dropped"], 0), known


@case
def a_second_agent_with_the_same_key_neither_doubles_nor_loops(options):
    with options.world("twin-agents") as world:
        agent = running(world)
        agent.stop()
        twin_state = world.folder / "press-7-twin"
        shutil.copytree(agent.state, twin_state)
        twin = world.make_agent("press-7-twin", series=50, interval_ms=250, seal_ms=500, state=twin_state)
        # The same device by every name it has.
        twin.config.write_text(twin.config.read_text().replace('device = "press-7-twin"', 'device = "press-7"'))
        world.start_agent(agent)
        world.start_agent(twin)
        before = world.metrics()
        time.sleep(15)
        after = world.metrics()
        messages = after["lambda_gateway_messages_total"] - before["lambda_gateway_messages_total"]
        assert messages > 0
        assert messages < 15 * 100, f"{messages} messages in 15 s: the two of them make each other loop"
        twin.stop()
        wait_until("the one that is left being served", lambda: world.backlog(agent) <= 1, 90)
        agent.stop()
        world.start_agent(twin)
        world.drain(twin, 90)
        twin.stop()
        world.gateway.stop()
        totals = world.balance()
        assert totals["doubled"] == 0 and totals["dropped"] == 0, totals


@case
def a_spool_put_back_from_a_copy_doubles_nothing(options):
    with options.world("restored") as world:
        agent = running(world)
        agent.stop()
        copy = world.folder / "copy"
        shutil.copytree(agent.state, copy)
        world.start_agent(agent)
        time.sleep(4)
        world.drain(agent, 30)
        agent.stop()
        later = world.folder / "later"
        agent.state.rename(later)
        copy.rename(agent.state)
        world.start_agent(agent)
        time.sleep(3)
        world.drain(agent, 60)
        agent.stop()
        world.gateway.stop()
        totals = world.balance([later, agent.state])
        assert totals["doubled"] == 0, totals


@case
def a_clock_that_steps_an_hour_both_ways_loses_nothing(options):
    library = next((path for path in worlds.pathlib.Path("/usr/lib").rglob("libfaketimeMT.so.1")), None)
    if library is None:
        raise Skip("libfaketime is not installed, so no clock can be stepped")
    with options.world("clock") as world:
        offset = world.folder / "offset"
        offset.write_text("+0\n")
        environment = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
                       "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
                       "ASAN_OPTIONS": "verify_asan_link_order=0"}   # of a build with it, which wants to be first
        agent = running(world, environment=environment)
        for step in ("+3600", "-3600", "+0"):
            offset.write_text(step + "\n")
            time.sleep(3)
            world.drain(agent, 60)
        agent.stop()
        world.gateway.stop()
        totals = world.balance(stored_min_percent=50)
        assert totals["dropped"] == 0, totals
        assert totals["span_ms"] > 7_000_000, f"the clock was not stepped: the case was not tested: {totals}"


@case
def an_agents_full_disk_ends_nothing_and_space_brings_it_back(options):
    with options.world("agent-full") as world:
        mount = world.folder / "small"
        mount.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(mount)], capture_output=True, timeout=10)
        if done.returncode != 0:
            raise Skip("no tmpfs can be mounted here (not root?), so no disk can be filled")
        try:
            agent = running(world, state=mount / "state", extra="[spool]\nreserve_bytes = 65536\nbytes_max = 4194304\n")
            ballast = os.open(mount / "ballast", os.O_WRONLY | os.O_CREAT)
            try:
                while True:
                    os.write(ballast, b"x" * 4096)
            except OSError:
                os.close(ballast)
            time.sleep(4)
            assert agent.alive(), "a full disk ended the agent"
            os.unlink(mount / "ballast")
            world.wait_stored_again("points being stored again", 40, more_than=2_000)
            world.drain(agent, 40)
            agent.stop()
            world.gateway.stop()
            world.balance(stored_min_percent=90)
        finally:
            for program in world.programs:
                program.kill()
            subprocess.run(["umount", str(mount)], check=True, timeout=10)


@case
def a_reload_loses_no_point(options):
    with options.world("reload") as world:
        agent = running(world)
        for _ in range(5):
            time.sleep(options.random.uniform(0.2, 1))
            for program in (agent, world.gateway):
                program.signal(signal.SIGHUP)
        time.sleep(1)
        assert agent.alive() and world.gateway.alive()
        world.drain(agent, 30)
        for program in (agent, world.gateway):
            assert not program.errors(), f"{program.name} complains of a reload: {program.errors()[0]}"
        agent.stop()
        world.gateway.stop()
        totals = world.balance(stored_min_percent=50)   # what the last life made may wait in its spool
        assert totals["dropped"] == 0, totals


if __name__ == "__main__":
    sys.exit(main())
