"""Certificates of a cluster's own members, as pure derivations of the mesh's seed: X.509 (RFC 5280) with Ed25519.

Every member gets the same text at every `up`, and nobody keeps an authority's key in a file.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from vpn.model.keys import KeyRing

AUTHORITY = "authority"
SIGNATURE_BYTES = 64
LINE = 64  # characters (RFC 7468, 2)
INTEGER, BIT_STRING, OCTET_STRING, OBJECT, UTF8, SEQUENCE, SET = 0x02, 0x03, 0x04, 0x06, 0x0C, 0x30, 0x31
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
TRUE = b"\x01\x01\xff"
# Object identifiers as DER has them.
ED25519, COMMON_NAME = b"\x2b\x65\x70", b"\x55\x04\x03"
KEY_USAGE, ALTERNATIVE_NAME, CONSTRAINTS = b"\x55\x1d\x0f", b"\x55\x1d\x11", b"\x55\x1d\x13"
SUBJECT_KEY, AUTHORITY_KEY = b"\x55\x1d\x0e", b"\x55\x1d\x23"
SIGNS_CERTIFICATES, SIGNS = b"\x03\x02\x02\x04", b"\x03\x02\x07\x80"
# From before any mesh to "no expiration" (RFC 5280, 4.1.2.5): a database must not stop because of a date.
BEGIN, END = b"200101000000Z", b"99991231235959Z"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """How one proves who it is, as PEM (RFC 7468)."""

    certificate: str
    key: str = field(repr=False)


def authority(keys: KeyRing, cluster: str) -> str:
    """The certificate that all members of a cluster trust, as PEM."""
    return _certificate(keys, cluster, cluster, _extension(CONSTRAINTS, _der(SEQUENCE, TRUE)), SIGNS_CERTIFICATES)


def identity(keys: KeyRing, cluster: str, name: str, address: IPv4Address) -> Identity:
    """What a member of a cluster shows to others, at its address."""
    alternative = _der(SEQUENCE, _der(0x87, address.packed))  # [7]: an IP address
    certificate = _certificate(keys, cluster, name, _extension(ALTERNATIVE_NAME, alternative), SIGNS)
    version, seed = _der(INTEGER, b"\0"), _der(OCTET_STRING, _der(OCTET_STRING, _seed(keys, cluster, name)))
    return Identity(certificate=certificate, key=_pem("PRIVATE KEY", _der(SEQUENCE, version, _algorithm(), seed)))


def _certificate(keys: KeyRing, cluster: str, name: str, extension: bytes, usage: bytes) -> str:
    public, _ = crypto_sign_seed_keypair(_seed(keys, cluster, name))
    issuer, secret = crypto_sign_seed_keypair(_seed(keys, cluster, cluster))
    content = _der(
        SEQUENCE,
        _der(0xA0, _der(INTEGER, b"\x02")),  # version 3
        _der(INTEGER, b"\x01" + sha256(public + extension).digest()[:15]),
        _algorithm(),
        _name(cluster),
        _der(SEQUENCE, _der(UTC_TIME, BEGIN), _der(GENERALIZED_TIME, END)),
        _name(name),
        _der(SEQUENCE, _algorithm(), _der(BIT_STRING, b"\0", public)),
        _der(0xA3, _der(SEQUENCE, extension, _extension(KEY_USAGE, usage), *_key_identifiers(public, issuer))),
    )
    signature = crypto_sign(content, secret)[:SIGNATURE_BYTES]
    return _pem("CERTIFICATE", _der(SEQUENCE, content, _algorithm(), _der(BIT_STRING, b"\0", signature)))


def _seed(keys: KeyRing, cluster: str, name: str) -> bytes:
    return keys.signing_seed(cluster, AUTHORITY if name == cluster else f"member {name}")


def _key_identifiers(public: bytes, issuer: bytes) -> tuple[bytes, bytes]:
    own, of_issuer = (sha256(key).digest()[:20] for key in (public, issuer))
    return (
        _extension(SUBJECT_KEY, _der(OCTET_STRING, own), critical=False),
        _extension(AUTHORITY_KEY, _der(SEQUENCE, _der(0x80, of_issuer)), critical=False),
    )


def _extension(kind: bytes, content: bytes, *, critical: bool = True) -> bytes:
    return _der(SEQUENCE, _der(OBJECT, kind), TRUE if critical else b"", _der(OCTET_STRING, content))


def _name(common_name: str) -> bytes:
    attribute = _der(SEQUENCE, _der(OBJECT, COMMON_NAME), _der(UTF8, common_name.encode()))
    return _der(SEQUENCE, _der(SET, attribute))


def _algorithm() -> bytes:
    return _der(SEQUENCE, _der(OBJECT, ED25519))  # without parameters (RFC 8410, 3)


def _der(tag: int, *content: bytes) -> bytes:
    """One value in DER (ITU-T X.690, 8.1)."""
    joined = b"".join(content)
    size = len(joined)
    if size < 0x80:  # noqa: PLR2004 (the short form ends there)
        return bytes((tag, size)) + joined
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + joined


def _pem(label: str, content: bytes) -> str:
    text = b64encode(content).decode()
    lines = [text[at : at + LINE] for at in range(0, len(text), LINE)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])
