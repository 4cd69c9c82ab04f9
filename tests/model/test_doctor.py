"""Every known trouble is found in what was collected, with its fix, and nothing is found in a mesh that is well."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.model.seen import guest, on_host, reported, seen, told, tunnel, with_container, with_tunnel
from vpn.model.checkup import Checkup, Finding, Probe, Stopped
from vpn.model.doctor import CHECKS, examine
from vpn.model.facts import DatabaseFacts, Facts, GuestFacts, HostFacts, Seen

TWO_HOSTS = {
    "hosts": [
        {"name": "fra", "docker": "ssh://ops@fra", "address": "198.51.100.1"},
        {"name": "nyc", "docker": "ssh://ops@nyc", "address": "198.51.100.2"},
    ],
    "nodes": [{"name": "a", "host": "fra"}, {"name": "b", "host": "nyc"}],
}
ONE_HOST: dict[str, Any] = {"nodes": [{"name": "a"}, {"name": "b"}, {"name": "c"}], "transport": "auto"}
DEAD = Seen(state="exited", status="Exited (1) 5 seconds ago")


def checkup(mesh: Mapping[str, Any], facts: Facts, **more: Any) -> Checkup:
    """What was collected, of nodes that say from inside what they say to their carriers."""
    reports = {
        name: report for host in facts.hosts.values() if host.report for name, report in host.report.nodes.items()
    }
    probes = {name: Probe(report=one, has_tun=True, forwards=True, paths={}) for name, one in reports.items()}
    return Checkup(outputs=mesh, facts=facts, probes=probes, **more)


def with_probe(found: Checkup, name: str, **changes: Any) -> Checkup:
    return replace(found, probes={**found.probes, name: replace(found.probes[name], **changes)})


def only(found: Checkup) -> Finding:
    (finding,) = examine(found)
    assert finding.fix
    return finding


@pytest.fixture
def mesh() -> dict[str, Any]:
    return told(ONE_HOST)


@pytest.fixture
def well(mesh: dict[str, Any]) -> Checkup:
    return checkup(mesh, seen(mesh))


def test_a_mesh_that_is_well_has_no_findings(well: Checkup) -> None:
    assert examine(well) == []
    assert examine(checkup(told(TWO_HOSTS), seen(told(TWO_HOSTS)))) == []


def test_a_node_that_nobody_can_look_into(well: Checkup) -> None:
    others = {name: probe for name, probe in well.probes.items() if name != "b"}
    finding = only(replace(well, probes=others, unseen={"b": "bash: not found"}))
    assert (finding.place, finding.trouble, finding.found) == (
        "b",
        "it cannot be looked at from inside",
        "bash: not found",
    )
    assert "docker exec wireguard-b report" in finding.fix


def test_what_no_check_knows_is_told_all_the_same(mesh: dict[str, Any]) -> None:
    found = only(checkup(mesh, reported(seen(mesh), "b", age=45)))
    assert (found.place, found.found) == ("b", "does not answer; what it last said is 45 s old")
    assert "docker restart wireguard-b" in found.fix


def test_every_check_is_taken_once() -> None:
    assert len(set(CHECKS)) == len(CHECKS)


# --- machines


def test_an_engine_that_does_not_answer() -> None:
    mesh = told(TWO_HOSTS)
    facts = seen(mesh)
    lost = replace(facts, hosts={**facts.hosts, "nyc": HostFacts(complaint="ssh: no route to host")})
    finding = only(checkup(mesh, lost))
    assert (finding.place, finding.found) == ("host nyc", "ssh: no route to host")
    assert "docker --host ssh://ops@nyc version" in finding.fix


def test_clocks_of_hosts_and_of_this_machine() -> None:
    mesh = told(TWO_HOSTS)
    facts = on_host(on_host(seen(mesh), "fra", skew=0.4), "nyc", skew=-0.9)
    assert only(checkup(mesh, facts)).found == "host nyc is 1.3 s behind host fra"
    facts = on_host(seen(mesh), "fra", skew=0.9)
    assert examine(checkup(mesh, facts)) == []
    facts = on_host(on_host(seen(mesh), "fra", skew=90), "nyc", skew=90.5)
    assert [one.found for one in examine(checkup(mesh, facts))] == [
        "host fra is 90.0 s ahead of this machine",
        "host nyc is 90.5 s ahead of this machine",
    ]


@pytest.mark.parametrize(
    ("versions", "trouble"),
    [
        ({"pulumi": ""}, "there is no pulumi"),
        ({"engine local": "19.03.15"}, "the Docker engine is old"),
        ({"engine local": "20.10.24+dfsg1", "pulumi": "v3.259.0"}, None),
        ({"engine local": "28.1.1"}, None),
    ],
)
def test_versions(well: Checkup, versions: dict[str, str], trouble: str | None) -> None:
    found = examine(replace(well, versions=versions))
    assert [one.trouble for one in found] == ([trouble] if trouble else [])


def test_a_node_without_any_wireguard(mesh: dict[str, Any]) -> None:
    state = "failed: no WireGuard in this kernel and no /dev/net/tun: on the host run 'modprobe wireguard'"
    facts = reported(seen(mesh), "b", state=state, dataplane="", public_key="")
    found = examine(with_probe(checkup(mesh, facts), "b", has_tun=False))
    assert [(one.place, one.trouble) for one in found] == [("b", "there is no WireGuard")]
    assert "modprobe" in found[0].fix


def test_userspace_is_a_hint(well: Checkup) -> None:
    for name in "ab":
        well = with_probe(well, name, report=replace(well.probes[name].report, dataplane="userspace wireguard-go"))
    finding = only(well)
    assert (finding.place, finding.hint) == ("a, b", True)


# --- containers


@pytest.mark.parametrize(
    ("one", "why", "found", "fix"),
    [
        (None, Stopped(), "somebody removed it", "`pulumi up`"),
        (DEAD, Stopped(out_of_memory=True), "it was out of memory", "docker logs wireguard-b"),
        (Seen(state="paused", status="Up (Paused)"), Stopped(), "Up (Paused)", "docker unpause wireguard-b"),
        (
            Seen(state="running", status="Up 2 minutes (unhealthy)"),
            Stopped(said="wg0 is not up"),
            "its health check says: wg0 is not up",
            "docker restart wireguard-b",
        ),
        (Seen(state="restarting", status="Restarting (1)"), Stopped(), "Restarting (1)", "docker restart wireguard-b"),
    ],
)
def test_a_container_that_is_not_well(
    mesh: dict[str, Any], one: Seen | None, why: Stopped, found: str, fix: str
) -> None:
    facts = with_container(seen(mesh), "wireguard-b", one)
    finding = only(checkup(mesh, facts, stopped={("local", "wireguard-b"): why}))
    assert (finding.place, finding.found) == ("node b", found)
    assert fix in finding.fix


@pytest.mark.parametrize(
    "error",
    [
        "driver failed: Error starting userland proxy: listen udp4 0.0.0.0:51820: bind: address already in use",
        "Bind for 0.0.0.0:51820 failed: port is already allocated",
    ],
)
def test_a_port_that_is_taken(mesh: dict[str, Any], error: str) -> None:
    facts = with_container(seen(mesh), "wireguard-b", DEAD)
    finding = only(checkup(mesh, facts, stopped={("local", "wireguard-b"): Stopped(error=error)}))
    assert (finding.trouble, finding.found) == ("its port is taken", error)
    assert "hostPort" in finding.fix


def test_a_relay_that_is_down(mesh: dict[str, Any]) -> None:
    finding = only(checkup(mesh, with_container(seen(mesh), "wireguard-mullvad-proxy-a", DEAD)))
    assert finding.place == "relay mullvad-proxy-a"
    assert "links of a over TCP" in finding.fix


# --- nodes


def test_a_node_that_hands_on_no_packets(well: Checkup) -> None:
    finding = only(with_probe(well, "b", forwards=False))
    assert "ip_forward is 0" in finding.found
    assert "docker restart wireguard-b" in finding.fix


def test_a_config_that_is_not_applied(mesh: dict[str, Any]) -> None:
    facts = seen(mesh)
    report = facts.hosts["local"].report
    assert report
    facts = on_host(facts, report=replace(report, applied={**report.applied, "b": "000000000000"}))
    finding = only(checkup(mesh, facts))
    assert finding.found.startswith("it has abcdef012345 and goes by 000000000000: ok")


def test_a_node_that_failed(mesh: dict[str, Any]) -> None:
    finding = only(checkup(mesh, reported(seen(mesh), "b", state="failed: nft refused the ruleset")))
    assert (finding.place, finding.found) == ("b", "failed: nft refused the ruleset")


def test_a_key_that_is_not_the_stacks(mesh: dict[str, Any]) -> None:
    found = examine(checkup(mesh, reported(seen(mesh), "b", public_key="OTHER=")))
    assert [(one.trouble, one.found) for one in found] == [
        ("its key is not the stack's", "it has OTHER=, the stack says key-of-b"),
        ("peers do not have its key", "OTHER= is no peer at a, c"),
    ]


def test_a_path_that_loses_large_packets(well: Checkup, mesh: dict[str, Any]) -> None:
    addresses = [mesh["nodes"][name]["address"] for name in "ac"]
    paths = {addresses[0]: (1232, 1420), addresses[1]: (1420, 1420)}
    finding = only(with_probe(well, "b", paths=paths))
    assert (finding.place, finding.found) == ("b - a", "1232 bytes get through, 1420 do not")
    assert finding.fix.startswith("mtu: 1232 ")


def test_a_path_that_carries_nothing_is_no_matter_of_size(well: Checkup, mesh: dict[str, Any]) -> None:
    assert examine(with_probe(well, "b", paths={mesh["nodes"]["a"]["address"]: (0, 1420)})) == []


# --- tunnels


def silent(mesh: Mapping[str, Any], host: str, endpoint: str = "198.51.100.2:51821") -> Facts:
    """A mesh whose one tunnel has no handshake, as one end says."""
    return with_tunnel(seen(mesh), "a", "b", tunnel(endpoint, 400), host)


def test_a_silent_tunnel_between_hosts() -> None:
    mesh = told(TWO_HOSTS)
    finding = only(checkup(mesh, silent(mesh, "fra")))
    assert (finding.place, finding.found) == ("a - b", "no handshake for 400 s")
    assert "see whether UDP gets in at 198.51.100.2:51821" in finding.fix


def test_a_silent_tunnel_to_who_must_begin() -> None:
    mesh = told(TWO_HOSTS)
    assert "waits for it to begin" in only(checkup(mesh, silent(mesh, "fra", ""))).fix


def test_a_silent_tunnel_to_a_node_that_is_down() -> None:
    mesh = told(TWO_HOSTS)
    facts = with_container(silent(mesh, "fra"), "wireguard-b", DEAD, "nyc")
    fixes = [one.fix for one in examine(checkup(mesh, facts)) if one.place == "a - b"]
    assert fixes == ["mend b first: the container is exited"]


def test_a_silent_tunnel_is_told_once(mesh: dict[str, Any]) -> None:
    facts = with_tunnel(with_tunnel(seen(mesh), "a", "b", tunnel("", None)), "b", "a", tunnel("", None))
    assert [(one.place, one.found) for one in examine(checkup(mesh, facts))] == [("a - b", "never connected")]


# --- what is beside the nodes


def test_a_gate_without_its_chain() -> None:
    mesh = told({**ONE_HOST, "access": {"enabled": True}})
    facts = on_host(seen(mesh), gate="failed: http://10.66.0.2:8545 does not answer")
    assert only(checkup(mesh, facts)).trouble == "it cannot look at the chain"


CLUSTER: dict[str, Any] = {"nodes": ONE_HOST["nodes"], "postgres": {"nodes": ["a", "b", "c"]}}


@pytest.mark.parametrize(
    ("roles", "trouble"),
    [
        (["primary", "replica", "replica"], None),
        (["replica", "replica", ""], "there is no primary"),
        (["primary", "primary", "replica"], "postgres-a and postgres-b both say that they are the primary"),
    ],
)
def test_the_primary_of_postgresql(roles: list[str], trouble: str | None) -> None:
    mesh = told(CLUSTER)
    members = {f"postgres-{name}": DatabaseFacts(role=role) for name, role in zip("abc", roles, strict=True)}
    found = examine(checkup(mesh, on_host(seen(mesh), databases=members)))
    assert [one.trouble for one in found] == ([trouble] if trouble else [])


def test_a_member_that_is_not_well() -> None:
    mesh = told(CLUSTER)
    members = {f"postgres-{name}": DatabaseFacts(role="primary" if name == "a" else "replica") for name in "abc"}
    members["postgres-c"] = DatabaseFacts(role="replica", complaint="PostgreSQL is starting")
    assert only(checkup(mesh, on_host(seen(mesh), databases=members))).found == "PostgreSQL is starting"


def test_a_confidential_vm_that_does_not_answer() -> None:
    mesh = told({"nodes": ONE_HOST["nodes"]})
    facts = guest(mesh, "c", seen(mesh), GuestFacts(complaint="no route"))
    assert only(checkup(mesh, facts)).found == "its keeper does not tell: no route"


def test_hints_come_last(well: Checkup) -> None:
    well = with_probe(well, "a", report=replace(well.probes["a"].report, dataplane="userspace wireguard-go"))
    found = examine(with_probe(well, "b", forwards=False))
    assert [one.hint for one in found] == [False, True]
