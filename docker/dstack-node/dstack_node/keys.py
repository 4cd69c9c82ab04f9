"""A WireGuard key out of a key of the guest agent's."""

import hmac
from base64 import b64decode, b64encode

from nacl.bindings import crypto_scalarmult_base

LABEL = b"dstack-vpn/wireguard/1"


def private_key(secret: bytes) -> str:
    """Base64 of an X25519 key: another use of the same secret gives another key (HKDF with SHA-256, RFC 5869)."""
    return b64encode(clamp(hkdf(secret, LABEL))).decode()


def hkdf(secret: bytes, info: bytes, salt: bytes = bytes(32)) -> bytes:
    """32 bytes: one block (RFC 5869, 2)."""
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\1", "sha256")


def clamp(raw: bytes) -> bytes:
    """Make 32 bytes a valid X25519 scalar (RFC 7748, section 5)."""
    return bytes([raw[0] & 248, *raw[1:31], raw[31] & 127 | 64])


def public_key(private: str) -> str:
    """Base64 of the matching public key (RFC 7748, section 6.1)."""
    return b64encode(crypto_scalarmult_base(b64decode(private))).decode()
