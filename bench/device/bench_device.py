#!/usr/bin/env python3
"""What SeriesStore::append() costs on a Cortex-M3 in instructions, and what ten minutes of a series take in bytes.

  bench_device.py [--core cortex-m3] [--build FOLDER] [FILE.csv[.gz]:TYPE ...]

Builds the SDK with the size optimisation of firmware and counts in QEMU (-icount); each block's bytes are compared with
those of another writer. Beside the series made here and those of bench/data it takes others: CSV of
`timestamp_ms,value`, TYPE one of i64, counter, dec:K, state, f32, f64. Of each the first ten minutes are taken, at most
1,024 points. Exit status 1: a must is broken; 77: the compiler or QEMU is missing.
"""
import argparse
import csv
import decimal
import gzip
import importlib.util
import pathlib
import random
import shutil
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

BARE = ROOT / "tests/package/bare"
SOURCES = ["block_reader", "block_writer", "codec_all", "codec_runs64", "codec_slope64", "codec_xor32", "content_root", "crc32c",
           "series_store", "series_store_read"]
XOR64, DELTA64, XOR32, SLOPE64, RUNS64 = 1, 2, 4, 5, 7
NAMES = {XOR64: "xor64", DELTA64: "delta64", XOR32: "xor32", SLOPE64: "slope64", RUNS64: "runs64"}
F64, F32, I64, DEC, STATE = 1, 2, 3, 4, 5
# What must hold: instructions of the median append of an integer; bytes of ten minutes of a sensor in tenths at 1 Hz, and
# of a state that does not change; bytes a series takes whatever it holds.
INSTRUCTIONS_MUST = 250
SENSOR_BYTES_MUST, STEADY_BYTES_MUST, STATE_BYTES_MUST = 700, 30, 40


