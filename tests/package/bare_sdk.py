#!/usr/bin/env python3
"""Links firmware with the SDK for a Cortex-M3 without operating system, and looks at it with nm.

Fails when it does not link (there is no heap, no system call and no start-up code to link with), when the image holds an
allocator, a printf, exceptions, unwinding or guards of static objects, or when an object of the SDK has data of its own.
Exit status 77: the compiler or nanopb's sources are missing, so that nothing was proven.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

TRIPLE = "arm-none-eabi-"
MACHINE = ["-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft"]
COMMON = MACHINE + ["-Os", "-g1", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-Wall", "-Wextra", "-Werror"]
CPP = ["-std=c++20", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-Wno-psabi"]
C = ["-std=c11"]
# Symbols of the image, demangled names' first words. The compiler's own arithmetic (__aeabi_*) and memcpy are welcome.
BANNED = re.compile(
    r"^_*(malloc|calloc|realloc|free|sbrk|printf|sprintf|snprintf|vsnprintf|fprintf|puts|fopen|abort|exit|"
    r"malloc_r|free_r|calloc_r|realloc_r|sbrk_r|write|read|kill|getpid|"
    r"Znwj|Znaj|ZdlPv\w*|ZdaPv\w*|cxa_\w+|gxx_personality\w*|Unwind_\w+|aeabi_unwind\w*|aeabi_atexit|"
    r"impure_ptr|errno)$")
DATA = set("dDbBcCsSgG")  # symbols with memory of their own: initialised, zeroed, common, small


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit("%s\n%s%s" % (" ".join(command), done.stdout, done.stderr))
    return done.stdout


def skip(reason):
    print("\n*** SKIPPED, NOTHING IS PROVEN: %s ***\n" % reason)
    sys.exit(77)


def compile_one(source, options, out):
    is_cpp = source.endswith(".cpp")
    target = os.path.join(out, os.path.basename(source) + ".o")
    run([TRIPLE + ("g++" if is_cpp else "gcc")] + COMMON + (CPP if is_cpp else C) + options + ["-c", source, "-o", target])
    return target


def symbols(path):
    """(type, name) of what the file defines; absolute and undefined ones are left out."""
    found = []
    for line in run([TRIPLE + "nm", path]).splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] not in "aAU":
            found.append((parts[1], parts[2]))
    return found


def check(sdk_objects, image):
    offences = []
    for path in sdk_objects:
        offences += ["%s: %s is data of its own" % (os.path.basename(path), name) for kind, name in symbols(path)
                     if kind in DATA and not name.startswith("$")]
    offences += ["%s: %s" % (os.path.basename(image), name) for _, name in symbols(image) if BANNED.match(name)]
    return offences


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--start", required=True, help="what runs before main, under tests/package/bare")
    parser.add_argument("--main", required=True, help="the firmware's main, under tests/package/bare")
    parser.add_argument("--nanopb", help="nanopb's sources; needed when the SDK's messages are among the sources")
    parser.add_argument("--generated", help="the folder of proto/lambda.npb.h")
    parser.add_argument("--plant", help="a source that offends: the check must then find something")
    parser.add_argument("sources", nargs="+", help="of the SDK")
    args = parser.parse_args()
    if shutil.which(TRIPLE + "g++") is None:
        skip("%sg++ is not installed (packages/bare.txt)" % TRIPLE)
    if args.nanopb is not None and not os.path.exists(os.path.join(args.nanopb, "pb_encode.c")):
        skip("nanopb's sources are not in %s (./dev setup fetches them); codec and series store are checked alone "
             "by bare_codec_nm" % args.nanopb)
    shutil.rmtree(args.out, ignore_errors=True)
    os.makedirs(args.out)
    bare = os.path.join(args.root, "tests/package/bare")
    include = ["-I" + os.path.join(args.root, "sdk", part) for part in ("include", "src")]
    nanopb = []
    if args.nanopb is not None:
        include += ["-isystem", args.nanopb, "-isystem", args.generated]
        nanopb = [compile_one(os.path.join(args.nanopb, name), ["-w"] + include, args.out)
                  for name in ("pb_common.c", "pb_encode.c", "pb_decode.c")]
    sdk = [compile_one(source, include, args.out) for source in args.sources]
    if args.plant is not None:
        sdk.append(compile_one(args.plant, include, args.out))
    firmware = [compile_one(os.path.join(bare, name), include, args.out) for name in (args.start, args.main)]
    image = os.path.join(args.out, "image.elf")
    # C's string functions and the compiler's arithmetic; not the C++ library, not a start file, not a system call.
    run([TRIPLE + "gcc"] + MACHINE + ["-nostartfiles", "-nostdlib", "-T", os.path.join(bare, "bare.ld"), "-Wl,--gc-sections",
         "-Wl,--fatal-warnings"] + firmware + sdk + nanopb + ["-lc_nano", "-lgcc", "-o", image])
    offences = check(sdk, image)
    for offence in offences:
        print(offence)
    if args.plant is not None:
        print("planted: %d offences found" % len(offences))
        return 0 if len(offences) >= 2 else 1
    print(run([TRIPLE + "size", image]))
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
