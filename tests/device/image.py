#!/usr/bin/env python3
"""Builds a board's image by its preset, and looks at it: no allocator of the C library, no printf, no exceptions.

  image.py --board mps2-an385
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from machine import ROOT, skip  # noqa: E402

BANNED = re.compile(r"^_*(malloc|calloc|realloc|free|sbrk|\w*printf|fopen|abort|exit|malloc_r|free_r|sbrk_r|Znwj|Znaj|ZdlPv\w*|"
                    r"cxa_throw|cxa_guard\w*|gxx_personality\w*|Unwind_RaiseException)$")


def run(*command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def names_in(image):
    return {line.split()[-1] for line in run("arm-none-eabi-nm", "--defined-only", str(image)).splitlines()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--board", required=True)
    board = parser.parse_args().board
    if shutil.which("arm-none-eabi-g++") is None:
        skip("arm-none-eabi-g++ is not installed (packages/bare.txt)")
    for source in ("lwip-2.1.3", "mbedtls-2.28.3", "nanopb-0.4.7"):
        if not (ROOT / "third_party" / source).is_dir():
            skip(f"the sources of {source} are not in third_party (./dev setup fetches them)")
    run("cmake", "--preset", f"mcu-{board}")
    run("cmake", "--build", "--preset", f"mcu-{board}")
    run("cmake", "--build", "--preset", f"mcu-{board}", "--target", "firmware_parts")
    folder = ROOT / "build" / f"mcu-{board}" / "bin"
    image, by_files = folder / "firmware.elf", folder / "firmware_parts.elf"
    # Optimized as a whole, an image has lost the names of what went into its callers: the other link has them all.
    assert {"reset", "lam_poll"} <= names_in(by_files), f"{by_files} is no firmware"
    found = sorted(name for name in names_in(by_files) | names_in(image) if BANNED.match(name))
    if found:
        sys.exit(f"{image} has {', '.join(found)}")
    print(run("arm-none-eabi-size", str(image)))


if __name__ == "__main__":
    main()
