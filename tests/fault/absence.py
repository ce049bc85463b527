#!/usr/bin/env python3
"""Gateways that stay away, agents that are copied or put back, clocks that jump."""
import shutil
import sys
import time

from harness import Skip, case, main, wait_until, worlds


def running(world, **agent_options):
    """A gateway and an enrolled agent whose points arrive."""
    world.start_gateway()
    agent = world.make_agent("press-7", series=50, interval_ms=250, seal_ms=500, **agent_options)
    world.enrol(agent)
    world.start_agent(agent)
    wait_until("points being stored", lambda: world.segment_bytes() > 0, 30)
    return agent


@case
def a_gateway_that_was_away_gets_everything(options):
    with options.world("away") as world:
        agent = running(world)
        world.gateway.stop()
        time.sleep(60 if options.full else 6)
        world.start_gateway()
        world.drain(agent, 90)
        agent.stop()
        world.gateway.stop()
        totals = world.balance(stored_min_percent=80)
        assert totals["dropped"] == 0, totals


@case
def away_for_longer_than_the_spool_holds_the_gaps_name_what_is_missing(options):
    with options.world("overflow") as world:
        agent = running(world, extra="[spool]\nbytes_max = 262144\nfile_bytes = 65536\n")
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
        messages = sum(after[name] - before.get(name, 0) for name in after if "ingest" in name and "messages" in name)
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
                       "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
        agent = running(world, environment=environment)
        for step in ("+3600", "-3600", "+0"):
            offset.write_text(step + "\n")
            time.sleep(3)
            world.drain(agent, 60)
        agent.stop()
        world.gateway.stop()
        totals = world.balance(stored_min_percent=50)
        assert totals["dropped"] == 0, totals


if __name__ == "__main__":
    sys.exit(main())
