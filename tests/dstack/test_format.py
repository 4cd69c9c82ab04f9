"""Node and verifier, which share no code, agree on what is signed and handed over."""

from dstack_node import evidence as node
from dstack_node.keys import clamp, hkdf, private_key
from hypothesis import given
from hypothesis import strategies as st

from tests.dstack.claims import Claim, bound
from tests.model.strategies import labels, raw_keys
from vpn.model import attestation as verifier
from vpn.model import keys

numbers = st.integers(0, 2**53 - 1)
nonces = st.binary(min_size=32, max_size=32)
bindings = st.builds(
    verifier.Binding,
    network=labels | st.text(max_size=5),
    node=labels | st.text(max_size=5),
    public_key=st.builds(keys.PublicKey, raw_keys),
    epoch=numbers,
    issued=numbers,
)


def as_the_node_has_it(binding: verifier.Binding) -> node.Binding:
    return node.Binding(
        network=binding.network,
        node=binding.node,
        public_key=binding.public_key.base64(),
        epoch=binding.epoch,
        issued=binding.issued,
    )


@given(bindings, nonces)
def test_both_ask_for_the_same_report_data(binding: verifier.Binding, nonce: bytes) -> None:
    assert as_the_node_has_it(binding).json() == binding.json()
    assert node.report_data(as_the_node_has_it(binding), nonce) == verifier.report_data(binding, nonce)


@given(bindings, nonces, st.binary(max_size=9), st.text(max_size=9))
def test_what_the_node_writes_is_what_the_verifier_reads(
    binding: verifier.Binding, nonce: bytes, quote: bytes, log: str
) -> None:
    line = node.evidence(as_the_node_has_it(binding), nonce, quote.hex(), log)
    assert "\n" not in line
    wanted = verifier.Evidence(binding=binding, nonce=nonce, quote=quote, event_log=log)
    assert verifier.Evidence.parse(line.encode()) == wanted


def test_the_format_never_changes_from_one_release_to_the_next() -> None:
    wanted = (
        b'{"epoch":1,"issued":1799999995,"network":"vpn","node":"node-a",'
        b'"public_key":"E75P6uryBMf9M1j8nAByGIHRdCeBKCJ+xnTzf3/pe20="}'
    )
    assert bound().json() == wanted
    assert (
        node.report_data(bound(), bytes(32)).hex()
        == "7db7fbaf3d1f72d188cd3b0a7a2782f07e189ed81fd5b918593826beff342ad4" + "00" * 32
    )


def test_evidence_holds_nothing_but_its_fields() -> None:
    assert set(Claim().evidence()) == set(verifier.FIELDS)


@given(raw_keys)
def test_node_and_model_clamp_alike(raw: bytes) -> None:
    assert clamp(raw) == keys.clamp(raw)
    assert keys.clamp(keys.PrivateKey.parse(private_key(raw)).raw) == keys.PrivateKey.parse(private_key(raw)).raw


def test_the_derivation_is_that_of_rfc_5869() -> None:
    salt, info = bytes(range(13)), bytes(range(0xF0, 0xFA))
    wanted = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"  # A.1, the first 32 of its bytes
    assert hkdf(b"\x0b" * 22, info, salt).hex() == wanted


def test_a_derived_key_never_changes_from_one_release_to_the_next() -> None:
    assert private_key(bytes(32)) == "IDn6Fmv6y9K6r7XJ7S2AXcJm7+mzv/f0bvhJ0XDtcHU="
    assert private_key(bytes(31) + b"\1") != private_key(bytes(32))
