"""Who is let in, and who is not, and why: the acceptance of a node in a DStack guest."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dstack_simulator import events
from dstack_simulator.certificates import Authority
from dstack_simulator.collateral import collateral
from dstack_simulator.guest import IMAGE as OS_IMAGE
from dstack_simulator.guest import Guest
from dstack_simulator.quote import DEBUG
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.dstack.claims import EXPECTED, IMAGE, KEY, NOW, OLD_NONCE, OTHER_KEY, POLICY, Claim, bound, expected, policy
from tests.model.strategies import json_values
from tests.simulator.guests import AUTHORITY, COMPOSE, guest
from vpn.attestation import admit, check_quote
from vpn.model.attestation import (
    FIELDS,
    MOST_BYTES,
    AdmissionPolicy,
    AttestationError,
    Evidence,
    Expected,
    Reason,
    Refusal,
)
from vpn.model.event_log import RUNTIME_EVENT, Event

R = Reason
INTEL = Path(__file__).parent / "intel"
INTEL_TIME = 1_750_414_563  # when the collateral of the sample was good
STRANGERS = Authority(b"strangers")
OTHER = replace(COMPOSE, docker_compose_file="services: {a: {image: evil}}\n")
GOOD_HASH = bytes.fromhex(COMPOSE.compose_hash())

GOOD = Claim().evidence()

Log = list[dict[str, Any]]


def place(log: Log, name: str) -> int:
    return [entry["event"] for entry in log].index(name)


def measuring(change: Callable[[Log], object], *, attributes: int | None = None) -> Guest:
    """A guest that boots in another way; its quote says so."""
    one = guest()
    change(one.log)
    one.attributes = one.attributes if attributes is None else attributes
    return one


def insert(before: str, name: str, payload: bytes) -> Callable[[Log], object]:
    return lambda log: log.insert(place(log, before), events.runtime(name, payload))


def append(name: str, payload: bytes = b"") -> Callable[[Log], object]:
    return lambda log: log.append(events.runtime(name, payload))


def drop(name: str) -> Callable[[Log], object]:
    return lambda log: log.pop(place(log, name))


def forge(name: str, **fields: Any) -> Callable[[Log], object]:
    return lambda log: log[place(log, name)].update(fields)


def swap(log: Log) -> None:
    log[4], log[5] = log[5], log[4]


def without_digests(log: Log) -> None:
    for entry in log[3:]:
        entry["digest"] = ""


def second_form(log: Log) -> None:
    for entry in log[3:]:
        event = Event(entry["event"], bytes.fromhex(entry["event_payload"]), 2)
        entry.update(version=2, digest=event.digest().hex(), preimage="")


def hide_duplicate(log: Log) -> None:
    """The same digests, with the payload's first half in the name."""
    entry = log[place(log, "boot-mr-done") - 1]
    payload = bytes.fromhex(entry["event_payload"])
    first, _, second = payload.partition(b":")
    entry.update(event=f"compose-hash:{first.decode()}", event_payload=second.hex())


def debug() -> Guest:
    one = guest()
    one.attributes |= DEBUG
    return one


def another_kernel(log: Log) -> None:
    log[1]["digest"] = "00" * 48


def other_image(field: str) -> AdmissionPolicy:
    return policy(images=frozenset({replace(IMAGE, **{field: "00" * 48})}))


def expired() -> str:
    return collateral(AUTHORITY, datetime.fromtimestamp(NOW - 1, UTC))


