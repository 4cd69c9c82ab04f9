"""Whatever the chain says: who is let in holds a pass, has a key and an address of their own, and is no node."""

from ipaddress import IPv4Address, IPv4Network

from access_gate.members import FIELD_PRIME, SMALL_ORDER, judge
from access_gate.rpc import Pass
from access_gate.settings import Settings
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult
from nacl.exceptions import RuntimeError as NaclError

from tests.gate.world import as_keys, held, key

NODE = key(3)
SETTINGS = Settings(
    rpc_url="",
    contract="",
    finality="latest",
    lease=300,
    tick=1,
    max_head_age=0,
    member_range=IPv4Network("10.65.0.0/29"),
    nodes=dict(zip(["node-a"], as_keys([held(3)]), strict=True)),
    admitting=["node-a"],
)
passes = st.lists(
    st.builds(
        Pass,
        token=st.integers(0, 8) | st.sampled_from([2**255, 2**256 - 1]),
        owner=st.sampled_from(["0xa", "0xb"]),
        key=st.integers(0, 5).map(lambda number: key(number) if number else bytes(32))
        | st.binary(min_size=32, max_size=32),
        suspended=st.booleans(),
    ),
    max_size=6,
)


@given(passes, passes)
def test_who_is_let_in(head: list[Pass], final: list[Pass]) -> None:
    verdict = judge(head, final, SETTINGS)
    members = list(verdict.members.values())
    assert set(verdict.members) & set(verdict.refused) == set()
    assert len({one.key for one in members}) == len({one.address for one in members}) == len(members)
    for token, one in verdict.members.items():
        (found,) = [entry for entry in head if entry.token == token and any(entry.key)]
        assert found in final
        assert not found.suspended
        assert (one.owner, as_keys([found])) == (found.owner, [one.key])
        assert one.key not in SETTINGS.nodes.values()
        assert IPv4Address(one.address) in list(SETTINGS.member_range.hosts())


@given(passes, passes)
def test_the_order_of_the_passes_changes_nothing(head: list[Pass], final: list[Pass]) -> None:
    assert judge(head, final, SETTINGS) == judge(head[::-1], final[::-1], SETTINGS)


def test_every_key_of_small_order_is_one_that_the_library_refuses_too() -> None:
    for number in SMALL_ORDER:
        try:
            crypto_scalarmult(b"\7" * 32, number.to_bytes(32, "little"))
        except NaclError:
            continue
        raise AssertionError(f"{number:x} is of no small order")
    assert max(SMALL_ORDER) < FIELD_PRIME
