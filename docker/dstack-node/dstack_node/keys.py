"""A WireGuard key out of a key of the guest agent's."""

import hmac
import subprocess
from base64 import b64encode

LABEL = b"dstack-vpn/wireguard/1"
WG_SECONDS = 10


class KeyToolError(Exception):
    """There is no wg(8), or it does not do its work. Holds no part of a key."""


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


def wg_pubkey(private: str) -> str:
    """The public key, by wg(8). Raises KeyToolError."""
    command = ["wg", "pubkey"]
    try:
        done = subprocess.run(  # noqa: S603 (fixed words; the key goes over standard input)
            command, input=f"{private}\n", capture_output=True, text=True, timeout=WG_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KeyToolError(f"wg pubkey: {type(error).__name__}") from None
    if done.returncode:
        raise KeyToolError(f"wg pubkey ended with {done.returncode}")
    return done.stdout.strip()
