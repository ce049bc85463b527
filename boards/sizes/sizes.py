#!/usr/bin/env python3
"""What firmware takes: flash and RAM of each board's image, and of the SDK's parts. Prints; --write into sdk/SIZES.md.

  sizes.py [--write | --check]

Builds the images by their presets. --check fails when a budget is exceeded. RAM is what is not given to series and
parcels (the arena), without the stack. The SDK's own state lies in the arena; how much it takes is asked of the SDK on
the machine, in QEMU. Exit status 77: the compiler, QEMU or the sources are missing.
"""
import argparse
import collections
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BARE = ROOT / "tests/package/bare"
MEMORY = ROOT / "sdk/port/bare/memory.c"
HOLLOW = ROOT / "boards/sizes/hollow_sdk.c"
NANOPB = ROOT / "third_party/nanopb-0.4.7"
BOARDS = {"mps2-an385": "Cortex-M3", "mps2-an386": "Cortex-M4F", "mps2-an505": "Cortex-M33"}
CORES = {"cortex-m3": ["-mfloat-abi=soft"], "cortex-m0plus": ["-mfloat-abi=soft"]}
# Bytes: whole image on a Cortex-M3; the SDK alone (codec, store, reading, parcels, uplink), linked; hashing and signing
# alone, linked; the state of one series. Of the SDK what the program takes that it is linked with does not count.
BUDGET = {"image_flash": 144 * 1024, "image_ram": 46 * 1024, "sdk_flash": 25 * 1024, "sdk_flash_lto": 20 * 1024,
          "signing_flash": 18 * 1024, "series_state": 64}
# Of the SDK alone; what no pattern names is told as the rest, and the program not at all.
PROGRAM = "the program"
FEATURES = (("codec, content roots", r"block_(reader|writer)|codec_|crc32c|content_root"),
            ("series store", r"series_store\.cpp"), ("reading on the device", r"series_store_read"),
            ("parcels and messages", r"parcel|message_|wire"), ("uplink", r"uplink|backlog_share"),
            ("device and C API", r"/device\.cpp|lambda_c"),
            ("C library, compiler", r"lib(c_nano|gcc)\.a"), (PROGRAM, r"/(device_main|start)\.c\.o"),
            ("the rest", r"."))
# What an image has only when it names it: macros of the program's, and what stands for it in the table.
QUESTIONS = ("answers to a gateway's questions", ["-DQUESTIONS"])
REORDER = ("a place for points late by one", ["-DREORDER"])
COUNTERS = ("the device's counters", ["-DCOUNTERS"])
CODECS = (("xor32: 32-bit floats", ["-DCODEC=lam_codec_xor32"]), ("slope64: counters", ["-DCODEC=lam_codec_slope64"]),
          ("runs64: states", ["-DCODEC=lam_codec_runs64"]))
# A device's shelf has one lane; the core is measured without the choice of further codecs.
CORE = ["-DLAMBDA_TWO_CODECS"]
PARTS = (("SDK", r"liblambda_sdk"), ("firmware", r"libdevice_firmware|firmware\.dir"),
         ("lwIP: MQTT", r"libdevice_lwip\.a\(mqtt"), ("lwIP: TLS layer", r"libdevice_lwip\.a\(altcp_tls"),
         ("lwIP: TCP/IP", r"libdevice_lwip"), ("mbedTLS", r"libdevice_mbedtls"),
         ("C library, compiler", r"lib(c_nano|gcc)\.a"))
