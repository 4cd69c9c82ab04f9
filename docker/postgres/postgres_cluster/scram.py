"""Passwords as PostgreSQL keeps them: SCRAM-SHA-256 verifiers (RFC 5803; PostgreSQL, 53.8 pg_authid).

So a password itself is in no statement, and in no log of one.
"""

import hmac
import re
import secrets
from base64 import b64decode, b64encode
from hashlib import pbkdf2_hmac, sha256

ITERATIONS = 4096
SALT_BYTES = 16
VERIFIER = re.compile(r"SCRAM-SHA-256\$([0-9]+):([A-Za-z0-9+/=]+)\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+")


def verifier(password: str) -> str:
    """A new one for a password of ASCII characters."""
    return _verifier(password, secrets.token_bytes(SALT_BYTES), ITERATIONS)


def is_for(known: str, password: str) -> bool:
    """Whether a verifier is that of a password."""
    match = VERIFIER.fullmatch(known)
    return match is not None and hmac.compare_digest(known, _verifier(password, b64decode(match[2]), int(match[1])))


def _verifier(password: str, salt: bytes, iterations: int) -> str:
    salted = pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
    stored = sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    texts = [b64encode(one).decode() for one in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{texts[0]}${texts[1]}:{texts[2]}"
