"""Keys and signatures that are the same on every run."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # SEC 2, 2.4.2
DETERMINISTIC = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


def derive(secret: bytes, info: bytes, salt: bytes = b"RATLS", length: int = 32) -> bytes:
    """HKDF with SHA-256 (RFC 5869), salted as DStack's key derivation is (DStack, ra-tls, kdf.rs)."""
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def p256(seed: bytes, label: str) -> ec.EllipticCurvePrivateKey:
    """The key on P-256 of a label."""
    wide = derive(seed, label.encode(), b"dstack-simulator", 48)
    return ec.derive_private_key(int.from_bytes(wide) % (P256_ORDER - 1) + 1, ec.SECP256R1())


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """ECDSA with SHA-256 as r and s, 32 bytes each: so it stands in quotes and in collateral."""
    r, s = decode_dss_signature(key.sign(message, DETERMINISTIC))
    return r.to_bytes(32) + s.to_bytes(32)


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key as x and y, 32 bytes each."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key as DER of SubjectPublicKeyInfo (RFC 5280)."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