CACHE = ["ccache"] if shutil.which("ccache") else []
CPP = ["-std=c++20", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"]
SDK_COMPILE = ["-Os", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-mthumb", "-w", "-DLAMBDA_ONE_LANE"]


def run(*command):
    """What the command says, errors among it: QEMU prints there what a machine writes."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def sections(image):
    """name -> bytes."""
    return {line.split()[0]: int(line.split()[1]) for line in run("arm-none-eabi-size", "-A", image).splitlines()
            if re.match(r"\.\w", line)}


def parts(map_file, names):
    """part -> [flash, ram], from the linker's map; `names` are pairs of a part and the pattern of its objects."""
    found = collections.OrderedDict((name, [0, 0]) for name, _ in names)
    kind = None
    text = map_file.read_text(errors="replace")
    text = re.sub(r"\n (\.\S+|COMMON)\n +0x", r"\n \1 0x", text[text.index("Linker script and memory map"):])
    for line in text.splitlines():
        output = re.match(r"\.(text|data|bss|arena|ARM\.exidx)\b", line)
        if output or re.match(r"[./]\w|OUTPUT", line):
            kind = output.group(1) if output else None
        entry = re.match(r" (?:\.\S+|COMMON)\s+0x[0-9a-f]+\s+0x([0-9a-f]+) (\S.*)", line)
        if not entry or kind not in ("text", "data", "bss"):
            continue
        for name, pattern in names:
            if re.search(pattern, entry.group(2)):
                size = int(entry.group(1), 16)
                found[name][0] += size if kind in ("text", "data") else 0
                found[name][1] += size if kind in ("data", "bss") else 0
                break
    return found


def linked(core, out, name, sources, include, options=(), main_options=()):
    """Compiles `sources`, of which the last is the program, and links them with nothing of an operating system. memcpy
    and its like are never of the whole program: the compiler calls them after it was made. Nor are hollow functions:
    nothing would be left of what calls them."""
    out.mkdir(parents=True, exist_ok=True)
    machine = [f"-mcpu={core}", *CORES[core], *SDK_COMPILE]
    objects = []
    for source in sources:
        target = out / f"{source.name}.o"
        cpp = source.suffix == ".cpp"
        own = main_options if source is sources[-1] else ["-fno-lto"] if source in (MEMORY, HOLLOW) else ()
        run(*CACHE, f"arm-none-eabi-{'g++' if cpp else 'gcc'}", *machine, *(f"-I{folder}" for folder in include),
            *options, *own, *(CPP if cpp else ["-std=gnu11"]), "-c", source, "-o", target)
        objects.append(target)
    image = out / f"{name}.elf"
    run("arm-none-eabi-gcc", *machine, "-nostartfiles", "-nostdlib", "-T", BARE / "bare.ld", "-Wl,--gc-sections",
        f"-Wl,-Map={out}/{name}.map", *options, *objects, "-lc_nano", "-lgcc", "-o", image)
    return image


def flash_of(image):
    return sum(size for name, size in sections(image).items() if name in (".text", ".ARM.exidx", ".data"))


def sdk_sources():
    return sorted((ROOT / "sdk/src").glob("*.cpp"))


def sdk_include():
    """nanopb's header is among them: the one it generates, which has the fields' numbers, wants it."""
    return [ROOT / "sdk/include", ROOT / "sdk/src", NANOPB,
            ROOT / "build" / f"mcu-{next(iter(BOARDS))}" / "generated_nanopb"]


def sdk_alone(core, out, options=CORE, main="device_main.c", main_options=()):
    """The SDK and its own memory functions, linked with a program that uses all of it that is not optional."""
    sources = [*sdk_sources(), MEMORY, BARE / "start.c", BARE / main]
    return linked(core, out, "sdk", sources, sdk_include(), options, main_options)


def program_alone(core, out):
    """Bytes of flash of that program itself."""
    image = linked(core, out, "program", [HOLLOW, MEMORY, BARE / "start.c", BARE / "device_main.c"], sdk_include(), ["-flto"])
    hollow = sections(out / f"{HOLLOW.name}.o")
    return flash_of(image) - sum(size for name, size in hollow.items() if name.startswith(".text"))


def signing_alone(core, out):
    """SHA-256 and signatures of parcels, for a device without TLS."""
    mbedtls = ROOT / "third_party/mbedtls-2.28.3"
    sources = [*sorted((mbedtls / "library").glob("*.c")), ROOT / "boards/firmware/signing.cpp", BARE / "start.c",
               ROOT / "boards/sizes/signing_main.cpp"]
    return linked(core, out, "signing", sources,
                  [ROOT, ROOT / "sdk/include", mbedtls / "include", ROOT / "boards/firmware"],
                  ['-DMBEDTLS_CONFIG_FILE="mbedtls_signing_config.h"'])


def state(out):
    """name -> bytes of the SDK's state in its arena, told by the SDK on a Cortex-M3."""
    sources = [*sdk_sources(), BARE / "start.c", ROOT / "boards/sizes/state_main.c"]
    image = linked("cortex-m3", out, "state", sources, sdk_include())
    text = run("qemu-system-arm", "-M", "mps2-an385", "-nographic", "-monitor", "none", "-serial", "none",
               "-semihosting-config", "enable=on,target=native", "-kernel", image)
    return {line.split()[0]: int(line.split()[1]) for line in text.splitlines()}


def table(head, rows):
    def line(cells):
        return f"| {' | '.join(cell if isinstance(cell, str) else format(cell, ',') for cell in cells)} |"
    return [line(head), line(["---"] + ["---:"] * (len(head) - 1)), *map(line, rows), ""]


def measure_images(broken):
    """Rows of the boards' images, and the parts of the first one."""
    rows, details = [], None
    for board, core in BOARDS.items():
        # Configured again, an image would be another one, by the time in it, under the hands of whoever runs it.
        if not (ROOT / "build" / f"mcu-{board}" / "build.ninja").exists():
            run("cmake", "--preset", f"mcu-{board}")
        run("cmake", "--build", "--preset", f"mcu-{board}")
        image = ROOT / "build" / f"mcu-{board}" / "bin" / "firmware.elf"
        size = sections(image)
        text, data, bss = size[".text"] + size.get(".ARM.exidx", 0), size[".data"], size[".bss"]
        rows.append((f"{board}, {core}", text, data, bss, text + data, data + bss))
        if details is None:
            run("cmake", "--build", "--preset", f"mcu-{board}", "--target", "firmware_parts")
            details = parts(image.with_name("firmware_parts.map"), PARTS)
            if text + data > BUDGET["image_flash"]:
                broken.append(f"{board}: {text + data} bytes of flash, at most {BUDGET['image_flash']}")
            if data + bss > BUDGET["image_ram"]:
                broken.append(f"{board}: {data + bss} bytes of RAM, at most {BUDGET['image_ram']}")
    return rows, details


def measure():
    broken = []
    images, details = measure_images(broken)
    lines = ["# What the SDK and its firmware take", "",
             "Written by `boards/sizes/sizes.py --write`. Bytes; arm-none-eabi-gcc 12.2, -Os. RAM is without the arena that",
             "series and parcels live in, and without the stack. Tests fail when a budget is broken.", "",
             "## Whole images: lwIP, MQTT, mutual TLS, signed parcels", "",
             f"With -flto. At most {BUDGET['image_flash']:,} of flash and {BUDGET['image_ram']:,} of RAM on the Cortex-M3.", "",
             *table(["board", "text", "data", "bss", "flash", "RAM"], images), "Of the first, linked file by file, without -flto:", "",
             *table(["part", "flash", "RAM"], [(name, *size) for name, size in details.items()])]
    sdk, program, whole_program, signing, optional = {}, {}, {}, {}, collections.defaultdict(list)
    for core in CORES:
        out = ROOT / "build" / "sizes" / core
        sdk[core] = sdk_alone(core, out)
        program[core] = program_alone(core, out / "program")
        whole_program[core] = flash_of(sdk_alone(core, out / "lto", [*CORE, "-flto"])) - program[core]
        core_flash = flash_of(sdk[core])
        for name, main in (("snapshots in flash", "flash_main.c"), QUESTIONS, REORDER, COUNTERS):
            program = {"main": main} if isinstance(main, str) else {"main_options": main}
            optional[name].append(flash_of(sdk_alone(core, out / "optional", **program)) - core_flash)
        choice = flash_of(sdk_alone(core, out / "codecs", ()))
        optional["the choice of further codecs"].append(choice - core_flash)
        for name, macros in CODECS:
            image = sdk_alone(core, out / "codecs", (), main_options=macros)
            optional[name].append(flash_of(image) - choice)
        signing[core] = signing_alone(core, out)
    of = [parts(image.with_suffix(".map"), FEATURES) for image in sdk.values()]
    features = [(name, *(found[name][0] for found in of)) for name, _ in FEATURES if name != PROGRAM]
    sdk_flash = {core: flash_of(image) - found[PROGRAM][0] for (core, image), found in zip(sdk.items(), of)}
    signing_flash = {core: flash_of(image) for core, image in signing.items()}
    lines += ["## The SDK alone", "",
              "Codecs of 64-bit floats, of integers and of decimals; series, reading and summaries; parcels, uplink, live",
              "interest, several boots and several gateways. The firmware is compiled with -flto, so that figure counts.",
              f"At most {BUDGET['sdk_flash_lto']:,} on a Cortex-M3. The program that calls it is taken off: what it takes with an",
              "SDK of empty functions. No RAM of its own: all state lies in the arena.", "",
              *table(["flash of", *CORES], [*features, ("all", *sdk_flash.values()),
                                            ("all, compiled with -flto", *whole_program.values())]),
              "More, each only in images that name it; further codecs beside the choice of them:", "",
              *table(["flash of", *CORES], [(name, *sizes) for name, sizes in optional.items()]),
              "## Hashing and signing alone, where no TLS is linked", "",
              *table(["flash", *CORES], [("SHA-256, secp256k1, deterministic ECDSA", *signing_flash.values())])]
    taken = state(ROOT / "build/sizes/cortex-m3")
    lines += ["## State in the arena, Cortex-M3", "",
              "What `lam_memory_min()` asks for beside pages of points. "
              f"A series may take {BUDGET['series_state']}.", "",
              *table(["of", "bytes"], [("the device, with a block and a hello in work", taken["device"]),
                                       ("each parcel of 2,048 bytes that may be in flight", taken["parcel"]),
                                       ("each series", taken["series"])])]
    for name, bytes_, what in (("sdk_flash", sdk_flash["cortex-m3"], "the SDK: bytes of flash on a Cortex-M3"),
                               ("sdk_flash_lto", whole_program["cortex-m3"], "the SDK with -flto: bytes of flash on a Cortex-M3"),
                               ("signing_flash", signing_flash["cortex-m3"], "signing: bytes of flash on a Cortex-M3"),
                               ("series_state", taken["series"], "a series: bytes of state")):
        if bytes_ > BUDGET[name]:
            broken.append(f"{what}: {bytes_}, at most {BUDGET[name]}")
    return "\n".join(lines).rstrip() + "\n", broken


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    programs = all(map(shutil.which, ("arm-none-eabi-g++", "qemu-system-arm")))
    if not programs or not (ROOT / "third_party/lwip-2.1.3").is_dir():
        print("\n*** SKIPPED, NOTHING IS PROVEN: arm-none-eabi-g++, QEMU or sources in third_party are missing ***\n")
        return 77
    text, broken = measure()
    print(text)
    if options.write:
        (ROOT / "sdk" / "SIZES.md").write_text(text)
    for complaint in broken:
        print(f"over the budget: {complaint}")
    return 1 if options.check and broken else 0


if __name__ == "__main__":
    sys.exit(main())
