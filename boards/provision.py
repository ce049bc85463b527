#!/usr/bin/env python3
"""Gives a device its identity: makes its keys, asks the site for it, writes the image of its identity region.

  provision.py request --device ID --keys DIR --out FILE.request
      makes both keys in DIR (once; they are kept; a folder for each device) and the request of proto/enrolment.md
  lambda enroll FILE.request --site SITE --out FILE.bundle
  provision.py image --keys DIR --bundle FILE.bundle --broker-address A.B.C.D --out identity.bin
      the image for the identity region (boards/firmware/identity.h); what else it takes: provision.py image --help

The keys stay in DIR and in the image: whoever can read either can speak for the device. Needs the openssl program.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import struct
import subprocess
import sys

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1
TAGS = {"site": 1, "device": 2, "broker_name": 3, "broker_address": 4, "broker_port": 5, "mac": 6, "own_address": 7,
        "mask": 8, "router": 9, "authority": 10, "certificate": 11, "tls_key": 12, "signing_key": 13, "seal_age_ms": 14,
        "memory_bytes": 15, "flash_save_s": 16}


def openssl(*arguments, given=None):
    done = subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, timeout=60)
    if done.returncode != 0:
        sys.exit(f"openssl {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def make_key(path, curve):
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    made = openssl("ecparam", "-name", curve, "-genkey", "-noout")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(made)


def claim_keys(keys, device):
    """A folder of keys is of one device: two with the same keys could speak for each other."""
    owner = keys / "device"
    keys.mkdir(parents=True, exist_ok=True)
    if not owner.exists():
        owner.write_text(device + "\n")
    elif owner.read_text().strip() != device:
        sys.exit(f"{keys}: these are the keys of {owner.read_text().strip()}: give {device} a folder of its own")


def secret_of(path):
    """32 bytes: the private number of an EC key (RFC 5915: SEQUENCE, version 1, OCTET STRING)."""
    der = openssl("ec", "-in", path, "-outform", "DER")
    at = der.index(b"\x02\x01\x01\x04") + 4
    return der[at + 1:at + 1 + der[at]].rjust(32, b"\0")


def public_of(path):
    """The compressed public key: the last 33 bytes of its DER form."""
    return openssl("ec", "-in", path, "-pubout", "-conv_form", "compressed", "-outform", "DER")[-33:]


def sign(path, digest):
    """r || s with s in the lower half, from openssl's SEQUENCE of two INTEGERs."""
    der = openssl("pkeyutl", "-sign", "-inkey", path, given=digest)
    numbers, at = [], 2
    for _ in range(2):
        size = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2:at + 2 + size], "big"))
        at += 2 + size
    r, s = numbers
    return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")


def sized(text):
    return struct.pack(">I", len(text.encode())) + text.encode()


def request(options):
    if not re.fullmatch(r"[a-z0-9-]{1,64}", options.device):
        sys.exit(f"--device {options.device}: an id is 1 to 64 of a-z, 0-9 and -")
    claim_keys(options.keys, options.device)
    tls, signing = options.keys / "tls.key", options.keys / "signing.key"
    make_key(tls, "prime256v1")
    make_key(signing, "secp256k1")
    csr = openssl("req", "-new", "-key", tls, "-subj", f"/CN={options.device}").decode()
    proof = hashlib.sha256(b"lambda/enrol/1\0" + sized(options.device) + sized(csr)).digest()
    options.out.write_text(json.dumps({"version": 1, "device": options.device, "csr": csr, "key_spec": 1,
                                       "public_key": public_of(signing).hex(), "proof": sign(signing, proof).hex()}))


def address(text):
    parts = text.split(".")
    if len(parts) != 4 or not all(part.isdigit() and int(part) < 256 for part in parts):
        raise argparse.ArgumentTypeError(f"{text} is no IPv4 address")
    return bytes(map(int, parts))


def between(least, most):
    def number(text):
        if not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is no number from {least} to {most}")
        return int(text)
    return number


