"""Nodes in confidential VMs: what a configuration may say of them, what they run, and what they are told."""

import json
import subprocess
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from tests.model.example import KEYS
from tests.model.test_config import mistakes
from vpn import outputs
from vpn.model import gate, order, relay, wgconf
from vpn.model.config import parse
from vpn.model.guest_compose import app_compose, init_script
from vpn.model.keys import KeyRing, PublicKey
from vpn.model.problems import ConfigError
from vpn.model.topology import Topology

DIGEST = "@sha256:" + "ab" * 32
APP = "c0ffee" * 6 + "abcd"
VM: dict[str, Any] = {
    "name": "vm",
    "kind": "dstack",
    "app": APP,
    "gateway": {"domain": "gateway.example.org"},
    "images": {name: f"registry.example.org/{name}{DIGEST}" for name in ("node", "relay", "keeper")},
    "keyProvider": {"name": "kms", "id": "3059"},
    "measurements": [dict.fromkeys(("mrtd", "rtmr0", "rtmr1", "rtmr2"), "11" * 48)],
    "collateral": "collateral.json",
}
HERE = {"name": "here", "inbound": "none"}
CONFIG: dict[str, Any] = {
    "hosts": [HERE, VM],
    "nodes": [{"name": "a", "host": "here"}, {"name": "b", "host": "here"}, {"name": "c", "host": "vm"}],
    "vpnRange": "100.64.0.0/24",
    "underlayRange": "100.65.0.0/16",
    "siteRange": "100.66.0.0/16",
}
KEY = PublicKey(bytes(32))
SIGNER = KEYS.signer()


def admitted(**more: Any) -> Topology:
    """The mesh with the node in it."""
    return replace(parse(CONFIG | more), attested={"c": KEY})


def with_vm(**more: Any) -> dict[str, Any]:
    return {"hosts": [HERE, VM | more]}


def compose(mesh: Topology) -> dict[str, Any]:
    return dict(json.loads(app_compose(mesh, mesh.node("c"), SIGNER).docker_compose_file))


def test_others_reach_it_through_its_gateway() -> None:
    mesh = admitted()
    (way,) = json.loads(relay.render(mesh, KEYS, mesh.node("a")))["outgoing"]
    name = f"{APP}-51820.gateway.example.org"
    assert (way["forward"], way["tls"]) == (f"{name}:443", {"name": name, "authorities": ""})


def test_the_gateway_may_be_elsewhere_than_its_names_say() -> None:
    vm = {"gateway": {"domain": "gateway.example.org", "endpoint": "10.1.2.3:8443"}}
    mesh = admitted(**with_vm(**vm))
    (way,) = json.loads(relay.render(mesh, KEYS, mesh.node("a")))["outgoing"]
    assert way["forward"] == "10.1.2.3:8443"


def test_it_reaches_others_over_udp_where_that_gets_in() -> None:
    public = {"name": "here", "address": "198.51.100.1"}
    mesh = admitted(hosts=[public, VM])
    assert mesh.link(mesh.node("a"), mesh.node("c")) is None
    assert mesh.endpoint(mesh.node("c"), mesh.node("a")) == "198.51.100.1:51820"
    assert mesh.endpoint(mesh.node("a"), mesh.node("c")) is None


def test_before_it_is_deployed_nobody_has_a_tunnel_with_it() -> None:
    mesh = replace(parse(CONFIG | with_vm(app=None)), outside=frozenset({"c"}))
    assert [peer.name for peer in mesh.peers_of(mesh.node("a"))] == ["b"]
    assert mesh.peers_of(mesh.node("c")) == ()
    assert outputs.guests(mesh, SIGNER, {})["c"]["admitted"] is False
    assert outputs.nodes(mesh, {"a": "", "b": ""})["c"]["publicKey"] is None


# --- what is measured


def test_what_it_runs_does_not_follow_from_the_others() -> None:
    fewer = admitted(nodes=[CONFIG["nodes"][0], {"name": "c", "host": "vm", "address": "100.64.0.3"}])
    ruled = admitted(rules=[{"from": ["a"], "to": ["c"]}])
    newer = admitted(keyGeneration=7)
    hashes = {app_compose(mesh, mesh.node("c"), SIGNER).compose_hash() for mesh in (admitted(), fewer, ruled, newer)}
    assert len(hashes) == 1


def test_another_signer_image_or_range_is_another_application() -> None:
    image = {"images": VM["images"] | {"node": "registry.example.org/node@sha256:" + "cd" * 32}}
    meshes = (admitted(), admitted(**with_vm(**image)), admitted(siteRange="100.67.0.0/16"))
    hashes = [app_compose(mesh, mesh.node("c"), SIGNER).compose_hash() for mesh in meshes]
    other = app_compose(meshes[0], meshes[0].node("c"), KeyRing(seed="z" * 43, mesh="wireguard").signer())
    assert len({*hashes, other.compose_hash()}) == 4


