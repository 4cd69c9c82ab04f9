"""Quotes, version 4 (Intel TDX DCAP quoting library API, appendix A.3). All numbers are little endian."""

import struct
from dataclasses import dataclass
from hashlib import sha256

from dstack_simulator.certificates import Authority, pem
from dstack_simulator.collateral import QE_SIGNER
from dstack_simulator.keys import p256, point, sign

VERSION, ECDSA_P256, TDX = 4, 2, 0x81
INTEL = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")  # the quoting enclave's vendor; verifiers know no other
SEPT_VE_DISABLE, DEBUG = 1 << 28, 1 << 0
QE_AUTHENTICATION = bytes(32)
PCK_CHAIN, QE_REPORT = 5, 6  # kinds of certification data


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What is in a quote besides the report data."""

    mrtd: bytes
    rtmrs: tuple[bytes, ...]
    attributes: int = SEPT_VE_DISABLE


def quote(authority: Authority, measurements: Measurements, report_data: bytes) -> bytes:
    """A quote that is right to whoever trusts the authority. `report_data`: 64 bytes."""
    signed = _header() + _body(measurements, report_data)
    attestation_key = p256(authority.seed, "attestation")
    certified = _certification(authority, point(attestation_key))
    signature = sign(attestation_key, signed) + point(attestation_key) + _kind(QE_REPORT, certified)
    return signed + struct.pack("<I", len(signature)) + signature


def _header() -> bytes:
    return struct.pack("<HHIHH", VERSION, ECDSA_P256, TDX, 1, 0) + INTEL + bytes(20)


def _body(measurements: Measurements, report_data: bytes) -> bytes:
    module = bytes(16 + 48 + 48 + 8)
    attributes = struct.pack("<QQ", measurements.attributes, 0)
    owner = bytes(3 * 48)
    return module + attributes + measurements.mrtd + owner + b"".join(measurements.rtmrs) + report_data


def _certification(authority: Authority, attestation_key: bytes) -> bytes:
    """The quoting enclave's report, which vouches for the attestation key, and the platform's key, for the report."""
    report = _enclave_report(sha256(attestation_key + QE_AUTHENTICATION).digest() + bytes(32))
    authentication = struct.pack("<H", len(QE_AUTHENTICATION)) + QE_AUTHENTICATION
    chain = _kind(PCK_CHAIN, pem(authority.pck, authority.root).encode())
    return report + sign(authority.pck_key, report) + authentication + chain


def _enclave_report(report_data: bytes) -> bytes:
    """A report of SGX (Intel SGX DCAP quoting library API, A.4): product 1, version 1."""
    before = bytes(16 + 4 + 28 + 16 + 32 + 32)
    return before + QE_SIGNER + bytes(96) + struct.pack("<HH", 1, 1) + bytes(60) + report_data


def _kind(kind: int, data: bytes) -> bytes:
    return struct.pack("<HI", kind, len(data)) + data
