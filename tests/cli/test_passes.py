"""vpn pass, on a real chain."""

import json
from pathlib import Path

import pytest
from eth_account import Account

from tests.cli.conftest import Vpn
from tests.contracts.chain import CAPACITY, Chain
from vpn.model.keys import PublicKey

KEY = PublicKey(b"\5" * 32).base64()
PASSWORD = "correct horse"


def test_a_pass_is_minted_for_an_account_with_the_lowest_free_number(on_chain: Vpn, chain: Chain) -> None:
    assert on_chain.data("pass", "mint", "1", "--token", "2")["token"] == 2
    found = [on_chain.data("pass", "mint", chain.people[0]) for _ in range(2)]
    assert [(one["token"], one["owner"], one["address"]) for one in found] == [
        (1, chain.people[0], "10.65.0.1"),
        (3, chain.people[0], "10.65.0.3"),
    ]
    assert found[0]["block"] < found[1]["block"]
    assert sorted(chain.passes()) == [1, 2, 3]


def test_what_is_done_is_told_with_what_comes_next(on_chain: Vpn, chain: Chain) -> None:
    assert on_chain.told("pass", "mint", "1") == (
        f"Pass 1 belongs to {chain.people[0]}. Next, its holder: vpn client config 1\n"
    )
    assert on_chain.told("pass", "bind", "1", KEY, "--account", "1") == f"Pass 1 lets {KEY} in.\n"
    assert f"Pass 1 belongs to {chain.people[1]}" in on_chain.told("pass", "transfer", "1", "2", "--account", "1")
    assert on_chain.told("pass", "suspend", "1") == "Pass 1 lets nobody in until it is lifted.\n"
    assert on_chain.told("pass", "lift", "1") == "Pass 1 is not suspended.\n"
    assert on_chain.told("pass", "clear", "1", "--account", "2") == "Pass 1 lets nobody in.\n"
    assert on_chain.told("pass", "burn", "1", "--account", "2") == "Pass 1 is no more.\n"
    assert chain.passes() == {}


def test_the_list_tells_what_each_pass_is_worth(on_chain: Vpn, chain: Chain) -> None:
    assert on_chain.told("pass", "list") == "No pass has been minted.\n"
    for token in (1, 2, 3):
        chain.do(chain.admin, "mint", chain.people[token], token)
    for token in (2, 3):
        chain.do(chain.people[token], "bind_key", token, bytes([token]) * 32)
    chain.do(chain.admin, "suspend", 3)
    entries = on_chain.data("pass", "list")
    assert [(one["token"], one["state"], one["address"], one["owner"]) for one in entries] == [
        (1, "no key", "10.65.0.1", chain.people[1]),
        (2, "active", "10.65.0.2", chain.people[2]),
        (3, "suspended", "10.65.0.3", chain.people[3]),
    ]
    assert [one["key"] for one in entries] == [None, *(PublicKey(bytes([token]) * 32).base64() for token in (2, 3))]
    heading, *rows = on_chain.told("pass", "list").splitlines()
    assert heading.split() == ["pass", "state", "address", "key", "holder"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]


def test_a_transfer_by_an_approved_operator(on_chain: Vpn, chain: Chain) -> None:
    alice, bob = chain.people[:2]
    chain.do(chain.admin, "mint", alice, 1)
    chain.do(alice, "approve", bob, 1)
    on_chain.told("pass", "transfer", "1", "3", "--account", "2")
    assert chain.passes()[1].owner == chain.people[2]


# --- what is refused


def test_what_the_contract_refuses_is_told_in_its_words(on_chain: Vpn, chain: Chain) -> None:
    on_chain.told("pass", "mint", "1")
    for command, reason in (
        (("mint", "1", "--token", "1"), "erc721: token already minted"),
        (("mint", "1", "--token", str(CAPACITY + 1)), "access_pass: no address for this token ID"),
        (("mint", "1", "--account", "2"), "ownable: caller is not the owner"),
        (("bind", "1", KEY, "--account", "2"), "access_pass: only the holder binds a key"),
        (("burn", "9", "--account", "1"), "erc721: invalid token ID"),
        (("transfer", "1", "2", "--account", "3"), "erc721: caller is not token owner or approved"),
    ):
        assert on_chain.refused("pass", *command) == f"error: the contract refused: {reason}\n"
    assert list(chain.passes()) == [1]