def test_no_secret_is_in_it() -> None:
    mesh = admitted()
    text = app_compose(mesh, mesh.node("c"), SIGNER).text()
    secrets = [KEYS.private_key(name, "1").base64() for name in "abc"]
    secrets += [KEYS.preshared_key("a", "c", "1").base64(), KEYS.meeting_key("a", "b", "c"), KEYS.seed]
    assert [secret for secret in secrets if secret in text] == []
    assert '"environment"' not in text


def test_its_containers_are_hardened_and_only_the_keeper_reaches_the_guest_agent() -> None:
    services = compose(admitted(workloads=[{"name": "db", "node": "c", "image": f"postgres{DIGEST}"}]))["services"]
    assert set(services) == {"keeper", "node", "relay", "db"}
    for name, service in services.items():
        assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)
        assert service["security_opt"] == ["no-new-privileges"]
        assert ("dstack.sock" in str(service.get("volumes"))) == (name == "keeper")
        assert ("cap_add" in service) == (name == "node")
    assert services["keeper"]["ports"] == ["51821:51821/tcp"]
    assert services["relay"]["ports"] == ["51820:51820/tcp"]
    assert "ports" not in services["node"]
    assert list(services["db"]["networks"]) == ["site"]


def test_addresses_of_its_containers_differ() -> None:
    mesh = admitted()
    services = compose(mesh)["services"]
    addresses = [network["ipv4_address"] for one in services.values() for network in one["networks"].values()]
    assert len(set(addresses)) == len(addresses)
    subnets = [network["ipam"]["config"][0]["subnet"] for network in compose(mesh)["networks"].values()]
    assert not IPv4Network(subnets[0]).overlaps(IPv4Network(subnets[1]))


def test_the_gateway_hands_on_to_relay_and_keeper_only() -> None:
    fields = json.loads(app_compose(admitted(), admitted().node("c"), SIGNER).text())
    ports = [{"port": 51820, "pp": False}, {"port": 51821, "pp": False}]
    assert fields["port_policy"] == {"ports": ports, "restrict_mode": True}
    assert (fields["gateway_enabled"], fields["public_logs"], fields["key_provider"]) == (True, False, "kms")


def test_the_init_script_is_shell_and_does_not_end_the_boot() -> None:
    script = init_script(admitted())
    subprocess.run(["sh", "-n", "-c", script], check=True)
    assert script.startswith("(\n")  # `exit` or `set` in there would be the guest's own, which sources it


# --- what it is told


def test_its_config_has_no_secret_of_ours() -> None:
    mesh = admitted()
    text = json.loads(order.signed(mesh, KEYS, mesh.node("c"), 1))["order"]
    assert "PrivateKey" not in text
    assert "PresharedKey" not in text
    assert json.loads(json.loads(text)["files"]["relay"]["settings.json"])["meetings"] == []


def test_with_the_others_all_stays_as_it_was() -> None:
    text = wgconf.render(admitted(), KEYS, admitted().node("a"))
    assert text.count("PresharedKey") == 1
    assert f"PublicKey = {KEY.base64()}" in text


def test_an_order_is_signed_by_this_mesh() -> None:
    mesh = admitted()
    signed = json.loads(order.signed(mesh, KEYS, mesh.node("c"), 5, 7))
    verifier = VerifyKey(bytes.fromhex(SIGNER))
    verifier.verify(order.LABEL + signed["order"].encode(), bytes.fromhex(signed["signature"]))
    with pytest.raises(BadSignatureError):
        verifier.verify(signed["order"].encode(), bytes.fromhex(signed["signature"]))
    fields = json.loads(signed["order"])
    assert (fields["network"], fields["node"], fields["epoch"]) == ("wireguard", "c", mesh.epoch(mesh.node("c")))
    assert (fields["serial"], fields["moment"]) == (5, 7)


def test_every_way_to_a_new_key_is_a_new_epoch() -> None:
    nodes = [*CONFIG["nodes"][:2], {"name": "c", "host": "vm", "keyGeneration": 1}]
    meshes = (admitted(), admitted(keyGeneration=2), admitted(nodes=nodes), admitted(keyGeneration=2, nodes=nodes))
    assert len({mesh.epoch(mesh.node("c")) for mesh in meshes}) == 4


# --- mistakes