def writer_of_vectors():
    """A writer of blocks that is not the SDK."""
    spec = importlib.util.spec_from_file_location("stored_vectors", ROOT / "proto/vectors/stored/make_vectors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def f32(value):
    return struct.unpack("<I", struct.pack("<f", float(value)))[0]


def f64(value):
    return struct.unpack("<Q", struct.pack("<d", float(value)))[0]


def even(values, step=1000):
    return [(1_700_000_000_000 + i * step, value) for i, value in enumerate(values)]


def walk(steps, count=600, seed=1):
    source, at, out = random.Random(seed), 215, []
    for _ in range(count):
        at += source.choice(steps)
        out.append(at)
    return out


def made():
    tenths = walk([-3, -2, -1, 0, 1, 2, 3])
    yield "tenths", DEC, 1, (DELTA64,), even(tenths)
    yield "tenths_each_second_another", DEC, 1, (DELTA64,), even(walk([-2, -1, 1, 2]))
    source = random.Random(2)
    yield "tenths_late_by_3ms", DEC, 1, (DELTA64,), [(t + source.randint(0, 3), v) for t, v in even(tenths)]
    yield "adc_12bit", I64, 0, (DELTA64,), even(walk(range(-40, 41)))
    yield "door_closed", STATE, 0, (DELTA64, RUNS64), even([1] * 600)
    yield "door_each_minute", STATE, 0, (DELTA64, RUNS64), even([i // 60 % 2 for i in range(600)])
    total, counter = 10**9, []
    for _ in range(600):
        total += 125_000 + source.randint(-20, 20)
        counter.append(total)
    yield "counter", I64, 0, (DELTA64, SLOPE64), even(counter)
    level = [20 + 5 * ((i * 37) % 101) / 101 + source.random() for i in range(600)]
    yield "noise_f32", F32, 0, (XOR32,), even([f32(v) for v in level])
    yield "noise_f64", F64, 0, (XOR64,), even([f64(v) for v in level])


def read(path, kind):
    with (gzip.open(path, "rt") if path.suffix == ".gz" else open(path)) as file:
        rows = [row for row in csv.reader(file) if row and row[0].lstrip("-").isdigit()]
    start = int(rows[0][0])
    rows = [(int(time), decimal.Decimal(value)) for time, value, *_ in rows if 0 <= int(time) - start < 600_000][:1024]
    name = path.name.split(".")[0]
    if kind in ("f32", "f64"):
        convert, type, codec = (f32, F32, XOR32) if kind == "f32" else (f64, F64, XOR64)
        return name, type, 0, (codec,), [(time, convert(value)) for time, value in rows]
    scale = int(kind.partition(":")[2] or 0)
    scaled = [(time, value.scaleb(scale)) for time, value in rows]
    if any(value != int(value) for _, value in scaled):
        sys.exit(f"{path}: not every value is of type {kind}")
    codecs = {"counter": (DELTA64, SLOPE64), "state": (DELTA64, RUNS64)}.get(kind, (DELTA64,))
    type = DEC if scale else STATE if kind == "state" else I64
    return name, type, scale, codecs, [(time, int(value)) for time, value in scaled]


def header(series):
    out = ["struct Sample { long long time_ms; unsigned long long bits; };",
           "struct Measured { const char* name; const Sample* points; unsigned count; unsigned char type, scale, codec; };"]
    table = []
    for n, (name, type, scale, codecs, points) in enumerate(series):
        out.append(f"static const Sample kPoints{n}[] = {{" +
                   ",".join(f"{{{time}ll,{value % 2**64}ull}}" for time, value in points) + "};")
        table += [f'{{"{name}", kPoints{n}, {len(points)}, {type}, {scale}, {codec}}}' for codec in codecs]
    out.append("static const Measured kSeries[] = {" + ",".join(table) + "};")
    return "\n".join(out) + f"\nstatic const unsigned kSeriesCount = {len(table)};\n"


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def build(core, out, series):
    out.mkdir(parents=True, exist_ok=True)
    (out / "series.h").write_text(header(series))
    flags = [f"-mcpu={core}", "-mthumb", "-mfloat-abi=soft", "-Os", "-ffreestanding", "-ffunction-sections", "-fdata-sections"]
    cpp = ["-std=c++20", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", f"-I{ROOT}/sdk/include", f"-I{out}"]
    objects = []
    for source in [*(ROOT / "sdk/src" / f"{name}.cpp" for name in SOURCES), ROOT / "bench/device/main.cpp", BARE / "start.c"]:
        objects.append(out / f"{source.name}.o")
        compiler = ["arm-none-eabi-g++", *cpp] if source.suffix == ".cpp" else ["arm-none-eabi-gcc", "-std=c11"]
        run(*compiler, *flags, "-c", source, "-o", objects[-1])
    image = out / "bench_device.elf"
    run("arm-none-eabi-gcc", *flags, "-nostartfiles", "-nostdlib", "-T", BARE / "bare.ld", "-Wl,--gc-sections", *objects,
        "-lc_nano", "-lgcc", "-o", image)
    return image


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", default="cortex-m3", choices=["cortex-m3", "cortex-m0plus"])
    parser.add_argument("--bin", help="not used: nothing of the build is needed")  # ./dev bench gives it to all
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/bench_device")
    parser.add_argument("files", nargs="*", metavar="FILE:TYPE")
    options = parser.parse_args()
    for tool in ("arm-none-eabi-g++", "qemu-system-arm"):
        if shutil.which(tool) is None:
            print(f"\n*** SKIPPED, NOTHING IS PROVEN: {tool} is missing ***\n")
            return 77
    series = list(made())
    data = ROOT / "bench/data"
    series += [read(data / "host_mem_available_kb_gauge.csv.gz", "i64"), read(data / "host_load1_gauge.csv.gz", "dec:2"),
               read(data / "host_ctxt_counter.csv.gz", "counter")]
    series += [read(pathlib.Path(path), kind) for path, _, kind in (text.partition(":") for text in options.files)]
    out = options.build / options.core
    image = build(options.core, out, series)
    said = run("qemu-system-arm", "-M", "mps2-an385", "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=10",
               "-semihosting-config", "enable=on,target=native", "-kernel", image)
    vectors = writer_of_vectors()
    types = {name: type for name, type, *_ in series}
    broken, state = [], None
    print(f"{options.core}, -Os; ten minutes or 1,024 points in one block; instructions of SeriesStore::append()\n")
    print(f"{'series':<32}{'codec':<9}{'points':>7}{'bytes':>7}{'bits a point':>14}{'median':>8}{'99 %':>6}{'first':>7}")
    for line in said.split("\n"):
        words = line.split()
        if len(words) == 2 and words[0] == "state":
            state = int(words[1])
        if len(words) != 8:
            continue
        name, (codec, count, size, median, p99, first, checksum) = words[0], map(int, words[1:])
        _, type, scale, _, points = next(one for one in series if one[0] == name)
        body = vectors.stream([(time, value % 2**64) for time, value in points], codec, type, **({"scale": scale} if scale else {}))
        if struct.pack("<I", checksum) != vectors.crc32c(body):
            broken.append(f"{name} in {NAMES[codec]}: not the bytes of proto/block.md")
        print(f"{name:<32}{NAMES[codec]:<9}{count:>7}{size:>7}{size * 8 / count:>14.1f}{median:>8}{p99:>6}{first:>7}")
        if options.core == "cortex-m3" and types[name] in (I64, DEC, STATE) and median > INSTRUCTIONS_MUST:
            broken.append(f"{name} in {NAMES[codec]}: {median} instructions, at most {INSTRUCTIONS_MUST}")
        if name.startswith("tenths") and "late" not in name and size > SENSOR_BYTES_MUST:
            broken.append(f"{name}: {size} bytes, at most {SENSOR_BYTES_MUST}")
        if name == "door_closed" and codec == RUNS64 and size > STEADY_BYTES_MUST:
            broken.append(f"{name}: {size} bytes, at most {STEADY_BYTES_MUST}")
    if state is None:
        sys.exit(f"the program did not end:\n{said}")
    print(f"\nstate of a series: {state} bytes, beside the page of its open block")
    if state > STATE_BYTES_MUST:
        broken.append(f"{state} bytes of state, at most {STATE_BYTES_MUST}")
    for complaint in broken:
        print(f"a must is broken: {complaint}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
