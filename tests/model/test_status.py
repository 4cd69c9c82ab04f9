"""How a mesh is, judged by what was seen of it."""

from dataclasses import replace
from typing import Any

import pytest

from tests.model.seen import guest, node, on_host, reported, seen, status, told, tunnel, with_container, with_tunnel
from vpn.model.facts import DatabaseFacts, GuestFacts, HostFacts, Member, Seen
from vpn.model.report import HostReport

THREE = {"nodes": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
WITH_ACCESS = {
    "nodes": [{"name": "a"}, {"name": "b"}],
    "access": {"enabled": True},
    "services": [{"name": "page", "at": "a", "ports": 80}],
}
MEMBER = Member(token=7, key="PHONE=", address="10.65.0.7", owner="0xAB")


@pytest.fixture
def mesh() -> dict[str, Any]:
    return told(THREE)


def test_a_mesh_that_is_well_has_no_troubles(mesh: dict[str, Any]) -> None:
    found = status(mesh, seen(mesh))
    assert found.troubles == ()
    one = found.nodes[0]
    assert (one.name, one.host, one.address, one.dataplane) == ("a", "local", "10.0.0.1", "kernel")
    assert [(peer.name, peer.transport, peer.handshake) for peer in one.peers] == [
        ("b", "udp", 20.0),
        ("c", "udp", 20.0),
    ]
    assert [(part.name, part.trouble) for part in found.parts] == [("config", "")]


def test_nodes_are_in_the_order_of_their_numbers() -> None:
    mesh = told({"nodes": [{"name": f"n{number}"} for number in (10, 2, 1)]})
    assert [one.name for one in status(mesh, seen(mesh)).nodes] == ["n1", "n2", "n10"]


@pytest.mark.parametrize(
    ("container", "trouble"),
    [
        (None, "there is no container"),
        (Seen(state="exited", status="Exited (137) 3 seconds ago"), "the container is exited"),
        (Seen(state="paused", status="Up 2 minutes (Paused)"), "the container is paused"),
        (Seen(state="restarting", status="Restarting (1) 1 second ago"), "the container is restarting"),
        (Seen(state="running", status="Up 2 minutes (unhealthy)"), "the container is unhealthy"),
    ],
)
def test_a_container_that_is_not_well(mesh: dict[str, Any], container: Seen | None, trouble: str) -> None:
    found = status(mesh, with_container(seen(mesh), "wireguard-b", container))
    assert found.troubles == (f"b: {trouble}",)


def test_a_dead_node_is_not_believed_for_what_it_said_before(mesh: dict[str, Any]) -> None:
    dead = with_container(seen(mesh), "wireguard-b", Seen(state="exited", status="Exited"))
    assert node(mesh, dead, "b").peers == ()


def test_a_node_that_is_silent(mesh: dict[str, Any]) -> None:
    assert (
        node(mesh, reported(seen(mesh), "b", age=31), "b").trouble == "does not answer; what it last said is 31 s old"
    )
    assert node(mesh, reported(seen(mesh), "b", age=29), "b").trouble == ""


def test_a_node_that_could_not_do_as_configured(mesh: dict[str, Any]) -> None:
    found = reported(seen(mesh), "b", state="failed: nft refused the ruleset")
    assert node(mesh, found, "b").trouble == "failed: nft refused the ruleset"


def test_a_key_that_is_not_the_stacks(mesh: dict[str, Any]) -> None:
    found = reported(seen(mesh), "b", public_key="OTHER=")
    assert node(mesh, found, "b").trouble == "its key is OTHER= instead of key-of-b"


@pytest.mark.parametrize(
    ("applied", "trouble"),
    [
        ({"b": "111111111111"}, "goes by config 111111111111 instead of abcdef012345"),
        ({}, "has not applied config abcdef012345"),
    ],
)
def test_a_config_that_is_not_applied(mesh: dict[str, Any], applied: dict[str, str], trouble: str) -> None:
    facts = seen(mesh)
    report = facts.hosts["local"].report
    assert report
    others = {name: value for name, value in report.applied.items() if name != "b"}
    found = node(mesh, on_host(facts, report=replace(report, applied=others | applied)), "b")
    assert (found.trouble, found.wanted) == (trouble, "abcdef012345")


def test_never_connected_is_not_age_zero(mesh: dict[str, Any]) -> None:
    found = node(mesh, with_tunnel(seen(mesh), "a", "b", tunnel("172.20.0.3:51820", None)), "a")
    assert found.peers[0].handshake is None
    assert found.trouble == "1 of 2 tunnels: b (never connected)"


@pytest.mark.parametrize(("age", "trouble"), [(180, ""), (181, "1 of 2 tunnels: b (no handshake for 181 s)")])
def test_a_tunnel_without_a_handshake(mesh: dict[str, Any], age: float, trouble: str) -> None:
    assert node(mesh, with_tunnel(seen(mesh), "a", "b", tunnel("172.20.0.3:51820", age)), "a").trouble == trouble


@pytest.mark.parametrize(("keepalive", "bound"), [(1, 180), (25, 180), (30, 180), (31, 181), (120, 270), (600, 750)])
def test_how_old_a_handshake_may_be_depends_on_the_keepalive(keepalive: int, bound: int) -> None:
    mesh = told({**THREE, "keepalive": keepalive})
    assert node(mesh, with_tunnel(seen(mesh), "a", "b", tunnel("", bound)), "a").trouble == ""
    late = node(mesh, with_tunnel(seen(mesh), "a", "b", tunnel("", bound + 1)), "a")
    assert late.peers[0].trouble == f"no handshake for {bound + 1} s"


def test_a_tunnel_that_is_kept_open_for_who_cannot_begin_is_bound_though_others_are_not() -> None:
    hosts = [
        {"name": "fra", "docker": "ssh://fra", "address": "198.51.100.1"},
        {"name": "home", "docker": "ssh://home", "inbound": "none"},
    ]
    nodes = [{"name": "a", "host": "fra"}, {"name": "b", "host": "fra"}, {"name": "c", "host": "home"}]
    mesh = told({"hosts": hosts, "nodes": nodes, "keepalive": 0})
    facts = seen(mesh)
    for peer in "bc":
        facts = with_tunnel(facts, "a", peer, tunnel("", 181), "fra")
    assert node(mesh, facts, "a").trouble == "1 of 2 tunnels: c (no handshake for 181 s)"


def test_a_tunnel_that_nobody_keeps_alive_may_be_silent() -> None:
    mesh = told({**THREE, "keepalive": 0})
    for age in (None, 9999):
        assert node(mesh, with_tunnel(seen(mesh), "a", "b", tunnel("", age)), "a").trouble == ""


def test_a_peer_that_is_missing(mesh: dict[str, Any]) -> None:
    found = node(mesh, with_tunnel(seen(mesh), "a", "b", None), "a")
    assert found.trouble == "1 of 2 tunnels: b (is no peer there)"


def test_what_comes_from_the_relay_beside_a_node_goes_over_tcp() -> None:
    mesh = told({**THREE, "transport": "auto"})
    relay = mesh["nodes"]["a"]["relay"]
    found = node(mesh, with_tunnel(seen(mesh), "a", "b", tunnel(f"{relay}:1026")), "a")
    assert [peer.transport for peer in found.peers] == ["tcp", "udp"]
    assert node(mesh, with_tunnel(seen(mesh), "a", "b", tunnel("")), "a").peers[0].transport == ""


def test_an_engine_that_does_not_answer(mesh: dict[str, Any]) -> None:
    facts = seen(mesh)
    lost = replace(facts, hosts={"local": HostFacts(complaint="refused")})
    assert status(mesh, lost).troubles[:2] == ("host local: refused", "a: its engine does not answer")


def test_a_host_without_its_carrier(mesh: dict[str, Any]) -> None:
    facts = with_container(seen(mesh), "wireguard-config", Seen(state="exited", status="Exited"))
    troubles = status(mesh, on_host(facts, report=None, report_complaint="its config carrier does not run")).troubles
    assert "host local: its config carrier does not run" in troubles
    assert "config: the container is exited" in troubles


# --- members


def test_a_member_is_told_with_when_it_was_heard_of() -> None:
    mesh = told(WITH_ACCESS)
    facts = on_host(seen(mesh), members=(MEMBER,))
    assert status(mesh, facts).members[0].handshake is None
    tunnels = {**_report(facts).nodes["a"].tunnels, "PHONE=": tunnel("198.51.100.7:4000", 5)}
    (member,) = status(mesh, reported(facts, "a", tunnels=tunnels)).members
    assert (member.token, member.owner, member.handshake) == (7, "0xAB", 5.0)


def _report(facts: Any) -> HostReport:
    report = facts.hosts["local"].report
    assert isinstance(report, HostReport)
    return report


def test_a_gate_without_its_chain() -> None:
    mesh = told(WITH_ACCESS)
    said = "failed: the chain does not answer"
    assert status(mesh, on_host(seen(mesh), gate=said)).troubles == (f"gate: {said}",)


# --- PostgreSQL


CLUSTER = {"nodes": THREE["nodes"], "postgres": {"nodes": ["a", "b", "c"]}}


SPREAD = {
    "hosts": [{"name": one, "docker": f"ssh://{one}", "address": f"198.51.100.{ord(one)}"} for one in "abc"],
    "nodes": [{"name": one, "host": one} for one in "abc"],
    "postgres": {"nodes": ["a", "b", "c"]},
}


def databases(*roles: str) -> dict[str, DatabaseFacts]:
    """Members with these roles."""
    lags = {"a": 0, "b": 512, "c": None}
    names = [f"postgres-{name}" for name in "abc"]
    return {
        name: DatabaseFacts(role=role, state="running", lags=lags if role == "primary" else {"b": 9})
        for name, role in zip(names, roles, strict=True)
    }


@pytest.mark.parametrize(
    ("roles", "troubles"),
    [
        (("primary", "replica", "replica"), ()),
        (("replica", "replica", "replica"), ("PostgreSQL: there is no primary",)),
        (
            ("primary", "primary", "replica"),
            ("PostgreSQL: postgres-a and postgres-b both say that they are the primary",),
        ),
    ],
)
def test_the_members_of_a_cluster(roles: tuple[str, ...], troubles: tuple[str, ...]) -> None:
    mesh = told(CLUSTER)
    found = status(mesh, on_host(seen(mesh), databases=databases(*roles)))
    assert found.troubles == troubles
    assert [one.role for one in found.databases] == list(roles)


@pytest.mark.parametrize(
    ("unreachable", "roles", "leader", "trouble"),
    [
        ("c", ("replica", "replica", ""), "c", None),
        ("c", ("replica", "replica", ""), "", "there is no primary"),
        ("c", ("replica", "replica", ""), "b", "there is no primary"),
        ("abc", ("", "", ""), "", "nobody tells which member is the primary"),
    ],
)
def test_a_primary_that_cannot_be_asked_is_what_the_others_say(
    unreachable: str, roles: tuple[str, ...], leader: str, trouble: str | None
) -> None:
    mesh = told(SPREAD)
    facts = seen(mesh)
    for node_name, role in zip("abc", roles, strict=True):
        view = DatabaseFacts(role=role, state="running", leader=leader, lags={"a": 0, "b": 0, "c": 0})
        facts = on_host(facts, node_name, databases={f"postgres-{node_name}": view})
    lost = {name: HostFacts(complaint="refused") for name in unreachable}
    found = status(mesh, replace(facts, hosts={**facts.hosts, **lost}))
    assert [one for one in found.troubles if one.startswith("PostgreSQL")] == (
        [f"PostgreSQL: {trouble}"] if trouble else []
    )


def test_a_member_that_is_paused_is_not_well() -> None:
    mesh = told(CLUSTER)
    facts = on_host(seen(mesh), databases=databases("primary", "replica", "replica"))
    paused = with_container(facts, "wireguard-postgres-b", Seen(state="paused", status="Up 1 hour (Paused)"))
    assert [one.trouble for one in status(mesh, paused).databases] == ["", "the container is paused", ""]


def test_the_lag_is_the_primarys_word() -> None:
    mesh = told(CLUSTER)
    found = status(mesh, on_host(seen(mesh), databases=databases("primary", "replica", "replica")))
    assert [one.lag for one in found.databases] == [0, 512, None]


# --- confidential VMs


def test_a_node_in_a_confidential_vm_is_what_its_peers_say() -> None:
    mesh = told(THREE)
    facts = guest(mesh, "c", seen(mesh), GuestFacts(serial=5))
    found = node(mesh, facts, "c")
    assert (found.trouble, found.wanted, found.dataplane) == ("", None, "")
    assert [(peer.name, peer.received, peer.sent) for peer in found.peers] == [("a", 2000, 1000), ("b", 2000, 1000)]


@pytest.mark.parametrize(
    ("keeper", "trouble"),
    [
        (GuestFacts(complaint="no route"), "its keeper does not tell: no route"),
        (GuestFacts(serial=5, missing=("node",)), "has not applied order 5: node"),
    ],
)
def test_what_the_keeper_says(keeper: GuestFacts, trouble: str) -> None:
    mesh = told(THREE)
    facts = guest(mesh, "c", seen(mesh), keeper)
    assert node(mesh, facts, "c").trouble == trouble


def test_a_vm_that_is_not_let_in() -> None:
    mesh = told(THREE)
    facts = guest(mesh, "c", seen(mesh), GuestFacts(), admitted=False)
    assert node(mesh, facts, "c").trouble.startswith("is not let in")