WRONG = [
    ({"app": "abc"}, ["hosts[1].app"]),
    ({"gateway": None}, ["hosts[1].gateway", "hosts[1].gateway.domain"]),
    ({"gateway": {"domain": "a b"}}, ["hosts[1].gateway.domain"]),
    ({"gateway": {"domain": "example.org", "endpoint": "nowhere"}}, ["hosts[1].gateway.endpoint"]),
    ({"gateway": {"domain": "example.org", "authorities": "x"}}, ["hosts[1].gateway.authorities"]),
    ({"images": VM["images"] | {"node": "node:latest"}}, ["hosts[1].images.node"]),
    ({"images": {}}, [f"hosts[1].images.{name}" for name in ("node", "relay", "keeper")]),
    ({"keyProvider": {"name": "none", "id": ""}}, ["hosts[1].keyProvider.name"]),
    ({"keyProvider": {"name": "kms"}}, ["hosts[1].keyProvider.id"]),
    ({"measurements": []}, ["hosts[1].measurements"]),
    (
        {"measurements": [{"mrtd": "11"}]},
        [f"hosts[1].measurements[0].{one}" for one in ("mrtd", "rtmr0", "rtmr1", "rtmr2")],
    ),
    ({"osImages": ["x"]}, ["hosts[1].osImages[0]"]),
    ({"collateral": None}, ["hosts[1].collateral"]),
    ({"insecureRoot": 1}, ["hosts[1].insecureRoot"]),
    ({"docker": "unix:///x"}, ["hosts[1].docker"]),
    ({"inbound": "udp"}, ["hosts[1].inbound"]),
    ({"kind": "cloud"}, ["hosts[1].kind"]),
]


@pytest.mark.parametrize(("more", "paths"), WRONG)
def test_a_mistake_of_its_host_is_named(more: dict[str, Any], paths: list[str]) -> None:
    found = [path for path, _ in mistakes(CONFIG | with_vm(**more))]
    assert [path for path in paths if path not in found] == []


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"vpnRange": "10.0.0.0/25"}, "vpnRange"),
        ({"underlayRange": "172.20.0.0/16"}, "underlayRange"),
        ({"siteRange": "10.240.0.0/16"}, "siteRange"),
        ({"listenPort": 8089}, "listenPort"),
        ({"nodes": [*CONFIG["nodes"], {"name": "d", "host": "vm"}]}, "nodes[3].host"),
        ({"workloads": [{"name": "w", "node": "c", "image": "nginx:1.29"}]}, "workloads[0].image"),
        ({"workloads": [{"name": "w", "node": "c", "build": "docker/nginx"}]}, "workloads[0].image"),
        ({"relays": ["c"]}, "relays[0]"),
        ({"workloads": [{"name": "relay", "node": "c", "image": f"nginx{DIGEST}"}]}, "workloads[0].name"),
        (with_vm(app=None) | {"topology": "hub", "hub": "c"}, "hub"),
        (with_vm(app=None) | {"topology": "regions", "gateways": ["c"]}, "gateways[0]"),
        (
            {
                "hosts": [HERE, VM, VM | {"name": "vm2"}],
                "nodes": [*CONFIG["nodes"], {"name": "d", "host": "vm2"}],
            },
            "hosts",
        ),
        (
            {"nodes": [*CONFIG["nodes"][:2], {"name": "c", "host": "vm", "ingress": {"endpoint": "x.example:1"}}]},
            "nodes[2].ingress",
        ),
    ],
)
def test_what_does_not_go_with_a_vm_is_a_mistake(more: dict[str, Any], path: str) -> None:
    assert path in [found for found, _ in mistakes(CONFIG | more)]


def test_a_docker_host_has_nothing_of_a_vm() -> None:
    assert ("hosts[0].app", APP) in mistakes(CONFIG | {"hosts": [HERE | {"app": APP}, VM]})


def test_members_cannot_enter_a_vm() -> None:
    service = {"name": "page", "at": "w", "ports": ["tcp/80"]}
    web = {"name": "w", "node": "c", "image": f"nginx{DIGEST}"}
    access = {"enabled": True}
    assert ("access", "c") in mistakes(CONFIG | {"workloads": [web], "services": [service], "access": access})


def test_the_gate_knows_nothing_of_a_vm_that_is_not_let_in_yet() -> None:
    mesh = replace(parse(CONFIG | with_vm(app=None) | {"access": {"enabled": True}}), outside=frozenset({"c"}))
    assert mesh.access
    assert set(json.loads(gate.render(mesh, KEYS, mesh.access))["nodes"]) == {"a", "b"}


def test_compose_takes_a_command_as_it_is_written() -> None:
    shell = {"name": "w", "node": "c", "image": f"nginx{DIGEST}", "command": ["sh", "-c", "echo $HOME"]}
    command = compose(admitted(workloads=[shell]))["services"]["w"]["command"]
    assert command == ["sh", "-c", "echo $$HOME"]  # Compose replaces variables (Compose specification, interpolation)


def test_a_database_stands_on_engines_only() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(CONFIG | {"postgres": {"nodes": ["a", "b", "c"]}})
    assert [problem.path for problem in caught.value.problems] == ["postgres.nodes[2]"]
    nodes = [*CONFIG["nodes"], {"name": "d", "host": "here"}]
    cluster = parse(CONFIG | {"nodes": nodes, "postgres": {"nodes": ["a", "b", "d"]}}).postgres
    assert cluster
    assert cluster.clients == ("a", "b", "d")
