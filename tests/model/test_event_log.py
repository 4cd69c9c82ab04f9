"""RTMR3 comes out of the log as the guest's register came out of the events."""

import json
from typing import Any

import pytest
from dstack_simulator import events
from hypothesis import given
from hypothesis import strategies as st

from vpn.model.event_log import RUNTIME_EVENT, Event, EventLogError, boot, parse, replay

KMS = (
    "3059301306072a8648ce3d020106082a8648ce3d030107034200048844eb42ccdf8c52fd4f174f362fcb9bbd19c45fd48f1edec2d8f1ca23"
    "536ec1a74021b4cee610c074f8294d431b2b7fee2c39e5333fdaf0a4522d43fb159d9f"
)
# Measured by a guest of DStack 0.5.9 on Intel TDX.
MEASURED = [
    ("system-preparing", ""),
    ("app-id", "21dfb9d71c8d72522bb4372657b96308a190daaa"),
    ("compose-hash", "e7d11bff53f19b79df321af3f64e8108e19b22c1fc72d979ca1508457a1579d0"),
    ("instance-id", "a860de12f1343b31164d9b34f17218f583cb7ad2"),
    ("boot-mr-done", ""),
    ("mr-kms", "f632d9c363cc4861f7b0e870f22aefbe6bfd2cb01cba1def896e7d55a6fd5dba"),
    ("os-image-hash", "bd369a8c2f9edb2b52dad48ac8e0b32dde5f1337c423a506b48d07403a7d8033"),
    ("key-provider", f'{{"name":"kms","id":"{KMS}"}}'.encode().hex()),
    ("storage-fs", "65787434"),
    ("system-ready", ""),
]
RTMR3 = "a95a9c6c5063ec21ef02bd7687f10511e417565e3cb048a5710d3556157143a71d97b0f507a0fa8280e1cdc628107a84"
APP_ID_DIGEST = "9ed62428c189f50e81d1ec97382a363f20692a00a78cf547ce2f98b5418039527bf3a546cd3660753424cdd167ead6d9"


def entry(name: str, payload: str = "", **more: Any) -> dict[str, Any]:
    return {"imr": 3, "event_type": RUNTIME_EVENT, "digest": "", "event": name, "event_payload": payload, **more}


def test_the_register_of_a_real_guest() -> None:
    found = parse(json.dumps([entry(*one) for one in MEASURED]))
    assert found[1].digest().hex() == APP_ID_DIGEST
    assert replay(found).hex() == RTMR3


names = st.from_regex(r"[a-z-]{1,12}", fullmatch=True)


@given(st.lists(st.tuples(names, st.binary(max_size=8)), max_size=6))
def test_the_register_is_that_of_the_simulator(measured: list[tuple[str, bytes]]) -> None:
    log = [*events.firmware(), *(events.runtime(*one) for one in measured)]
    assert replay(parse(json.dumps(log))) == events.registers(log)[3]


def test_the_two_forms_of_a_digest_differ() -> None:
    one, two = parse(json.dumps([entry("a", "00"), entry("a", "00", version=2)]))
    assert one.digest() != two.digest()
    assert (one.version, two.version) == (1, 2)


def test_only_what_comes_before_the_first_ready_is_of_the_system() -> None:
    found = boot([Event(name, b"") for name in ("a", "b", "a", "system-ready", "b", "c", "system-ready")])
    assert found.ready
    assert set(found.payloads()) == {"a", "b"}
    assert (found.duplicates(), found.late()) == (["a"], ["b", "system-ready"])
    assert not boot([Event("a", b"")]).ready


def test_the_first_of_two_events_counts() -> None:
    assert boot([Event("a", b"1"), Event("a", b"2")]).payloads() == {"a": b"1"}


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "is not a list"),
        ("[7]", "an entry that is no object"),
        (json.dumps([entry("a", imr=2)]), "of another type"),
        (json.dumps([entry("a", event_type=1)]), "of another type"),
        (json.dumps([entry("compose-hash:a")]), "name is not valid"),
        (json.dumps([entry("")]), "name is not valid"),
        (json.dumps([entry("\ud800")]), "name is not valid"),
        (json.dumps([entry("a", "0")]), "not hexadecimal"),
        (json.dumps([entry("a", "0 0")]), "not hexadecimal"),
        (json.dumps([entry("a", version=3)]), "of version 3"),
        (json.dumps([entry("a", version=True)]), "of version True"),
    ],
)
def test_what_is_no_event_log_is_refused(log: str, reason: str) -> None:
    with pytest.raises(EventLogError, match=reason):
        parse(log)