ACCEPTED = {
    "the right one": Claim(),
    "of one of two versions": Claim(policy=policy(compose_hashes=frozenset({"00" * 32, COMPOSE.compose_hash()}))),
    "of one of two images": Claim(policy=policy(images=frozenset({IMAGE, replace(IMAGE, rtmr0="00" * 48)}))),
    "whose system names its image": Claim(policy=policy(os_images=frozenset({OS_IMAGE.hex()}))),
    "with any image": Claim(policy=policy(images=None)),
    "whose log has no digests": Claim(forge_log=without_digests),
    "whose digests have the second form": Claim(guest=measuring(second_form)),
    "whose application measured something of its own": Claim(guest=measuring(append("my-event"))),
    "at the end of its time": Claim(now=NOW + 295),
}
REFUSED: dict[str, tuple[Claim, set[Reason]]] = {
    # another program, or another owner
    "another compose hash": (Claim(guest=guest(OTHER)), {R.COMPOSE_HASH}),
    "no compose hash is allowed": (Claim(policy=policy(compose_hashes=frozenset())), {R.COMPOSE_HASH}),
    "another app": (Claim(guest=guest(app_id=bytes(20))), {R.APP}),
    "another kind of key provider": (Claim(policy=policy(key_provider="tpm")), {R.KEY_PROVIDER}),
    "another key provider": (Claim(policy=policy(key_provider_id="3059")), {R.KEY_PROVIDER}),
    "no key provider": (Claim(guest=measuring(drop("key-provider"))), {R.KEY_PROVIDER}),
    "another firmware": (Claim(policy=other_image("mrtd")), {R.IMAGE}),
    "another size of machine": (Claim(policy=other_image("rtmr0")), {R.IMAGE}),
    "another kernel": (Claim(policy=other_image("rtmr1")), {R.IMAGE}),
    "another root file system": (Claim(policy=other_image("rtmr2")), {R.IMAGE}),
    "another kernel, which was measured": (Claim(guest=measuring(another_kernel)), {R.IMAGE}),
    "another image by its own word": (Claim(policy=policy(os_images=frozenset({"00" * 32}))), {R.IMAGE}),
    # another binding
    "another node": (Claim(expected=expected(node="node-b")), {R.BINDING}),
    "another network": (Claim(expected=expected(network="lan")), {R.BINDING}),
    "another epoch": (Claim(expected=expected(epoch=2)), {R.REPLAY}),
    "another key than was signed": (Claim(forge={"public_key": OTHER_KEY.base64()}), {R.BINDING}),
    "another node than was signed": (
        Claim(forge={"node": "node-b"}, expected=expected(node="node-b")),
        {R.BINDING},
    ),
    "another network than was signed": (
        Claim(forge={"network": "lan"}, expected=expected(network="lan")),
        {R.BINDING},
    ),
    "another epoch than was signed": (Claim(forge={"epoch": 2}, expected=expected(epoch=2)), {R.BINDING}),
    # replay
    "an old nonce": (Claim(nonce=OLD_NONCE), {R.REPLAY}),
    "an old nonce that was made to look new": (
        Claim(nonce=OLD_NONCE, forge={"nonce": EXPECTED.nonce.hex()}),
        {R.BINDING},
    ),
    # time
    "too old": (Claim(now=NOW + 296), {R.AGE}),
    "too old, and made to look new": (
        Claim(now=NOW + 1000, forge={"issued": NOW + 1000}),
        {R.BINDING},
    ),
    "of the future": (Claim(binding=bound(issued=NOW + 61)), {R.AGE}),
    "expired collateral": (Claim(policy=policy(collateral=expired())), {R.COLLATERAL}),
    "collateral of the future": (Claim(binding=bound(issued=9), now=10), {R.COLLATERAL}),
    "no collateral": (Claim(policy=policy(collateral="{}")), {R.COLLATERAL}),
    # the platform
    "a platform of another root": (Claim(guest=guest(authority=STRANGERS)), {R.SIGNATURE, R.KEY_PROVIDER}),
    "another root": (Claim(policy=policy(root=STRANGERS.root_der)), {R.SIGNATURE}),
    "the simulator, to who trusts Intel": (Claim(policy=policy(root=None)), {R.SIGNATURE}),
    "debug mode": (Claim(guest=debug()), {R.DEBUG}),
    "a TCB out of date": (Claim(policy=policy(collateral=collateral(AUTHORITY, status="OutOfDate"))), {R.TCB}),
    "a TCB that needs hardening": (
        Claim(policy=policy(collateral=collateral(AUTHORITY, status="SWHardeningNeeded"))),
        {R.TCB},
    ),
    # the event log
    "a compose hash that was not measured": (
        Claim(guest=guest(OTHER), forge_log=forge("compose-hash", event_payload=GOOD_HASH.hex())),
        {R.EVENT_LOG},
    ),
    "an event left out": (Claim(forge_log=drop("mr-kms")), {R.EVENT_LOG}),
    "an event too many": (Claim(forge_log=append("my-event")), {R.EVENT_LOG}),
    "another order": (Claim(forge_log=swap), {R.EVENT_LOG}),
    "an event in another register": (Claim(forge_log=forge("mr-kms", imr=2)), {R.EVENT_LOG}),
    "no log": (Claim(forge={"event_log": ""}), {R.EVENT_LOG}),
    "a guest that has not booted": (Claim(guest=measuring(drop("system-ready"))), {R.EVENT_LOG}),
    # events twice
    "a compose hash twice": (
        Claim(guest=measuring(insert("boot-mr-done", "compose-hash", b"evil:" + bytes(3)))),
        {R.DUPLICATE},
    ),
    "a compose hash twice, the second one hidden": (
        Claim(
            guest=measuring(insert("boot-mr-done", "compose-hash", b"evil:" + bytes(3))),
            forge_log=hide_duplicate,
        ),
        {R.EVENT_LOG},
    ),
    "a wrong compose hash and then the right one": (
        Claim(guest=measuring(insert("compose-hash", "compose-hash", bytes(32)))),
        {R.DUPLICATE, R.COMPOSE_HASH},
    ),
    "a compose hash after the boot": (
        Claim(guest=measuring(append("compose-hash", GOOD_HASH))),
        {R.DUPLICATE},
    ),
    "the right compose hash only after the boot": (
        Claim(guest=(late := guest(OTHER)), forge_log=list),
        {R.COMPOSE_HASH, R.DUPLICATE},
    ),
}
late.log.append(events.runtime("compose-hash", GOOD_HASH))


