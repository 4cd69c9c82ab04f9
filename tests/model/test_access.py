"""The rule of access, as it is written in the configuration."""

from typing import Any

import pytest
from hypothesis import given

from tests.model.example import ACCESS
from tests.model.stack_files import DEV
from tests.model.strategies import access, anything
from tests.model.test_config import BASE, check, mistakes
from vpn.model.access import ACCESS_DEFAULTS, ACCESS_KEYS, CONFIRMATIONS, Access
from vpn.model.config import parse
from vpn.model.problems import ConfigError

REAL = {"rpcUrl": "https://rpc.example/v3/key", "contractAddress": "0x" + "aB" * 20}
TOP_SECRET = "hunter2"


def rule(**settings: Any) -> Access:
    found = parse(BASE | {"access": {"enabled": True} | settings}).access
    assert found
    return found


def wrong(**settings: Any) -> list[tuple[str, object]]:
    return mistakes(BASE | {"access": {"enabled": True} | settings})


def test_the_rule_of_the_dev_stack_takes_every_default() -> None:
    assert DEV["access"] == {"enabled": True}
    assert rule() == ACCESS
    assert set(ACCESS_DEFAULTS) < set(ACCESS_KEYS)


@pytest.mark.parametrize(
    "config", [BASE, *(BASE | {"access": one} for one in (None, {}, {"enabled": False}, {"tickSeconds": 5}))]
)
def test_without_a_rule_nobody_joins(config: dict[str, Any]) -> None:
    mesh = parse(config)
    assert mesh.access is None
    assert mesh.mesh_ranges == (mesh.vpn_range, mesh.site_range)


def test_a_real_chain_needs_a_fresh_block() -> None:
    real = rule(**REAL)
    assert (real.embedded, real.contract, real.max_head_age) == (False, REAL["contractAddress"].lower(), 300)
    assert rule(**REAL, maxHeadAgeSeconds=0).max_head_age == 0
    assert (rule().embedded, rule().max_head_age) == (True, 0)


def test_a_rule_does_not_show_its_endpoint() -> None:
    assert "rpc.example" not in repr(rule(**REAL))


@pytest.mark.parametrize("value", ["latest", "safe", "finalized", 0, 12, CONFIRMATIONS])
def test_finality(value: str | int) -> None:
    assert rule(**REAL, finality=value).finality == str(value)


@pytest.mark.parametrize("value", ["safe", 1])
def test_on_the_embedded_chain_every_block_is_final(value: str | int) -> None:
    assert rule(finality="latest").finality == "latest"
    assert wrong(finality=value) == [("access.finality", value)]


def test_gate_and_chain_and_docker_have_addresses_of_their_own() -> None:
    found = rule(gateRange="10.66.0.0/29")
    assert len({found.gateway, found.chain_address, found.gate_address}) == 3
    assert all(one in found.gate_range for one in (found.gateway, found.chain_address, found.gate_address))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"enabled": "yes"}, [("access.enabled", "yes")]),
        # Ranges
        ({"memberRange": "10.65.0.0/19"}, [("access.memberRange", "10.65.0.0/19")]),
        ({"memberRange": "10.65.0.0/31"}, [("access.memberRange", "10.65.0.0/31")]),
        ({"memberRange": "10.65.0.1/24"}, [("access.memberRange", "10.65.0.1/24")]),
        ({"memberRange": 5}, [("access.memberRange", 5)]),
        ({"memberRange": "10.0.0.0/24"}, [("access.memberRange", "10.0.0.0/24")]),
        ({"memberRange": "10.64.9.0/24"}, [("access.memberRange", "10.64.9.0/24")]),
        ({"gateRange": "10.65.0.0/28"}, [("access.gateRange", "10.65.0.0/28")]),
        ({"gateRange": "172.20.9.0/28"}, [("access.gateRange", "172.20.9.0/28")]),
        ({"gateRange": "10.66.0.0/30"}, [("access.gateRange", "10.66.0.0/30")]),
        # Chain
        ({"chainPort": 0}, [("access.chainPort", 0)]),
        ({"chainPort": 65_536}, [("access.chainPort", 65_536)]),
        ({"contractAddress": REAL["contractAddress"]}, [("access.contractAddress", REAL["contractAddress"])]),
        ({"rpcUrl": REAL["rpcUrl"]}, [("access.contractAddress", None)]),
        (REAL | {"contractAddress": "0x12"}, [("access.contractAddress", "0x12")]),
        (REAL | {"contractAddress": 5}, [("access.contractAddress", 5)]),
        # Times
        ({"finality": "soon"}, [("access.finality", "soon")]),
        ({"finality": -1}, [("access.finality", -1)]),
        ({"finality": True}, [("access.finality", True)]),
        (REAL | {"finality": CONFIRMATIONS + 1}, [("access.finality", CONFIRMATIONS + 1)]),
        ({"leaseSeconds": 4}, [("access.leaseSeconds", 4)]),
        ({"leaseSeconds": 5, "tickSeconds": 2}, [("access.leaseSeconds", 5)]),
        ({"tickSeconds": 0}, [("access.tickSeconds", 0)]),
        ({"tickSeconds": 61}, [("access.tickSeconds", 61)]),
        ({"maxHeadAgeSeconds": 300}, [("access.maxHeadAgeSeconds", 300)]),
        (REAL | {"maxHeadAgeSeconds": -1}, [("access.maxHeadAgeSeconds", -1)]),
    ],
    ids=repr,
)
def test_a_mistake(settings: dict[str, Any], expected: list[tuple[str, object]]) -> None:
    assert wrong(**settings) == expected


@pytest.mark.parametrize("value", [[], "yes", True, 5])
def test_a_rule_that_is_no_mapping(value: Any) -> None:
    assert mistakes(BASE | {"access": value}) == [("access", value)]


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://{TOP_SECRET}",
        f"https://user:{TOP_SECRET}@rpc.example",
        f"https:///{TOP_SECRET}",
        f"http://x:{TOP_SECRET}",
        5,
    ],
)
def test_an_endpoint_that_is_wrong_is_not_shown(url: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        rule(**REAL | {"rpcUrl": url})
    assert [(one.path, one.value) for one in caught.value.problems] == [("access.rpcUrl", "(not shown)")]
    assert TOP_SECRET not in str(caught.value)


def test_a_misspelled_key_may_hold_a_secret_and_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        rule(rpcURL=f"https://rpc.example/{TOP_SECRET}")
    assert TOP_SECRET not in str(caught.value)
    assert [one.path for one in caught.value.problems] == ["access.rpcURL"]


@pytest.mark.parametrize("name", ["config", "gate", "chain"])
def test_no_node_and_no_workload_takes_the_place_of_what_serves_the_mesh(name: str) -> None:
    assert mistakes(BASE | {"nodes": [*BASE["nodes"], {"name": name}]}) == [("nodes[2].name", name)]
    workload = {"name": f"wireguard-{name}", "node": "node-a", "image": "nginx"}
    assert mistakes(BASE | {"workloads": [workload]}) == [("workloads[0].name", f"wireguard-{name}")]


@given(access | anything)
def test_no_rule_breaks_the_parser(value: Any) -> None:
    check(BASE | {"access": value})