def test_more_than_the_contract_counts(on_chain: Vpn, chain: Chain) -> None:
    for token in range(1, CAPACITY + 1):
        chain.do(chain.admin, "mint", chain.people[0], token)
    assert f"all {CAPACITY} passes are minted" in on_chain.refused("pass", "mint", "1")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("mint", "1", "--token", "31"), "pass 31 has no address in the member range 10.65.0.0/27"),
        (("mint", "99"), "accounts, and none with number 99"),
        (("mint", "bob"), "bob is no address"),
        (("mint", "0x" + "aB" * 20), "is no address"),
        (("bind", "1", "short", "--account", "1"), "'short' is no public key"),
        (("bind", "1", KEY), "nobody is named to sign"),
        (("bind", "1", KEY, "--account", "0x" + "12" * 20), "does not sign for 0x12"),
        (("burn", "1", "--keystore", "/nowhere"), "--keystore: "),
        (("list", "--contract", "0x12"), "0x12 is no address"),
        (("list", "--contract", "0x" + "12" * 20), "there is no contract at 0x12"),
        (("list", "--rpc", "ftp://host"), "--rpc is no http or https URL"),
        (("list", "--rpc", "@/nowhere"), "--rpc: "),
        (("list", "--rpc", "http://host:secret"), "--rpc is no http or https URL"),
        (("list", "--rpc", "http://[::1"), "--rpc is no http or https URL"),
        (("list", "--rpc", "http://127.0.0.1:9/secret"), "http://127.0.0.1:9 does not answer"),
        (("deploy",), "no chain to deploy to"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_told_with_the_reason(on_chain: Vpn, chain: Chain, command: tuple[str, ...], reason: str) -> None:
    told = on_chain.refused("pass", *command)
    assert reason in told
    assert "secret" not in told
    assert chain.passes() == {}


# --- a real chain: nobody but a keystore signs, and the stack does not tell the endpoint


@pytest.fixture
def keystore(chain: Chain, tmp_path: Path) -> tuple[str, list[str]]:
    """Somebody with some money: the address, and the options that let it sign."""
    account = Account.create()
    chain.ask("anvil_setBalance", account.address, hex(10**18))
    (tmp_path / "key.json").write_text(json.dumps(Account.encrypt(account.key, PASSWORD, iterations=2)))
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    options = ["--keystore", str(tmp_path / "key.json"), "--password-file", str(tmp_path / "password")]
    return str(account.address), options


def test_a_contract_of_ones_own_is_deployed_and_used_with_a_keystore(
    on_chain: Vpn, chain: Chain, keystore: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, signs = keystore
    (tmp_path / "url").write_text(f"{chain.url}\n")
    rpc = ["--rpc", f"@{tmp_path / 'url'}"]
    made = on_chain.data("pass", "deploy", "--capacity", "5", *rpc, *signs)
    assert (made["admin"], made["capacity"]) == (address, 5)
    there = [*rpc, "--contract", made["contract"]]
    assert on_chain.data("pass", "mint", address, *there, *signs)["token"] == 1
    on_chain.told("pass", "bind", "1", KEY, *there, *signs)
    assert [(one["owner"], one["key"]) for one in on_chain.data("pass", "list", *there)] == [(address, KEY)]
    assert chain.passes() == {}, "the other contract"


def test_on_a_real_chain_nobody_signs_by_default(on_chain: Vpn, chain: Chain) -> None:
    refused = on_chain.refused("pass", "mint", "1", "--rpc", chain.url, "--contract", chain.contract.address)
    assert "nobody is named to sign" in refused


def test_a_wrong_password_opens_nothing(on_chain: Vpn, keystore: tuple[str, list[str]], tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong")
    assert "the password does not open" in on_chain.refused("pass", "burn", "1", *keystore[1])


def test_without_a_terminal_a_password_needs_a_file(on_chain: Vpn, keystore: tuple[str, list[str]]) -> None:
    assert "no terminal to ask" in on_chain.refused("pass", "burn", "1", *keystore[1][:2])


def test_who_cannot_pay_is_told(on_chain: Vpn, chain: Chain, keystore: tuple[str, list[str]]) -> None:
    address, signs = keystore
    chain.do(chain.admin, "mint", address, 1)
    chain.ask("anvil_setBalance", address, "0x1")
    assert "nsufficient" in on_chain.refused("pass", "burn", "1", *signs)
