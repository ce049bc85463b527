"""What the cases of this folder share: options, the seed, time limits, and loud skips.

  CASE.py --bin DIR [--seed N] [--full] [--away-s N] [NAME ...]

Runs the functions that were registered with @case (or those named), each in a world of its own. Exit status 0 all
held, 1 one did not, 77 nothing could run here (the reason is printed).
"""
import argparse
import pathlib
import random
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import world as worlds  # noqa: E402
from device import Device, Mqtt  # noqa: E402,F401
from world import wait_until  # noqa: E402,F401

SKIPPED = 77


class Skip(Exception):
    """This machine cannot run the case; the text says what is missing."""


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


class Options:
    def __init__(self, binaries, seed, full, away_s, host_binaries):
        self.binaries, self.seed, self.full, self.away_s = binaries, seed, full, away_s
        self.host_binaries = host_binaries
        self.random = random.Random(seed)

    def world(self, name, **more):
        return worlds.world(self.binaries, name, **more)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--away-s", type=int, help="how long a long absence is, for the case that waits it out")
    parser.add_argument("--host-bin", help="programs of this machine, where those of --bin are for another")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(CASES)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    failed, ran = [], 0
    for name in arguments.names or CASES:
        print(f"== {name}, seed {arguments.seed}", flush=True)
        started = time.monotonic()
        try:
            CASES[name](Options(arguments.bin, arguments.seed, arguments.full, arguments.away_s, arguments.host_bin))
            ran += 1
            print(f"   held, {time.monotonic() - started:.1f} s", flush=True)
        except Skip as reason:
            print(f"   SKIPPED: {reason}", flush=True)
        except Exception:  # the next case is worth knowing too
            traceback.print_exc()
            print(f"   FAILED, seed {arguments.seed}", flush=True)
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)} (seed {arguments.seed})")
        return 1
    return 0 if ran else SKIPPED
