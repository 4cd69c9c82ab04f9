"""vpn client config: a key that is made here, bound, and printed with every node as a peer."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Vpn
from tests.contracts.chain import NOTHING, Chain
from vpn.model.keys import PrivateKey, clamp

OWN = PrivateKey(clamp(b"\6" * 32))


@pytest.fixture
def minted(on_chain: Vpn, chain: Chain) -> Vpn:
    """The command line of account 1, who holds pass 7."""
    chain.do(chain.admin, "mint", chain.people[0], 7)
    return on_chain


def private_key(config: str) -> PrivateKey:
    (text,) = re.findall("^PrivateKey = (.*)$", config, re.MULTILINE)
    return PrivateKey.parse(text)


def test_the_printed_key_is_the_one_that_is_bound(minted: Vpn, chain: Chain) -> None:
    first = private_key(minted.told("client", "config", "7", "--account", "1"))
    assert chain.passes()[7].key == first.public().raw
    second = private_key(minted.told("client", "config", "7", "--account", "1"))
    assert second != first
    assert chain.passes()[7].key == second.public().raw


def test_every_node_is_a_peer_at_its_address(minted: Vpn) -> None:
    config = minted.told("client", "config", "7", "--account", "1")
    assert "Address = 10.65.0.7/32\nMTU = 1420\n" in config
    assert re.findall("^Endpoint = (.*)$", config, re.MULTILINE) == ["172.20.0.2:51820", "172.20.0.3:51820"]
    assert re.findall("^AllowedIPs = (.*)$", config, re.MULTILINE) == [
        "10.0.0.1/32, 10.64.1.0/24",
        "10.0.0.2/32, 10.64.2.0/24",
    ]


def test_a_node_with_nothing_for_members_is_no_peer(minted: Vpn, outputs: dict[str, Any]) -> None:
    outputs["nodes"]["node-b"]["members"] = False
    minted.mesh.write_text(json.dumps(outputs))
    config = minted.told("client", "config", "7", "--account", "1", "--dns")
    assert re.findall("^Endpoint = (.*)$", config, re.MULTILINE) == ["172.20.0.2:51820"]
    assert "\nDNS = 10.0.0.1, vpn.dstack\n" in config
    outputs["nodes"]["node-a"]["members"] = False
    minted.mesh.write_text(json.dumps(outputs))
    assert "no node has anything for members" in minted.refused("client", "config", "7", "--account", "1")


def test_from_elsewhere_nodes_are_reached_at_the_published_ports(minted: Vpn) -> None:
    config = minted.told("client", "config", "7", "--account", "1", "--host", "vpn.example.org")
    assert re.findall("^Endpoint = (.*)$", config, re.MULTILINE) == ["vpn.example.org:51820", "vpn.example.org:51821"]


def test_as_json_and_as_a_code(minted: Vpn) -> None:
    data = minted.data("client", "config", "7", "--account", "1")
    assert (data["token"], data["address"]) == (7, "10.65.0.7")
    assert private_key(data["config"]).public().base64() == data["publicKey"]
    code = minted.told("client", "config", "7", "--account", "1", "--qr")
    assert "█" in code
    assert "PrivateKey" not in code


def test_a_key_of_ones_own_is_bound_once_and_printed_again_by_who_need_not_sign(
    minted: Vpn, chain: Chain, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{OWN.base64()}\n")
    own = ("--key-file", str(tmp_path / "key"))
    first = minted.told("client", "config", "7", "--account", "1", *own)
    block = chain.web3.eth.block_number
    assert minted.told("client", "config", "7", *own) == first
    assert private_key(first) == OWN
    assert chain.web3.eth.block_number == block


def test_nothing_is_bound_when_something_is_wrong(minted: Vpn, chain: Chain, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("garbage")
    for options, reason in (
        (("7", "--account", "2"), "only the holder binds a key"),
        (("8", "--account", "1"), "there is no pass 8"),
        (("99", "--account", "1"), "pass 99 has no address"),
        (("7",), "nobody is named to sign"),
        (("7", "--account", "1", "--key-file", "/nowhere"), "--key-file /nowhere: "),
        (("7", "--account", "1", "--key-file", str(tmp_path / "key")), "holds no key"),
    ):
        assert reason in minted.refused("client", "config", *options)
    assert chain.passes()[7].key == NOTHING


def test_a_file_is_for_its_owner_only_and_there_only_when_the_key_is_bound(
    minted: Vpn, chain: Chain, tmp_path: Path
) -> None:
    file = tmp_path / "me.conf"
    assert "only the holder" in minted.refused("client", "config", "7", "--account", "2", "--output", str(file))
    assert not file.exists()
    assert (
        minted.told("client", "config", "7", "--account", "1", "--output", str(file)) == f"Next: wg-quick up {file}\n"
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert private_key(file.read_text()).public().raw == chain.passes()[7].key
    before = file.read_text()
    assert "File exists" in minted.refused("client", "config", "7", "--account", "1", "--output", str(file))
    assert file.read_text() == before
    assert private_key(before).public().raw == chain.passes()[7].key


def test_too_many_nodes_for_a_code_are_told_before_anything_is_bound(
    minted: Vpn, outputs: dict[str, Any], chain: Chain
) -> None:
    outputs["nodes"] = {f"node-{number}": outputs["nodes"]["node-a"] for number in range(30)}
    minted.mesh.write_text(json.dumps(outputs))
    assert "too much for a QR code" in minted.refused("client", "config", "7", "--account", "1", "--qr")
    assert chain.passes()[7].key == NOTHING


def test_from_elsewhere_a_port_must_be_published(minted: Vpn, outputs: dict[str, Any], chain: Chain) -> None:
    outputs["nodes"]["node-b"]["hostPort"] = None
    minted.mesh.write_text(json.dumps(outputs))
    assert "node-b publishes no port" in minted.refused("client", "config", "7", "--account", "1", "--host", "x")
    assert chain.passes()[7].key == NOTHING