def mac(text):
    parts = text.split(":")
    if len(parts) != 6 or not all(re.fullmatch("[0-9a-fA-F]{2}", part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text} is no MAC address")
    return bytes(int(part, 16) for part in parts)


def mac_of(device):
    """One of the locally administered ones, the same for the same device."""
    made = hashlib.sha256(b"lambda/mac/1\0" + device.encode()).digest()
    return bytes([made[0] & 0xFC | 2]) + made[1:6]


def der_of(pem):
    return openssl("x509", "-outform", "DER", given=pem.encode())


def broker_of(bundle, options):
    """(name, port): of the options, else of the bundle's first gateway."""
    name, port = options.broker_name, options.broker_port
    if bundle["gateways"] and not (name and port):
        found = re.fullmatch(r"mqtts://(.*):(\d+)", bundle["gateways"][0])
        if found:
            name, port = name or found.group(1), port or int(found.group(2))
    if not name or not port:
        sys.exit("the bundle names no gateway: say --broker-name and --broker-port")
    return name, port


def bundle_in(path):
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        sys.exit(f"{path}: not a bundle, as lambda enroll writes it: {error}")


def image(options):
    bundle = bundle_in(options.bundle)
    tls = options.keys / "tls.key"
    if not tls.exists():
        sys.exit(f"{tls}: there is no key; provision.py request makes it")
    if openssl("x509", "-noout", "-pubkey", given=bundle["certificate"].encode()) != openssl("ec", "-in", tls, "-pubout"):
        sys.exit(f"{options.bundle}: its certificate, of {bundle['device']}, is not for the keys in {options.keys}")
    name, port = broker_of(bundle, options)
    items = {
        "site": bundle["site"].encode() + b"\0",
        "device": bundle["device"].encode() + b"\0",
        "broker_name": name.encode() + b"\0",
        "broker_address": options.broker_address,
        "broker_port": struct.pack("<H", port),
        "mac": options.mac or mac_of(bundle["device"]),
        "own_address": options.own_address,
        "mask": options.mask,
        "router": options.router,
        "authority": der_of(bundle["ca"]),
        "certificate": der_of(bundle["certificate"]),
        "tls_key": openssl("ec", "-in", tls, "-outform", "DER"),
        "signing_key": secret_of(options.keys / "signing.key"),
    }
    for field in ("seal_age_ms", "memory_bytes", "flash_save_s"):
        if getattr(options, field) is not None:
            items[field] = struct.pack("<I", getattr(options, field))
    body = b"".join(struct.pack("<HH", TAGS[field], len(value)) + value for field, value in items.items())
    made = b"lambdaID" + struct.pack("<II", 1, len(body)) + hashlib.sha256(body).digest() + body
    with os.fdopen(os.open(options.out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(made)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    ask = commands.add_parser("request")
    ask.add_argument("--device", required=True)
    ask.add_argument("--keys", required=True, type=pathlib.Path)
    ask.add_argument("--out", required=True, type=pathlib.Path)
    ask.set_defaults(run=request)
    write = commands.add_parser("image")
    write.add_argument("--keys", required=True, type=pathlib.Path)
    write.add_argument("--bundle", required=True, type=pathlib.Path)
    write.add_argument("--out", required=True, type=pathlib.Path)
    write.add_argument("--broker-address", required=True, type=address, help="where the broker is, IPv4")
    write.add_argument("--broker-name", help="what its certificate must say; default: of the bundle's first gateway")
    write.add_argument("--broker-port", type=between(1, 65_535), help="default: of the bundle's first gateway")
    write.add_argument("--own-address", type=address, default=address("10.0.2.15"),
                       help="the device's, IPv4; default: 10.0.2.15, as in QEMU's network")
    write.add_argument("--mask", type=address, default=address("255.255.255.0"), help="default: 255.255.255.0")
    write.add_argument("--router", type=address, default=address("10.0.2.2"), help="default: 10.0.2.2, QEMU's")
    write.add_argument("--mac", type=mac, help="default: made from the device's id")
    write.add_argument("--seal-age-ms", type=between(1, 600_000),
                       help="points are sent at the latest so long after they were made")
    write.add_argument("--memory-bytes", type=between(1, 2**32 - 1), help="less memory for series than the board has")
    write.add_argument("--flash-save-s", type=between(0, 2**32 - 1),
                       help="a snapshot to flash each so many seconds; 0, the default: a reset loses what is in memory")
    write.set_defaults(run=image)
    options = parser.parse_args()
    try:
        options.run(options)
    except (OSError, ValueError, KeyError, IndexError) as error:
        sys.exit(f"provision.py: {error if isinstance(error, OSError) else repr(error)}")


if __name__ == "__main__":
    main()
