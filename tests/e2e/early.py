#!/usr/bin/env python3
"""The first promise, on real processes and a broker of its own: two boots, one lost ack, a gateway that restarts without
the agent reconnecting, a broker that drops what it acknowledged, a gateway stopped until the broker's queue overflows.
The balance is exact, and in the end everything that was made is stored."""
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from harness import case, main, wait_until  # noqa: E402
from harness import worlds  # noqa: E402
from lossy import LossyBroker  # noqa: E402

QUEUE_MESSAGES = 5


def separate_broker(world):
    """A mosquitto that belongs to nobody here, with a queue that overflows soon; returns its port."""
    port = worlds.free_port()
    config = world.folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
                      f"max_inflight_messages 5\nmax_queued_messages {QUEUE_MESSAGES}\n")
    broker = worlds.Program("mosquitto", ["/usr/sbin/mosquitto", "-c", config], world.folder)
    world.programs.append(broker)
    broker.start()
    return port


def pause_until_overflow(world, lossy):
    """More messages than the broker holds for a stopped gateway: it PUBACKs them and drops the rest."""
    before = lossy.passed_up
    world.gateway.signal(signal.SIGSTOP)
    wait_until("more messages than the broker's queue holds", lambda: lossy.passed_up > before + 5 + 2 * QUEUE_MESSAGES, 60)
    log = world.folder / "mosquitto.log"
    wait_until("the broker dropping", lambda: "being dropped for client fog-1" in log.read_text(errors="replace"), 10)
    world.gateway.signal(signal.SIGCONT)


@case
def early(options):
    with options.world("early") as world:
        port = separate_broker(world)
        lossy = LossyBroker(port)
        world.start_gateway()   # with a broker of its own: that makes the site
        agent = world.make_agent("press-7", series=20, interval_ms=200, seal_ms=200,
                                 urls=[f"mqtt://127.0.0.1:{lossy.port}"])
        world.enrol(agent)
        world.gateway.stop()
        world.configure_gateway(broker=f'mode = "none"\nurl = "mqtt://127.0.0.1:{port}"\n')
        world.start_gateway()

        # One ack is lost.
        lost = []

        def lose_first_ack(topic, payload):
            if topic.endswith("/down") and not lost and world_is_past_hello[0]:
                lost.append(payload)
                return True
            return False
        world_is_past_hello = [False]
        lossy.drop_down = lose_first_ack
        world.start_agent(agent)
        wait_until("points being stored", lambda: world.segment_bytes() > 5_000, 30)
        world_is_past_hello[0] = True
        wait_until("an ack being lost", lambda: lost, 20)
        world.drain(agent, 40)

        # The gateway restarts; the agent's connection to the broker stays.
        connections = lossy.connections
        for _ in range(2):
            world.gateway.kill()
            time.sleep(1.5)
            world.start_gateway()
            world.drain(agent, 40)
        assert lossy.connections == connections, "the agent connected again: the case was not tested"

        # The second boot, begun by a kill.
        agent.kill()
        world.start_agent(agent)
        world.drain(agent, 40)

        # The broker acknowledges and drops.
        counted = [0]

        def drop_some(topic, payload):
            counted[0] += topic.endswith("/up")
            return topic.endswith("/up") and counted[0] % 3 != 0
        lossy.drop_up = drop_some
        wait_until("acknowledged messages being dropped", lambda: lossy.dropped_up >= 10, 40)
        lossy.drop_up = lambda topic, payload: False
        world.drain(agent, 60)

        pause_until_overflow(world, lossy)
        world.drain(agent, 60)

        agent.stop()
        world.gateway.stop()
        lossy.close()
        totals = world.balance()
        assert totals["dropped"] == 0, totals
        # What the agent could not hand over while it ended is in its spool and nowhere else.
        assert totals["stored"] >= 0.9 * totals["made"], totals


if __name__ == "__main__":
    sys.exit(main())
