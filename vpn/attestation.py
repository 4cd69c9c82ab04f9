"""Lets a node in, or not, by a quote of Intel TDX; outside the model, because it checks signatures with a library."""

from collections.abc import Iterator

import dcap_qvl

from vpn.model.attestation import (
    AdmissionPolicy,
    AttestationError,
    Evidence,
    Expected,
    Image,
    Reason,
    Refusal,
    TdReport,
    judge,
)
from vpn.model.keys import PublicKey

UP_TO_DATE = "UpToDate"
DEBUG_BIT = 1  # of the first byte of the TD attributes (Intel TDX module specification, ATTRIBUTES)
REASONS = {"expired": Reason.COLLATERAL, "issue date": Reason.COLLATERAL, "debug": Reason.DEBUG}


def admit(evidence: Evidence, policy: AdmissionPolicy, expected: Expected, now: int) -> PublicKey:
    """The key of a node that is what the policy wants. `now`: seconds since 1970.

    Raises AttestationError with every reason against it. Collateral that is out of date leaves the signatures unread.
    """
    refusals = [
        *check_quote(evidence.quote, policy.collateral, policy.root, now),
        *judge(evidence, _report(evidence.quote), policy, expected, now),
    ]
    if refusals:
        raise AttestationError(refusals)
    return evidence.binding.public_key


def check_quote(quote: bytes, collateral: str, root: bytes | None, now: int) -> Iterator[Refusal]:
    """What is wrong with a quote's signatures and with its platform. `root`: DER; None is Intel's own."""
    try:
        statements = dcap_qvl.QuoteCollateralV3.from_json(collateral)
    except ValueError as error:
        yield Refusal(Reason.COLLATERAL, str(error))
        return
    try:
        status = _verify(quote, statements, root, now).status
    except ValueError as error:
        yield Refusal(_reason(str(error)), " ".join(str(error).split())[:300])
        return
    if status != UP_TO_DATE:
        yield Refusal(Reason.TCB, f"the platform's is {status}")


def _verify(
    quote: bytes, statements: dcap_qvl.QuoteCollateralV3, root: bytes | None, now: int
) -> dcap_qvl.VerifiedReport:
    if root is None:
        return dcap_qvl.verify(quote, statements, now)
    return dcap_qvl.verify_with_root_ca(quote, statements, root, now)


def _reason(message: str) -> Reason:
    """Which reason the library means; whatever it is, the quote is refused."""
    return next((reason for word, reason in REASONS.items() if word in message.lower()), Reason.SIGNATURE)


def _report(quote: bytes) -> TdReport:
    try:
        report = dcap_qvl.parse_quote(quote).report
        return TdReport(
            image=_image(report),
            rtmr3=bytes(report.rt_mr3),
            report_data=bytes(report.report_data),
            debug=bool(report.td_attributes[0] & DEBUG_BIT),
        )
    except (ValueError, AttributeError) as error:  # a quote of SGX has no such registers
        raise AttestationError([Refusal(Reason.SIGNATURE, f"this is no quote of TDX: {error}"[:300])]) from None


def _image(report: dcap_qvl.TdReport10) -> Image:
    registers = (report.mr_td, report.rt_mr0, report.rt_mr1, report.rt_mr2)
    mrtd, rtmr0, rtmr1, rtmr2 = (bytes(one).hex() for one in registers)
    return Image(mrtd=mrtd, rtmr0=rtmr0, rtmr1=rtmr1, rtmr2=rtmr2)
