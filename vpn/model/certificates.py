"""Certificates of a cluster's own members, as pure derivations of the mesh's seed: X.509 (RFC 5280) with Ed25519.

Every member gets the same text at every `up`, and nobody keeps an authority's key in a file.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from vpn.model.keys import KeyRing

# From before any mesh to "no expiration" (RFC 5280, 4.1.2.5): a database must not stop because of a date.
BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
NO_USAGE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)
CERTIFIES = x509.KeyUsage(**NO_USAGE | {"key_cert_sign": True})
SIGNS = x509.KeyUsage(**NO_USAGE | {"digital_signature": True})


@dataclass(frozen=True, kw_only=True)
class Identity:
    """How one proves who it is, as PEM (RFC 7468)."""

    certificate: str
    key: str = field(repr=False)


def authority(keys: KeyRing, cluster: str) -> str:
    """The certificate that all members of a cluster trust, as PEM."""
    key, constraint = _authority_key(keys, cluster), x509.BasicConstraints(ca=True, path_length=0)
    return _certificate(key, cluster, key, cluster, (constraint, CERTIFIES))


def identity(keys: KeyRing, cluster: str, name: str, address: IPv4Address) -> Identity:
    """What a member of a cluster shows to others, at its address or by its name."""
    alternative = x509.SubjectAlternativeName([x509.IPAddress(address), x509.DNSName(name)])
    key = Ed25519PrivateKey.from_private_bytes(keys.signing_seed(cluster, f"member {name}"))
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    certificate = _certificate(_authority_key(keys, cluster), cluster, key, name, (alternative, SIGNS))
    return Identity(certificate=certificate, key=text)


def _certificate(
    issuer: Ed25519PrivateKey,
    issuer_name: str,
    key: Ed25519PrivateKey,
    name: str,
    extensions: tuple[x509.ExtensionType, x509.KeyUsage],
) -> str:
    own, (extension, usage) = key.public_key(), extensions
    serial = _serial(own.public_bytes_raw() + extension.public_bytes())
    draft = (
        x509.CertificateBuilder(_name(issuer_name), _name(name), own, serial)
        .not_valid_before(BEGIN)
        .not_valid_after(END)
        .add_extension(extension, critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
    )
    return draft.sign(issuer, None).public_bytes(Encoding.PEM).decode()


def _serial(content: bytes) -> int:
    """One for the same content, positive, at most 20 octets (RFC 5280, 4.1.2.2)."""
    return int.from_bytes(b"\x01" + sha256(content).digest()[:15])


def _authority_key(keys: KeyRing, cluster: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(keys.signing_seed(cluster, "authority"))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
