"""What Intel's service would state about the simulated platform (Intel SGX and TDX PCS, API version 4)."""

import json
from datetime import datetime
from typing import Any

from dstack_simulator.certificates import SINCE, UNTIL, Authority, pem
from dstack_simulator.keys import sign

QE_SIGNER = bytes([0x44]) * 32
"""Who signed the quoting enclave; as made up as everything here."""


def collateral(authority: Authority, until: datetime = UNTIL, status: str = "UpToDate") -> str:
    """JSON that is good until a time. `status` is that of the platform's TCB."""
    revocations = authority.revocations(until).hex()
    tcb, identity = json.dumps(_tcb_info(until, status)), json.dumps(_qe_identity(until))
    issuers = pem(authority.tcb, authority.root)
    fields = {
        "pck_crl_issuer_chain": pem(authority.root),
        "root_ca_crl": revocations,
        "pck_crl": revocations,
        "tcb_info_issuer_chain": issuers,
        "tcb_info": tcb,
        "tcb_info_signature": sign(authority.tcb_key, tcb.encode()).hex(),
        "qe_identity_issuer_chain": issuers,
        "qe_identity": identity,
        "qe_identity_signature": sign(authority.tcb_key, identity.encode()).hex(),
    }
    return json.dumps(fields)


def _tcb_info(until: datetime, status: str) -> dict[str, Any]:
    components = [{"svn": 0}] * 16
    tcb = {"sgxtcbcomponents": components, "pcesvn": 0, "tdxtcbcomponents": components}
    return {
        "id": "TDX",
        "version": 3,
        **_period(until),
        "fmspc": _zeros(6),
        "pceId": _zeros(2),
        "tcbType": 0,
        "tdxModule": {"mrsigner": _zeros(48), "attributes": _zeros(8), "attributesMask": _zeros(8)},
        "tcbLevels": [{"tcb": tcb, "tcbDate": _time(SINCE), "tcbStatus": status}],
    }


def _qe_identity(until: datetime) -> dict[str, Any]:
    return {
        "id": "TD_QE",
        "version": 2,
        **_period(until),
        "miscselect": _zeros(4),
        "miscselectMask": _zeros(4),
        "attributes": _zeros(16),
        "attributesMask": _zeros(16),
        "mrsigner": QE_SIGNER.hex(),
        "isvprodid": 1,
        "tcbLevels": [{"tcb": {"isvsvn": 1}, "tcbDate": _time(SINCE), "tcbStatus": "UpToDate"}],
    }


def _period(until: datetime) -> dict[str, Any]:
    return {"issueDate": _time(SINCE), "nextUpdate": _time(until), "tcbEvaluationDataNumber": 1}


def _zeros(count: int) -> str:
    return bytes(count).hex()


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"
