"""Who may do what with a pass, and what becomes of its key."""

import pytest

from contracts.build import ARTIFACT, compiled
from tests.contracts.chain import CAPACITY, NOTHING, Chain, Pass

KEY, OTHER_KEY = b"\1" * 32, b"\2" * 32
SAFE = "safeTransferFrom(address,address,uint256)"


@pytest.fixture
def alice(chain: Chain) -> str:
    return chain.people[0]


@pytest.fixture
def bob(chain: Chain) -> str:
    return chain.people[1]


@pytest.fixture
def bound(chain: Chain, alice: str) -> Chain:
    """Alice holds token 7 with a key."""
    chain.do(chain.admin, "mint", alice, 7)
    chain.do(alice, "bind_key", 7, KEY)
    return chain


def test_the_artifact_is_what_the_source_compiles_to() -> None:
    assert ARTIFACT.read_text() == compiled()


def test_a_minted_pass_belongs_to_its_holder_and_lets_nobody_in(chain: Chain, alice: str) -> None:
    chain.do(chain.admin, "mint", alice, 7)
    assert chain.passes() == {7: Pass(7, alice, NOTHING, suspended=False)}


@pytest.mark.parametrize("token", [0, CAPACITY + 1, 2**256 - 1])
def test_a_token_without_an_address_is_not_minted(chain: Chain, alice: str, token: int) -> None:
    assert "no address for this token ID" in chain.refused(chain.admin, "mint", alice, token)


def test_the_whole_capacity_can_be_minted_once(chain: Chain, alice: str) -> None:
    for token in range(1, CAPACITY + 1):
        chain.do(chain.admin, "mint", alice, token)
    assert sorted(chain.passes()) == list(range(1, CAPACITY + 1))
    assert "already minted" in chain.refused(chain.admin, "mint", alice, 1)


def test_only_the_admin_mints_suspends_and_lifts(bound: Chain, alice: str) -> None:
    assert "caller is not the owner" in bound.refused(alice, "mint", alice, 8)
    for function in ("suspend", "lift"):
        assert "caller is not the owner" in bound.refused(alice, function, 7)


def test_a_bound_key_is_shown_with_its_holder(bound: Chain, alice: str) -> None:
    assert bound.passes()[7] == Pass(7, alice, KEY, suspended=False)
    assert bound.contract.functions.pass_of(KEY).call() == 7


def test_a_new_key_replaces_the_old_one_which_is_free_again(bound: Chain, alice: str) -> None:
    events = bound.do(alice, "bind_key", 7, OTHER_KEY)
    cleared = ("KeyCleared", {"token_id": 7, "owner": alice, "key": KEY})
    assert sorted(events, key=str) == [("KeyBound", {"token_id": 7, "owner": alice, "key": OTHER_KEY}), cleared]
    assert bound.passes()[7].key == OTHER_KEY
    assert bound.contract.functions.pass_of(KEY).call() == 0


def test_nobody_but_the_holder_binds_or_clears(bound: Chain, bob: str) -> None:
    for sender in (bob, bound.admin):
        assert "only the holder binds a key" in bound.refused(sender, "bind_key", 7, OTHER_KEY)
        assert "only the holder clears a key" in bound.refused(sender, "clear_key", 7)


def test_not_even_an_approved_operator_binds(bound: Chain, alice: str, bob: str) -> None:
    bound.do(alice, "setApprovalForAll", bob, True)  # noqa: FBT003
    assert "only the holder binds a key" in bound.refused(bob, "bind_key", 7, OTHER_KEY)


def test_a_key_is_bound_once(bound: Chain, alice: str, bob: str) -> None:
    bound.do(bound.admin, "mint", bob, 8)
    assert "bound already" in bound.refused(bob, "bind_key", 8, KEY)
    assert "bound already" in bound.refused(alice, "bind_key", 7, KEY)
    assert "the key is empty" in bound.refused(alice, "bind_key", 7, NOTHING)


def test_a_token_that_is_not_there_has_no_key(chain: Chain, alice: str) -> None:
    assert "invalid token ID" in chain.refused(alice, "bind_key", 3, KEY)
    assert "invalid token ID" in chain.refused(chain.admin, "suspend", 3)


