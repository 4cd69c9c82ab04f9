"""A root that is not Intel's, and what it certifies: a platform, and who signs the collateral."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from dstack_simulator.der import BIT_STRING, ENUMERATED, INTEGER, OCTET_STRING, SEQUENCE, oid, tlv
from dstack_simulator.keys import DETERMINISTIC, p256

ROOT_NAME = "DStack simulator root, not Intel"
SINCE, UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
SGX = "1.2.840.113741.1.13.1"  # Intel SGX PCK certificate specification, 1.3.5
ECDSA_WITH_SHA256 = tlv(SEQUENCE, oid("1.2.840.10045.4.3.2"))


def sgx_extension() -> bytes:
    """What tells the verifier which platform this is: one whose every identifier and version is zero."""

    def field(number: str, value: bytes) -> bytes:
        return tlv(SEQUENCE, oid(f"{SGX}.{number}"), value)

    tcb = tlv(SEQUENCE, field("2.17", tlv(INTEGER, bytes(1))), field("2.18", tlv(OCTET_STRING, bytes(16))))
    return tlv(
        SEQUENCE,
        field("1", tlv(OCTET_STRING, bytes(16))),
        field("3", tlv(OCTET_STRING, bytes(2))),
        field("4", tlv(OCTET_STRING, bytes(6))),
        field("5", tlv(ENUMERATED, bytes(1))),
        field("2", tcb),
    )


class Authority:
    """The root, made from a seed; the same seed gives the same bytes."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self._root_key, self.pck_key, self.tcb_key = (p256(seed, label) for label in ("root", "pck", "tcb"))
        self.root = self._certificate(ROOT_NAME, self._root_key, 1)
        sgx = x509.UnrecognizedExtension(x509.ObjectIdentifier(SGX), sgx_extension())
        self.pck = self._certificate("DStack simulator platform", self.pck_key, 2, sgx)
        self.tcb = self._certificate("DStack simulator TCB signing", self.tcb_key, 3)

    @property
    def root_der(self) -> bytes:
        """What a verifier has to be given in place of Intel's root."""
        return self.root.public_bytes(Encoding.DER)

    def revocations(self, until: datetime) -> bytes:
        """DER of a revocation list with nobody in it."""
        builder = x509.CertificateRevocationListBuilder(_name(ROOT_NAME), SINCE, until)
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        builder = builder.add_extension(self._authority(), critical=False)
        return self._signed(builder.sign(self._root_key, hashes.SHA256()).tbs_certlist_bytes)

    def _certificate(
        self, name: str, key: ec.EllipticCurvePrivateKey, serial: int, *more: x509.UnrecognizedExtension
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(_name(ROOT_NAME), _name(name), key.public_key(), serial, SINCE, UNTIL)
        is_root = name == ROOT_NAME
        builder = builder.add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        builder = builder.add_extension(_usage(is_root=is_root), critical=True)
        builder = builder.add_extension(self._subject() if is_root else self._authority(), critical=False)
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        draft = builder.sign(self._root_key, hashes.SHA256())
        return x509.load_der_x509_certificate(self._signed(draft.tbs_certificate_bytes))

    def _signed(self, content: bytes) -> bytes:
        """Sign once more: Debian's library draws random numbers for the signature of a certificate."""
        signature = self._root_key.sign(content, DETERMINISTIC)
        return tlv(SEQUENCE, content, ECDSA_WITH_SHA256, tlv(BIT_STRING, bytes(1), signature))

    def _subject(self) -> x509.SubjectKeyIdentifier:
        return x509.SubjectKeyIdentifier.from_public_key(self._root_key.public_key())

    def _authority(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._subject())


def pem(*certificates: x509.Certificate) -> str:
    """A chain, leaf first."""
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _usage(*, is_root: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_root,
        crl_sign=is_root,
        encipher_only=False,
        decipher_only=False,
    )