@pytest.mark.parametrize("claim", ACCEPTED.values(), ids=ACCEPTED)
def test_a_node_is_let_in(claim: Claim) -> None:
    assert claim.key() == KEY


@pytest.mark.parametrize(("claim", "reasons"), REFUSED.values(), ids=REFUSED)
def test_a_node_is_refused_for_just_this(claim: Claim, reasons: set[Reason]) -> None:
    assert claim.refused() == reasons


def test_every_reason_is_told_at_once() -> None:
    claim = Claim(
        guest=measuring(append("compose-hash"), attributes=DEBUG),
        nonce=OLD_NONCE,
        forge={"public_key": OTHER_KEY.base64()},
        policy=policy(
            compose_hashes=frozenset(),
            app_id="",
            key_provider_id="",
            images=frozenset(),
            root=STRANGERS.root_der,
        ),
        now=NOW + 1000,
    )
    not_here = {R.MALFORMED, R.COLLATERAL, R.TCB, R.EVENT_LOG}
    assert claim.refused() == set(Reason) - not_here
    with pytest.raises(AttestationError) as caught:
        claim.key()
    assert "evidence too old: it was made 1005 s ago, and is good for 300 s" in str(caught.value)


# --- the quote


@pytest.mark.parametrize("offset", [0, 60, 200, 300, 530, 600, 640, 720, 800, 1000, 1160, 1225])
def test_no_byte_of_a_quote_can_be_changed(offset: int) -> None:
    quote = bytearray.fromhex(Claim().evidence()["quote"])
    quote[offset] ^= 1
    assert Reason.SIGNATURE in Claim(forge={"quote": quote.hex()}).refused()


@pytest.mark.parametrize("quote", ["", "00" * 700], ids=["nothing", "zeros"])
def test_what_is_no_quote_is_refused(quote: str) -> None:
    assert Claim(forge={"quote": quote}).refused() == {Reason.SIGNATURE}


def check_intel(root: bytes | None, now: int) -> set[Reason]:
    quote, statements = (INTEL / "quote.bin").read_bytes(), (INTEL / "collateral.json").read_text()
    return {refusal.reason for refusal in check_quote(quote, statements, root, now)}


