#!/usr/bin/env python3
"""What firmware takes: flash and RAM of each board's image, and of the SDK alone. Prints; --write into boards/SIZES.

  sizes.py [--write | --check]

Builds the images by their presets. --check fails when a budget is exceeded. RAM is what is not given to series and
parcels (the arena), without the stack. Exit status 77: the compiler or the sources are missing.
"""
import argparse
import collections
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BOARDS = {"mps2-an385": "Cortex-M3", "mps2-an386": "Cortex-M4F", "mps2-an505": "Cortex-M33"}
CORES = {"cortex-m3": ["-mfloat-abi=soft"], "cortex-m0plus": ["-mfloat-abi=soft"]}
# Bytes: whole image on a Cortex-M3; the SDK alone (codec, store, reading, parcels, uplink), linked. Where the SDK should
# be is 20 KB; until then it may not grow.
BUDGET = {"image_flash": 144 * 1024, "image_ram": 46 * 1024, "sdk_flash": 39 * 1024}
SDK_FLASH_WANTED = 20 * 1024
PARTS = (("SDK", r"liblambda_sdk"), ("nanopb", r"libdevice_nanopb"), ("firmware", r"libdevice_firmware|firmware\.dir"),
         ("lwIP: MQTT", r"libdevice_lwip\.a\(mqtt"), ("lwIP: TLS layer", r"libdevice_lwip\.a\(altcp_tls"),
         ("lwIP: TCP/IP", r"libdevice_lwip"), ("mbedTLS", r"libdevice_mbedtls"), ("C library, compiler", r"lib(c_nano|gcc)\.a"))
CACHE = ["ccache"] if shutil.which("ccache") else []
SDK_COMPILE = ["-Os", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-mthumb", "-w"]


def run(*command):
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def sections(image):
    """name -> bytes."""
    return {line.split()[0]: int(line.split()[1]) for line in run("arm-none-eabi-size", "-A", image).splitlines()
            if re.match(r"\.\w", line)}


def parts(map_file):
    """part -> [flash, ram], from the linker's map."""
    found = collections.OrderedDict((name, [0, 0]) for name, _ in PARTS)
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
        for name, pattern in PARTS:
            if re.search(pattern, entry.group(2)):
                size = int(entry.group(1), 16)
                found[name][0] += size if kind in ("text", "data") else 0
                found[name][1] += size if kind in ("data", "bss") else 0
                break
    return found


def sdk_alone(core, out):
    """Flash of the SDK, nanopb and what of the C library they call, linked with a main that uses all of it."""
    out.mkdir(parents=True, exist_ok=True)
    nanopb = ROOT / "third_party/nanopb-0.4.7"
    generated = ROOT / "build" / f"mcu-{next(iter(BOARDS))}" / "generated_nanopb"
    machine = [f"-mcpu={core}", *CORES[core], *SDK_COMPILE]
    include = [f"-I{ROOT}/sdk/include", f"-I{ROOT}/sdk/src", f"-I{nanopb}", f"-I{generated}"]
    objects = []
    bare = ROOT / "tests/package/bare"
    sources = [*sorted((ROOT / "sdk/src").glob("*.cpp")), *(nanopb / f"pb_{name}.c" for name in ("common", "encode", "decode")),
               bare / "start.c", bare / "device_main.c"]
    for source in sources:
        target = out / f"{source.name}.o"
        cpp = source.suffix == ".cpp"
        run(*CACHE, f"arm-none-eabi-{'g++' if cpp else 'gcc'}", *machine, *include,
            *(["-std=c++20", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"] if cpp else ["-std=c11"]),
            "-c", source, "-o", target)
        objects.append(target)
    image = out / "sdk.elf"
    run("arm-none-eabi-gcc", *machine, "-nostartfiles", "-nostdlib", "-T", bare / "bare.ld", "-Wl,--gc-sections",
        f"-Wl,-Map={out}/sdk.map", *objects, "-lc_nano", "-lgcc", "-o", image)
    return sum(size for name, size in sections(image).items() if name in (".text", ".ARM.exidx", ".data"))


def measure():
    lines = ["Written by boards/sizes.py --write. Bytes; arm-none-eabi-gcc 12.2 -Os. RAM is without the arena that series and",
             "parcels live in, and without the stack.", "", "| image | core | flash | RAM |", "| --- | --- | ---: | ---: |"]
    broken = []
    details = None
    for board, core in BOARDS.items():
        run("cmake", "--preset", f"mcu-{board}")
        run("cmake", "--build", "--preset", f"mcu-{board}")
        image = ROOT / "build" / f"mcu-{board}" / "bin" / "firmware.elf"
        size = sections(image)
        flash = size[".text"] + size.get(".ARM.exidx", 0) + size[".data"]
        ram = size[".data"] + size[".bss"]
        lines.append(f"| {board}: everything | {core} | {flash:,} | {ram:,} |")
        if board == "mps2-an385":
            details = parts(image.with_name("firmware.map"))
            if flash > BUDGET["image_flash"]:
                broken.append(f"{board}: {flash} bytes of flash, at most {BUDGET['image_flash']}")
            if ram > BUDGET["image_ram"]:
                broken.append(f"{board}: {ram} bytes of RAM, at most {BUDGET['image_ram']}")
    for core in CORES:
        flash = sdk_alone(core, ROOT / "build" / "sizes" / core)
        lines.append(f"| the SDK alone, no network or cryptography | {core} | {flash:,} | 0 |")
        if core == "cortex-m3" and flash > BUDGET["sdk_flash"]:
            broken.append(f"the SDK: {flash} bytes of flash on a Cortex-M3, at most {BUDGET['sdk_flash']}")
    lines += ["", f"Where the SDK alone should be on a Cortex-M3: {SDK_FLASH_WANTED:,} bytes. It is not there yet.", "",
              "Of the Cortex-M3's image:", "", "| part | flash | RAM |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {flash:,} | {ram:,} |" for name, (flash, ram) in details.items()]
    return "\n".join(lines) + "\n", broken


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if shutil.which("arm-none-eabi-g++") is None or not (ROOT / "third_party/lwip-2.1.3").is_dir():
        print("\n*** SKIPPED, NOTHING IS PROVEN: arm-none-eabi-g++ or the sources in third_party are missing ***\n")
        return 77
    text, broken = measure()
    print(text)
    if options.write:
        (ROOT / "boards" / "SIZES").write_text(text)
    for complaint in broken:
        print(f"over the budget: {complaint}")
    return 1 if options.check and broken else 0


if __name__ == "__main__":
    sys.exit(main())
