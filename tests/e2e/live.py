#!/usr/bin/env python3
"""The live lane on real processes: a question makes its series fresh long before their parcel is made, until nobody asks
any more; over restarts of gateway, broker and agent, and with two gateways. The balance is exact with it on."""
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from harness import case, main, wait_until  # noqa: E402
from harness import worlds  # noqa: E402
from early import separate_broker  # noqa: E402

SEAL_MS = 60_000
FRESH_S = 5        # a point is fresh when it is not older; its parcel would take up to a minute
LIVE = "[live]\nlease_ms = 2000\nkeep_ms = 4000\n"
NAME = "lambda_synthetic"


def newest_s(world, port=None):
    """When the newest point of any series was made, by a look at the gateway; None: there is none."""
    found = world.query(f"max(timestamp({NAME}))", port)
    return float(found[0]["value"][1]) if found else None


def is_fresh(world, port=None, after=0.0):
    newest = newest_s(world, port)
    return newest is not None and newest > max(after, time.time() - FRESH_S)


def wait_fresh(world, what, port=None, after=0.0, seconds=60):
    wait_until(what, lambda: is_fresh(world, port, after), seconds, step=0.5)


def agent_made_no_parcel(world, agent):
    return world.metrics(agent.port)["lambda_agent_points_packed_total"] == 0


def fewest_points(world, port=None):
    """How many points of the last two minutes the series with the fewest has."""
    found = world.query(f"count_over_time({NAME}[2m])", port)
    assert len(found) == 20, found
    return min(float(one["value"][1]) for one in found)


def tell_figures(world, agent):
    """For docs/PROMISES.md; nothing depends on them."""
    ages = sorted(time.time() - newest_s(world) for _ in range(40))
    sent = world.metrics(agent.port)
    points, size = sent["lambda_live_points_total"], sent["lambda_live_bytes_total"]
    print(f"   the newest point was {ages[len(ages) // 2]:.2f} s old in half of {len(ages)} looks, {ages[-1]:.2f} s at most; "
          f"{size / points:.0f} bytes a point on the live lane", flush=True)


@case
def what_is_asked_for_is_fresh_until_nobody_asks_any_more(options):
    with options.world("live") as world:
        world.start_gateway(extra=LIVE)
        agent = world.make_agent("press-7", series=20, interval_ms=250, seal_ms=SEAL_MS)
        world.enrol(agent)
        world.start_agent(agent)
        wait_until("the agent being answered", lambda: world.status(agent)["answered"], 30)
        before = world.metrics(agent.port)
        assert before["lambda_live_messages_total"] == 0, "nobody asked"

        wait_fresh(world, "a question being answered with fresh points")
        assert agent_made_no_parcel(world, agent), "a parcel came first: nothing was shown"
        now = world.metrics()
        assert now['lambda_live_points_total{result="first"}'] > 0 and now["lambda_live_selections_total"] > 0, now
        # All that was made since the start, not only what came after the question.
        made = fewest_points(world, agent.port)
        wait_until("the gateway having them all", lambda: fewest_points(world) >= made, 10)
        assert agent_made_no_parcel(world, agent), "a parcel came first: nothing was shown"

        tell_figures(world, agent)

        # Somebody looks every second.
        watch = subprocess.Popen([str(world.binaries / "lambda"), "query", "--gateway",
                                  f"http://127.0.0.1:{world.gateway_port}", "--watch", "1", f"count({NAME})"],
                                 stdout=subprocess.PIPE, text=True)
        try:
            started = time.time()
            wait_until("time passing", lambda: time.time() > started + 8, 20)   # twice as long as it is kept
            assert is_fresh(world), "it is looked at, and not fresh"
        finally:
            watch.send_signal(signal.SIGINT)
            out = watch.communicate(timeout=20)[0]
        assert "20" in out, out

        # Nobody asks any more: the lease runs out and nothing is sent, while points are made.
        wait_until("the lease running out", lambda: world.metrics(agent.port)["lambda_live_gateways"] == 0, 60)
        sent = world.metrics(agent.port)
        wait_until("more points being made", lambda: world.metrics(agent.port)["lambda_agent_points_made_total"] >
                   sent["lambda_agent_points_made_total"] + 200, 60)
        assert world.metrics(agent.port)["lambda_live_messages_total"] == sent["lambda_live_messages_total"]
        assert world.metrics()["lambda_live_selectors"] == 0

        wait_fresh(world, "a question being answered with fresh points again")
        agent.stop()
        stored = world.metrics()
        wait_until("all points being stored", lambda: world.metrics()["lambda_live_points"] == 0, 30)
        assert world.metrics()["lambda_live_points_differ_total"] == 0
        assert stored["lambda_live_refused_total{reason=\"malformed\"}"] == 0
        world.gateway.stop()
        totals = world.balance()
        assert totals["dropped"] == 0, totals