def test_a_cleared_key_lets_nobody_in_and_can_be_bound_elsewhere(bound: Chain, alice: str, bob: str) -> None:
    assert bound.do(alice, "clear_key", 7) == [("KeyCleared", {"token_id": 7, "owner": alice, "key": KEY})]
    assert bound.passes()[7].key == NOTHING
    bound.do(bound.admin, "mint", bob, 8)
    bound.do(bob, "bind_key", 8, KEY)
    assert bound.passes()[8].key == KEY


@pytest.mark.parametrize("function", ["transferFrom", SAFE])
def test_a_transfer_clears_the_key_in_the_same_transaction(bound: Chain, alice: str, bob: str, function: str) -> None:
    events = dict(bound.do(alice, function, alice, bob, 7))
    assert events["KeyCleared"] == {"token_id": 7, "owner": alice, "key": KEY}
    assert events["Transfer"] == {"sender": alice, "receiver": bob, "token_id": 7}
    assert bound.passes()[7] == Pass(7, bob, NOTHING, suspended=False)
    assert "only the holder" in bound.refused(alice, "bind_key", 7, KEY)
    bound.do(bob, "bind_key", 7, OTHER_KEY)


def test_a_transfer_to_oneself_clears_the_key_too(bound: Chain, alice: str) -> None:
    bound.do(alice, "transferFrom", alice, alice, 7)
    assert bound.passes()[7].key == NOTHING


def test_an_approved_operator_transfers_and_the_key_is_cleared(bound: Chain, alice: str, bob: str) -> None:
    bound.do(alice, "approve", bob, 7)
    bound.do(bob, "transferFrom", alice, bob, 7)
    assert bound.passes()[7] == Pass(7, bob, NOTHING, suspended=False)


def test_a_stranger_moves_and_burns_nothing(bound: Chain, alice: str, bob: str) -> None:
    for sender in (bob, bound.admin):
        for function in ("transferFrom", SAFE):
            assert "not token owner or approved" in bound.refused(sender, function, alice, sender, 7)
        assert "not token owner or approved" in bound.refused(sender, "burn", 7)
    assert bound.passes()[7].key == KEY


def test_a_transfer_from_a_false_owner_is_refused(bound: Chain, alice: str, bob: str) -> None:
    assert "incorrect owner" in bound.refused(alice, "transferFrom", bob, bob, 7)


def test_a_contract_that_cannot_hold_a_pass_does_not_get_it(bound: Chain, alice: str) -> None:
    bound.refused(alice, SAFE, alice, bound.contract.address, 7)
    assert bound.passes()[7].key == KEY


def test_a_burnt_pass_is_gone_with_its_key(bound: Chain, alice: str) -> None:
    assert ("KeyCleared", {"token_id": 7, "owner": alice, "key": KEY}) in bound.do(alice, "burn", 7)
    assert bound.passes() == {}
    assert bound.contract.functions.pass_of(KEY).call() == 0


def test_a_suspension_stays_until_lifted_whoever_holds_the_pass(bound: Chain, alice: str, bob: str) -> None:
    assert bound.do(bound.admin, "suspend", 7) == [("Suspended", {"token_id": 7})]
    bound.do(alice, "transferFrom", alice, bob, 7)
    bound.do(bob, "bind_key", 7, OTHER_KEY)
    assert bound.passes()[7] == Pass(7, bob, OTHER_KEY, suspended=True)
    bound.do(bob, "burn", 7)
    bound.do(bound.admin, "mint", alice, 7)
    assert bound.passes()[7].suspended
    assert bound.do(bound.admin, "lift", 7) == [("Lifted", {"token_id": 7})]
    assert not bound.passes()[7].suspended


def test_the_admin_can_hand_over(bound: Chain, alice: str, bob: str) -> None:
    bound.do(bound.admin, "transfer_ownership", bob)
    assert "caller is not the owner" in bound.refused(bound.admin, "mint", alice, 9)
    bound.do(bob, "mint", alice, 9)


def test_it_says_that_it_is_an_erc721_that_can_be_enumerated(chain: Chain) -> None:
    supports = chain.contract.functions.supportsInterface
    assert [supports(bytes.fromhex(one)).call() for one in ("01ffc9a7", "80ac58cd", "780e9d63")] == [True, True, True]
    assert not supports(bytes.fromhex("ffffffff")).call()
