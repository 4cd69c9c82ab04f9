"""Keys are valid, the same on every run, and nobody else's."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.model.example import KEYS, SEED
from tests.model.strategies import generations, key_rings, labels, raw_keys, seeds
from vpn.model.keys import Key, KeyRing, PresharedKey, PrivateKey, PublicKey, clamp

RFC_7748_6_1 = [
    (
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
    ),
    (
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    ),
]


@pytest.mark.parametrize(("private", "public"), RFC_7748_6_1)
def test_the_public_key_is_that_of_rfc_7748(private: str, public: str) -> None:
    assert PrivateKey(bytes.fromhex(private)).public() == PublicKey(bytes.fromhex(public))


@given(raw_keys)
def test_the_public_key_agrees_with_another_library(raw: bytes) -> None:
    assert PrivateKey(raw).public().raw == X25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()


@given(raw_keys)
def test_clamping_sets_the_bits_of_rfc_7748_and_no_others(raw: bytes) -> None:
    number = int.from_bytes(raw, "little")
    assert int.from_bytes(clamp(raw), "little") == number % 2**254 - number % 8 + 2**254


@given(raw_keys)
def test_clamping_changes_no_public_key(raw: bytes) -> None:
    assert PrivateKey(clamp(raw)).public() == PrivateKey(raw).public()


@given(key_rings(), labels, generations)
def test_a_derived_private_key_is_clamped(keys: KeyRing, node: str, generation: int) -> None:
    raw = keys.private_key(node, generation).raw
    assert clamp(raw) == raw


@given(raw_keys, st.sampled_from([PrivateKey, PublicKey, PresharedKey]))
def test_a_key_survives_its_text(raw: bytes, kind: type[Key]) -> None:
    assert kind.parse(kind(raw).base64()) == kind(raw)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"has 32 bytes, not {length}"):
        Key.parse(b64encode(bytes(length)).decode())


@pytest.mark.parametrize("text", ["A" * 42, "?" * 44, "A" * 43 + "=\n", "\u00e9" * 44])
def test_what_is_not_base64_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"[Bb]ase64|padding|ASCII"):
        Key.parse(text)


def test_keys_of_two_kinds_are_never_equal() -> None:
    assert len({kind(bytes(32)) for kind in (PrivateKey, PublicKey, PresharedKey)}) == 3


def test_derived_keys_never_change_from_one_release_to_the_next() -> None:
    assert KEYS.private_key("node-a", 1).base64() == "+C0/yeDrsOuTQdQjk+BP6C9qsFuBIVQqZhLbxjOkKmo="
    assert KEYS.private_key("node-a", 2).base64() == "gPfDEECcnj4Ox+MhqlBTCAo9lY03LaKmVbuw1LTwW20="
    assert KEYS.preshared_key("node-a", "node-b", 1).base64() == "TzSNykC+2Rfhj8r9KG0jxJ5ZTIHdGEC9GbOV8AjTffU="


@given(seeds, st.sets(st.tuples(labels, labels, labels, generations), min_size=2, max_size=8))
def test_no_two_labels_share_a_key(seed: str, wanted: set[tuple[str, str, str, int]]) -> None:
    keys: dict[tuple[object, ...], bytes] = {}
    for mesh, one, other, generation in wanted:
        ring = KeyRing(seed=seed, mesh=mesh)
        keys[mesh, one, generation] = ring.private_key(one, generation).raw
        keys[mesh, *sorted((one, other)), generation] = ring.preshared_key(one, other, generation).raw
    assert len(set(keys.values())) == len(keys)


BASE = ("mesh", "private", "node", "1")


@pytest.mark.parametrize(
    "other",
    [
        ("mesH", "private", "node", "1"),
        ("mesh", "preshared", "node", "1"),
        ("mesh", "private", "nodes", "1"),
        ("mesh", "private", "node", "2"),
        ("mesh", "private", "node1", ""),
        ("meshprivate", "", "node", "1"),
    ],
)
def test_every_part_of_a_label_counts(other: tuple[str, ...]) -> None:
    assert derive(*other) != derive(*BASE)


def derive(mesh: str, *label: str) -> bytes:
    return KeyRing(seed=SEED, mesh=mesh)._derive(*label)  # noqa: SLF001 # the labels' parts are seen nowhere else


@given(seeds, seeds, labels, generations)
def test_another_seed_gives_other_keys(one: str, other: str, node: str, generation: int) -> None:
    first, second = (KeyRing(seed=seed, mesh="mesh").private_key(node, generation) for seed in (one, other))
    assert (first == second) == (one == other)


@given(key_rings(), labels, labels, generations)
def test_a_preshared_key_is_the_same_from_either_side(keys: KeyRing, one: str, other: str, generation: int) -> None:
    assert keys.preshared_key(one, other, generation) == keys.preshared_key(other, one, generation)


@given(key_rings(), labels)
def test_no_repr_shows_a_secret(keys: KeyRing, node: str) -> None:
    key = keys.private_key(node, 1)
    assert repr(keys) == f"KeyRing(mesh={keys.mesh!r})"
    assert f"{key!r} {key}" == "PrivateKey() PrivateKey()"