@case
def it_is_fresh_again_after_gateway_broker_and_agent_were_killed(options):
    with options.world("live-kills") as world:
        world.start_gateway(extra=LIVE)
        agent = world.make_agent("press-7", series=20, interval_ms=250, seal_ms=SEAL_MS)
        world.enrol(agent)
        world.start_agent(agent)
        wait_fresh(world, "fresh points")

        world.gateway.kill()
        world.start_gateway()
        wait_fresh(world, "fresh points after the gateway was killed", after=time.time())

        world.kill_broker()
        wait_fresh(world, "fresh points after the broker was killed", after=time.time())

        boot = world.status(agent)["boot"]
        agent.kill()
        world.start_agent(agent)
        assert world.status(agent)["boot"] != boot
        wait_fresh(world, "fresh points after the agent was killed", after=time.time())

        agent.stop()
        wait_until("all points being stored", lambda: world.metrics()["lambda_live_points"] == 0, 60)
        assert world.metrics()["lambda_live_points_differ_total"] == 0
        world.gateway.stop()
        world.balance()


@case
def two_gateways_of_a_site_both_see_what_either_asked_for(options):
    with options.world("live-two") as world:
        port = separate_broker(world)
        world.start_gateway(extra=LIVE)   # with a broker of its own: that makes the site
        agent = world.make_agent("press-7", series=20, interval_ms=250, seal_ms=SEAL_MS, urls=[f"mqtt://127.0.0.1:{port}"])
        world.enrol(agent)
        world.gateway.stop()
        broker = f'mode = "none"\nurl = "mqtt://127.0.0.1:{port}"\n'
        world.configure_gateway(extra=LIVE, broker=broker)
        first = world.folder / "gateway.toml"
        second, other_port = world.folder / "gateway-2.toml", worlds.free_port()
        second.write_text(first.read_text().replace('"fog-1"', '"fog-2"')
                          .replace(f'"{world.gateway_store}"', f'"{world.folder / "gateway-2"}"')
                          .replace(f"port = {world.gateway_port}", f"port = {other_port}"))
        other = worlds.Program("gateway-2", [world.binaries / "lambda-gateway", "--config", second], world.folder)
        world.programs.append(other)
        world.start_gateway()
        other.start()
        wait_until("the second gateway being ready", lambda: worlds.get(f"http://127.0.0.1:{other_port}/readyz", 2), 30)
        world.start_agent(agent)

        wait_fresh(world, "fresh points at the gateway that was asked")
        # The other one gets the same messages: the first answer that anybody wants of it is fresh.
        assert is_fresh(world, port=other_port)
        world.gateway.kill()
        wait_fresh(world, "fresh points when one gateway is gone", port=other_port, after=time.time() + 5)
        world.start_gateway()
        wait_fresh(world, "fresh points at both", after=time.time())
        assert is_fresh(world, port=other_port)

        agent.stop()
        other.stop()
        world.gateway.stop()
        world.balance(gateways=[world.gateway_store, world.folder / "gateway-2"])


if __name__ == "__main__":
    sys.exit(main())
