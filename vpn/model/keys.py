"""WireGuard keys as pure derivations of one secret seed.

Deriving instead of storing means one secret in the Pulumi state for any number of nodes, the same keys on every run,
and old and new generation at hand at once while keys are rotated.
"""

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self

from nacl.bindings import crypto_scalarmult_base, crypto_sign, crypto_sign_seed_keypair

KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEED_LENGTH = 43  # letters and digits: 256 bits


@dataclass(frozen=True)
class Key:
    """32 bytes, written as WireGuard writes them: base64 (wg(8))."""

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.raw) != KEY_BYTES:
            raise ValueError(f"a WireGuard key has {KEY_BYTES} bytes, not {len(self.raw)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the base64 form. Raises ValueError when it is not base64 of 32 bytes."""
        return cls(b64decode(text, validate=True))

    def base64(self) -> str:
        """The form that wg(8) reads and prints."""
        return b64encode(self.raw).decode()


class PublicKey(Key):
    """Names a peer; no secret."""


class PresharedKey(Key):
    """Mixed into the handshakes of one pair: a recording stays closed if X25519 is broken (WireGuard paper, 5.2)."""


class PrivateKey(Key):
    """A node's X25519 secret, clamped."""

    def public(self) -> PublicKey:
        """The matching public key (RFC 7748, section 6.1)."""
        return PublicKey(crypto_scalarmult_base(self.raw))


def clamp(raw: bytes) -> bytes:
    """Make 32 bytes a valid X25519 scalar (RFC 7748, section 5)."""
    scalar = bytearray(raw)
    scalar[0] &= 248
    scalar[31] = (scalar[31] & 127) | 64
    return bytes(scalar)


@dataclass(frozen=True, kw_only=True)
class KeyRing:
    """All keys of one mesh.

    The label of a derivation names the mesh, the purpose, who it is for and the generation, so no two keys share one.
    """

    seed: str = field(repr=False)
    """43 letters and digits from RandomPassword: 256 bits."""
    mesh: str

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_LENGTH:
            raise ValueError(f"the seed has {SEED_LENGTH} letters and digits, not {len(self.seed)}")

    def identity(self) -> str:
        """Name of the mesh that only its own state can tell; no secret."""
        return self._derive("identity").hex()[:16]

    def private_key(self, node: str, generation: int | str) -> PrivateKey:
        """The private key of a node in a generation."""
        return PrivateKey(clamp(self._derive("private", node, str(generation))))

    def preshared_key(self, one: str, other: str, generation: int | str) -> PresharedKey:
        """The preshared key of a pair; the same from either side."""
        return PresharedKey(self._derive("preshared", *sorted((one, other)), str(generation)))

    def meeting_key(self, one: str, other: str, relay: str) -> str:
        """Base64 of what proves to the relay of a third that one is of a pair that meets there."""
        return b64encode(self._derive("meeting", *sorted((one, other)), relay)).decode()

    def signing_seed(self, cluster: str, name: str) -> bytes:
        """The seed of an Ed25519 key (RFC 8032) of a cluster's member, or of its authority."""
        return self._derive("signing", cluster, name)

    def signer(self) -> str:
        """In hexadecimal, the public key of who gives orders to nodes in confidential VMs (Ed25519, RFC 8032)."""
        return crypto_sign_seed_keypair(self._derive("orders"))[0].hex()

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of a signature that `signer` can be asked about."""
        _, secret = crypto_sign_seed_keypair(self._derive("orders"))
        return crypto_sign(message, secret)[:SIGNATURE_BYTES]

    def _derive(self, *label: str) -> bytes:
        # NUL cannot be part of a name, so joined labels cannot be mistaken for one another.
        message = "\0".join((self.mesh, *label)).encode()
        return blake2b(message, digest_size=KEY_BYTES, key=self.seed.encode(), person=b"dstack-vpn").digest()