def test_a_quote_of_a_real_machine_is_right_under_intels_root() -> None:
    assert check_intel(None, INTEL_TIME) == set()


def test_a_quote_of_a_real_machine_is_refused_with_old_collateral_and_under_another_root() -> None:
    assert check_intel(None, int(time.time())) == {Reason.COLLATERAL}
    assert check_intel(AUTHORITY.root_der, INTEL_TIME) == {Reason.SIGNATURE}


def test_a_real_machine_that_runs_something_else_is_refused() -> None:
    quote = (INTEL / "quote.bin").read_bytes().hex()
    statements = policy(root=None, collateral=(INTEL / "collateral.json").read_text())
    claim = Claim(binding=bound(issued=INTEL_TIME), forge={"quote": quote}, policy=statements, now=INTEL_TIME)
    assert claim.refused() == {Reason.BINDING, Reason.EVENT_LOG, Reason.IMAGE}


# --- what is handed over


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"more": 1}, "not known: more"),
        ({"node": None}, "wrong type: node"),
        ({"epoch": True}, "wrong type: epoch"),
        ({"epoch": 1.0}, "wrong type: epoch"),
        ({"epoch": -1}, "out of range: epoch"),
        ({"issued": 1 << 53}, "out of range: issued"),
        ({"nonce": "AB"}, "nonce is not lower-case hexadecimal"),
        ({"quote": "0"}, "quote is not lower-case hexadecimal"),
        ({"public_key": "AAAA"}, "32 bytes, not 3"),
        ({"event_log": "x" * MOST_BYTES}, "longer than 1048576 bytes"),
    ],
)
def test_evidence_of_another_form_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(AttestationError, match=reason) as caught:
        Evidence.parse(json.dumps(Claim().evidence() | change).encode())
    assert caught.value.reasons == {Reason.MALFORMED}


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_evidence_is_refused(text: bytes) -> None:
    with pytest.raises(AttestationError) as caught:
        Evidence.parse(text)
    assert caught.value.reasons == {Reason.MALFORMED}


fields = st.sampled_from(sorted(FIELDS))
shards = st.binary(max_size=700).map(bytes.hex) | st.integers(0, 2500).map(lambda end: GOOD["quote"][:end])
garbage = json_values | shards | json_values.map(json.dumps)


@given(st.dictionaries(fields, garbage, min_size=1))
def test_whatever_is_handed_over_is_refused_and_breaks_nothing(forged: dict[str, Any]) -> None:
    assume(any(value != GOOD[name] for name, value in forged.items()))
    assert Claim(forge=forged).refused()


entries = st.fixed_dictionaries(
    {},
    optional={
        "imr": st.just(3) | json_values,
        "event_type": st.just(RUNTIME_EVENT) | json_values,
        "event": st.sampled_from(["compose-hash", "key-provider", "system-ready"]) | json_values,
        "event_payload": st.binary(max_size=9).map(bytes.hex) | json_values,
        "version": st.sampled_from([1, 2]) | json_values,
    },
)


@given(st.lists(entries, max_size=5), st.booleans())
def test_no_other_event_log_is_right(log: Log, after: bool) -> None:  # noqa: FBT001
    whole = json.loads(GOOD["event_log"]) + log if after else log
    assert Claim(forge={"event_log": json.dumps(whole)}).refused() or not any(one.get("imr") == 3 for one in log)


def test_a_nonce_that_can_be_guessed_is_not_asked_with() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 0"):
        Expected(network="vpn", node="node-a", epoch=1, nonce=b"")


def test_evidence_that_was_good_once_is_no_answer_to_the_next_question() -> None:
    handed_over = Evidence.parse(json.dumps(Claim().evidence()).encode())
    assert admit(handed_over, POLICY, EXPECTED, NOW) == KEY
    with pytest.raises(AttestationError, match="replay: it answers another nonce"):
        admit(handed_over, POLICY, expected(nonce=OLD_NONCE), NOW)


@given(st.text())
def test_what_a_stranger_says_does_not_steer_a_terminal(text: str) -> None:
    said = str(Refusal(Reason.MALFORMED, text))
    assert said.isprintable()
