"""What the firmware's sensors must have said: the formulas of boards/firmware/sensors.cpp, written a second time."""
import struct

TICKS_PER_SECOND = 100
MASK = 0xFFFFFFFF


def triangle(n, half):
    phase = n % (2 * half)
    return phase if phase < half else 2 * half - phase


def noise(n):
    n = ((n ^ n >> 16) * 0x45D9F3B) & MASK
    n = ((n ^ n >> 16) * 0x45D9F3B) & MASK
    return n ^ n >> 16


def i64(value):
    return value & 0xFFFFFFFFFFFFFFFF


def f64(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def f32(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


# name -> (ticks between points, ordinal -> 64 bits)
SERIES = {
    "device_vibration_steps": (1, lambda n: i64(triangle(n, 50) * 8 + noise(n) % 16 - 200)),
    "device_temperature_celsius": (100, lambda n: i64(2000 + triangle(n, 300) + noise(n) % 4)),
    "device_supply_volts": (100, lambda n: i64(3280 + noise((n + 1000) & MASK) % 8)),
    "device_pressure_pascals": (100, lambda n: f64(101325.0 + triangle(n, 100) * 0.25)),
    "device_samples_total": (100, lambda n: i64(n * TICKS_PER_SECOND + 1)),
    "device_door_state": (100, lambda n: i64(n // 60 % 2)),
    "device_current_amperes": (100, lambda n: f32(1.5 + triangle(n, 64) * 0.0625)),
}
