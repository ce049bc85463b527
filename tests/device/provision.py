#!/usr/bin/env python3
"""What boards/provision.py refuses before a device is made of it. Needs the openssl program; no board, no gateway."""
import json
import pathlib
import subprocess
import sys
import tempfile

PROVISION = pathlib.Path(__file__).resolve().parents[2] / "boards" / "provision.py"


def provision(*arguments):
    done = subprocess.run([sys.executable, PROVISION, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def refused(words, *arguments):
    code, said = provision(*arguments)
    assert code == 1 and words in said and "Traceback" not in said, (words, code, said)


def bundle_for(folder, device):
    """As a site would answer the request, with a certificate signed by the device's own key."""
    made = subprocess.run(["openssl", "req", "-new", "-x509", "-key", folder / device / "tls.key", "-subj", f"/CN={device}"],
                          capture_output=True, text=True, check=True, timeout=60).stdout
    path = folder / f"{device}.bundle"
    path.write_text(json.dumps({"site": "plant", "device": device, "gateways": ["mqtts://hall-2.example:8883"],
                                "certificate": made, "ca": made}))
    return path


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for device in ("press-7", "press-8"):
            for _ in range(2):  # asking again is always allowed
                code, said = provision("request", "--device", device, "--keys", folder / device, "--out", folder / "request")
                assert code == 0, said
        refused("the keys of press-7", "request", "--device", "press-8", "--keys", folder / "press-7", "--out", folder / "no")
        bundle = bundle_for(folder, "press-7")
        image = ["image", "--broker-address", "10.0.2.2", "--out", folder / "identity.bin"]
        refused("not for the keys in", *image, "--keys", folder / "press-8", "--bundle", bundle)
        refused("there is no key", *image, "--keys", folder / "none", "--bundle", bundle)
        (folder / "text").write_text("no bundle")
        refused(f"{folder / 'text'}: not a bundle", *image, "--keys", folder / "press-7", "--bundle", folder / "text")
        assert not (folder / "identity.bin").exists() and not (folder / "no").exists()
        code, said = provision(*image, "--keys", folder / "press-7", "--bundle", bundle)
        assert code == 0 and (folder / "identity.bin").read_bytes().startswith(b"lambdaID"), said


if __name__ == "__main__":
    main()
