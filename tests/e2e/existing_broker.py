#!/usr/bin/env python3
"""A gateway that is the client of a broker which was there before it: a mosquitto with TLS and a configuration of its
owner's, as docs/OPERATING.md has it. It is killed, the gateway is killed, a device is revoked; the balance is exact."""
import os
import pathlib
import shutil
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from harness import Device, case, main, wait_until, worlds  # noqa: E402

import lambda_writer as writer  # noqa: E402  (found by harness)


def copy_for_broker(world, *names):
    """What the broker reads, for the user that it becomes when root starts it."""
    folder = world.folder / "broker"
    folder.mkdir(exist_ok=True)
    for name in names:
        copy = folder / name
        copy.unlink(missing_ok=True)
        shutil.copy(world.folder / "site" / name, copy)
        copy.chmod(0o400)
    if os.geteuid() == 0:
        world.folder.chmod(0o711)
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "mosquitto")
    return folder


def owners_broker(world, port):
    """The owner's mosquitto; its certificate is the one that the gateway made for the broker's names."""
    site = copy_for_broker(world, "ca.crt", "server.crt", "server.key", "crl.pem")
    rules = world.folder / "owner.acl"
    rules.write_text(f"""\
user fog-1
topic readwrite lambda/v1/{world.site}/#

pattern write lambda/v1/{world.site}/%u/up
pattern write lambda/v1/{world.site}/%u/live
pattern write lambda/v1/{world.site}/%u/state
pattern read lambda/v1/{world.site}/%u/down
pattern read lambda/v1/{world.site}/interest/#
""")
    config = world.folder / "owner.conf"
    config.write_text(f"""\
listener {port} 127.0.0.1
cafile {site}/ca.crt
certfile {site}/server.crt
keyfile {site}/server.key
crlfile {site}/crl.pem
require_certificate true
use_identity_as_username true
use_username_as_clientid true
acl_file {rules}
""")
    broker = worlds.Program("mosquitto", ["/usr/sbin/mosquitto", "-c", config], world.folder)
    world.programs.append(broker)
    return broker


def kill_and_start(world, program, ready):
    program.kill()
    program.start()
    wait_until(f"{program.name} being back", ready, 60)


@case
def a_broker_with_tls_that_was_there_before_the_gateway(options):
    with options.world("owners-broker") as world:
        port = worlds.free_port()
        url = f"mqtts://localhost:{port}"
        world.make_gateway(broker=f'mode = "none"\nurl = "{url}"\n')
        world.gateway.start()
        # The first start makes the site; the broker can only begin when its certificate is there.
        wait_until("the site being made", (world.folder / "site" / "crl.pem").exists, 30)
        broker = owners_broker(world, port)
        broker.start()
        wait_until("the gateway being ready", world.gateway_ready, 60)
        assert world.broker_pid() is None, "the gateway has a broker of its own"

        agent = world.make_agent("press-7", series=20, interval_ms=250, seal_ms=500, urls=[])
        world.enrol(agent, "--gateway", url)   # the agent knows its gateway by the bundle alone
        other = Device(world.folder / "press-8", "press-8")
        world.enrol(other, "--gateway", url)
        world.start_agent(agent)
        wait_until("points being stored", lambda: world.segment_bytes() > 0, 60)
        other.connect(port)
        other.send(other.parcel([other.points(1, range(10))], [writer.declaration(1)]))
        assert other.wait_settled(1)

        kill_and_start(world, broker, world.gateway_ready)
        world.wait_stored_again("points being stored again", 60)
        kill_and_start(world, world.gateway, world.gateway_ready)
        world.drain(agent, 60)

        revoked_is_shut_out(world, broker, other, port)
        world.wait_stored_again("the agent being served as before", 60)
        world.drain(agent, 60)
        agent.stop()
        world.gateway.stop()
        assert broker.alive(), "the owner's broker was ended with the gateway"
        broker.stop()
        totals = world.balance()
        assert totals["dropped"] == 0, totals


def revoked_is_shut_out(world, broker, device, port):
    """Its session is ended; nothing of it is stored from then on; after a SIGHUP the broker refuses it too."""
    device.close()
    device.connect(port)
    world.call(world.binaries / "lambda", "revoke", device.name, "--site", world.folder / "site")
    before, first_seq = len(device.answers()), device.seq + 1
    ended = False
    deadline = time.monotonic() + 60
    while not ended and time.monotonic() < deadline:
        try:
            device.send(device.parcel([device.points(1, range(10))]))
            device.mqtt.pump(0.5)
        except OSError:
            ended = True
    assert ended, "the session of a revoked device goes on"
    acked = [seq for seq in range(first_seq, device.seq + 1)
             if any(answer.settles(seq) for answer in device.answers()[before:])]
    assert device.seq >= first_seq and not acked, f"a revoked device was acked: {acked}"
    copy_for_broker(world, "crl.pem")
    broker.signal(signal.SIGHUP)   # its owner's part: the revocation list is read again

    def turned_away():
        try:
            device.connect(port)
        except (OSError, TypeError):
            return True
        device.close()
        return False
    wait_until("the broker refusing the revoked device", turned_away, 30)


if __name__ == "__main__":
    sys.exit(main())
