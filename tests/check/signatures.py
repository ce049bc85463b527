"""Verifies what devices signed, under the keys that the site's registry names for them. From proto/parcel.md and
proto/enrolment.md alone; the arithmetic is OpenSSL's, by Debian's python3-cryptography."""
import json
import pathlib

KEY_SPEC_SECP256K1 = 1
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SIGNATURE_BYTES = 64


class Keys:
    """`sites` are folders with a registry.jsonl. A device may have had several keys: what it signed under a former one
    stays good. Counts of what was asked: `verified`, and `unknown`, of which no key is at hand."""

    def __init__(self, sites=()):
        self.of_device = {}
        self.verified = self.unknown = 0
        for site in sites:
            self._read(pathlib.Path(site) / "registry.jsonl")

    def _read(self, path):
        from cryptography.hazmat.primitives.asymmetric import ec
        if not path.exists():
            return   # nobody was enrolled yet
        for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            try:
                enrolled = json.loads(line)["enroll"]
                device, key = enrolled["device"], bytes.fromhex(enrolled["public_key"])
            except (ValueError, KeyError, TypeError):
                continue   # a revocation, or a line that was never finished
            self.of_device.setdefault(device, []).append(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key))

    def complaint(self, device, digest, signature, key_spec=KEY_SPEC_SECP256K1):
        """What is wrong with a signature; None if it is good, or if none of the device's keys is at hand."""
        keys = self.of_device.get(device)
        if not keys:
            self.unknown += 1
            return None
        if key_spec != KEY_SPEC_SECP256K1:
            return f"key specifier {key_spec}"
        if len(signature) != SIGNATURE_BYTES:
            return f"a signature of {len(signature)} bytes"
        r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
        if not 0 < r < ORDER or not 0 < s <= ORDER // 2:
            return "a signature out of range, or its s in the upper half"
        if not any(_matches(key, r, s, digest) for key in keys):
            return f"the signature is not {device}'s"
        self.verified += 1
        return None


def _matches(key, r, s, digest):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    try:
        key.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        return True
    except InvalidSignature:
        return False
