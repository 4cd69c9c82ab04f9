"""The whole program: what it registers, and what of it stays when the configuration changes."""

from typing import Any

import pulumi
import pytest

from tests.components.harness import Engine, Resource, Unknown, plain
from tests.model.stack_files import DEV, PROJECT
from vpn.components.image import context_hash

MESH, HOST, NODE, CARRIER, WORKLOAD, ACCESS = (
    f"dstack-vpn:index:{name}"
    for name in ("VpnMesh", "DockerHost", "WireGuardNode", "ConfigCarrier", "WorkloadContainer", "AccessControl")
)
CONTAINER, NETWORK, VOLUME, IMAGE = (
    f"docker:index/{name[0].lower()}{name[1:]}:{name}" for name in ("Container", "Network", "Volume", "RemoteImage")
)

DEV_STACK = [
    # type, name, parent
    (NETWORK, "local_underlay", "local"),
    (NETWORK, "node-a", "node-a"),
    (NETWORK, "node-b", "node-b"),
    (NETWORK, "local_access", "local_access"),
    (VOLUME, "local_members", "local"),
    (VOLUME, "local_gate", "local_access"),
    (VOLUME, "chain", "local_access"),
    (VOLUME, "node-a", "node-a"),
    (VOLUME, "node-b", "node-b"),
    (IMAGE, "nginx-server", "local"),
    (IMAGE, "test-client", "local"),
    (IMAGE, "local_node_image", "local"),
    (IMAGE, "local_gate_image", "local_access"),
    (IMAGE, "chain_image", "local_access"),
    (CONTAINER, "local_gate", "local_access"),
    (CONTAINER, "chain", "local_access"),
    (CONTAINER, "local_config", "local_config"),
    (CONTAINER, "nginx-server", "nginx-server"),
    (CONTAINER, "node-a", "node-a"),
    (CONTAINER, "node-b", "node-b"),
    (CONTAINER, "test-client", "test-client"),
    (CARRIER, "local_config", "local"),
    (ACCESS, "local_access", "local"),
    (MESH, "mesh", "dstack-vpn-dev"),
    (HOST, "local", "mesh"),
    (NODE, "node-a", "local"),
    (NODE, "node-b", "local"),
    (WORKLOAD, "nginx-server", "local"),
    (WORKLOAD, "test-client", "local"),
    ("random:index/randomPassword:RandomPassword", "seed", "mesh"),
    ("pulumi:pulumi:Stack", "dstack-vpn-dev", ""),
]

CONTAINERS = [
    {"name": name, "kind": kind, "host": "local", "container": container}
    for name, kind, container in (
        ("node-a", "node", "wireguard-node-a"),
        ("node-b", "node", "wireguard-node-b"),
        ("config", "config", "wireguard-config"),
        ("gate", "gate", "wireguard-gate"),
        ("chain", "chain", "wireguard-chain"),
        ("nginx-server", "workload", "nginx-server"),
        ("test-client", "workload", "test-client"),
    )
]

OUTPUTS: dict[str, Any] = {
    "nodes": {
        "node-a": {
            "container": "wireguard-node-a",
            "host": "local",
            "published": None,
            "pings": ["node-b"],
            "address": "10.0.0.1",
            "endpoint": "172.20.0.2:51820",
            "hostPort": 51820,
            "proxyPort": None,
            "relay": None,
            "site": "10.64.1.0/24",
            "peers": ["node-b"],
            "members": True,
            "publicKey": "BLWV2dMEZgI15/DBn3kBEiUskykrMt2Y1SeBJZcoQxQ=",
        },
        "node-b": {
            "container": "wireguard-node-b",
            "host": "local",
            "published": None,
            "pings": ["node-a"],
            "address": "10.0.0.2",
            "endpoint": "172.20.0.3:51820",
            "hostPort": 51821,
            "proxyPort": None,
            "relay": None,
            "site": "10.64.2.0/24",
            "peers": ["node-a"],
            "members": False,
            "publicKey": "QAhfL+4eEJb8s2wnYO/xldKDjdxqV9XsoBcmvp6Q5Q0=",
        },
    },
    "hosts": {
        "local": {
            "kind": "docker",
            "docker": None,
            "certificates": None,
            "address": None,
            "region": "",
            "inbound": "udp",
        }
    },
    "guests": {},
    "links": {
        "tunnels": 1,
        "transports": {"udp": 1},
        "keepalive": 25,
        "keepalives": {},
        "mostOfANode": 1,
        "between": {},
    },
    "containers": CONTAINERS,
    "mesh": "f575daf808e0a0e2",
    "workloads": {
        "nginx-server": {"node": "node-a", "address": "10.64.1.3"},
        "test-client": {"node": "node-b", "address": "10.64.2.3"},
    },
    "tests": [],
    "access": {
        "memberRange": "10.65.0.0/24",
        "mtu": 1420,
        "domain": "vpn.dstack",
        "contract": "0x5fbdb2315678afecb367f032d93f642f64180aa3",
        "rpcUrl": "http://127.0.0.1:8545",
    },
}
REAL_CHAIN = {"enabled": True, "rpcUrl": "https://rpc.example/v3/key", "contractAddress": "0x" + "12" * 20}

HOST_NAME_MAX = 64  # sethostname(2) on Linux; Docker says "invalid argument" when the container starts

A, B, C = ({"name": f"node-{letter}"} for letter in "abc")
WEB = {"name": "web", "node": "node-b", "image": "nginx:1.29"}


def by_urn(engine: Engine) -> dict[str, Resource]:
    return {resource.urn: resource for resource in engine.registered}


def containers(engine: Engine) -> dict[str, Resource]:
    """All containers but the carrier, which is what changes."""
    return {one.name: one for one in engine.all("Container") if one.name != "local_config"}


@pytest.fixture(scope="module")
def dev() -> Engine:
    return Engine().up(DEV)


# --- what it registers


def test_the_resources_of_the_dev_stack(dev: Engine) -> None:
    assert sorted((one.type, one.name, one.parent) for one in dev.registered) == sorted(DEV_STACK)


def test_the_outputs_of_the_dev_stack_are_public(dev: Engine) -> None:
    assert dev.outputs["Stack"] == OUTPUTS


@pytest.mark.parametrize("more", [{}, {"proxyPort": 8443}, {"access": REAL_CHAIN}, {"access": {"enabled": False}}])
def test_every_container_is_named_in_the_outputs(more: dict[str, Any]) -> None:
    engine = Engine().up(DEV | more)
    named = sorted(one["container"] for one in engine.outputs["Stack"]["containers"])
    assert named == sorted(one.inputs["name"] for one in engine.all("Container"))


def test_every_component_says_that_it_is_complete(dev: Engine) -> None:
    components = {"VpnMesh", "DockerHost", "WireGuardNode", "ConfigCarrier", "WorkloadContainer", "AccessControl"}
    assert set(dev.outputs) == {"Stack"} | components


def test_a_second_run_registers_the_same(dev: Engine) -> None:
    assert by_urn(Engine(previous=dev.outputs["Stack"]).up(DEV)) == by_urn(dev)


def test_a_preview_registers_the_same_resources_so_none_depends_on_an_output(dev: Engine) -> None:
    preview = Engine(preview=True).up(DEV)
    assert sorted(by_urn(preview)) == sorted(by_urn(dev))
    assert isinstance(preview.find("Container", "node-a").inputs["image"], Unknown)


def test_a_workload_may_come_from_a_registry() -> None:
    engine = Engine().up(DEV | {"services": [], "workloads": [WEB | {"command": ["nginx", "-g", "daemon off;"]}]})
    assert engine.find("RemoteImage", "web").inputs == {"name": "nginx:1.29", "keepLocally": True}
    assert engine.find("Container", "web").inputs["command"] == ["nginx", "-g", "daemon off;"]


def test_no_host_port_publishes_nothing() -> None:
    engine = Engine().up(DEV | {"hostPort": 0})
    assert [one.inputs["ports"] for one in (engine.find("Container", node) for node in ("node-a", "node-b"))] == [
        [],
        [],
    ]
    assert engine.outputs["Stack"]["nodes"]["node-a"]["hostPort"] is None


@pytest.mark.parametrize(
    ("name", "repository", "folder"),
    [
        ("local_node_image", "wireguard/node", "docker/wireguard"),
        ("nginx-server", "wireguard/nginx-server", "docker/nginx"),
        ("test-client", "wireguard/test-client", "docker/test-client"),
    ],
)
def test_an_image_is_built_anew_only_when_its_context_changes(
    dev: Engine, name: str, repository: str, folder: str
) -> None:
    image, fingerprint = dev.find("RemoteImage", name), context_hash(PROJECT / folder)
    assert image.inputs == {
        "name": f"{repository}:{fingerprint[:12]}",
        "build": {"context": str(PROJECT / folder), "useLegacyBuilder": True},
        "triggers": {"context": fingerprint},
    }
    assert image.options.ignore_changes == ("build",)


# --- what stays


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": [A, B, C]},
        {"nodes": [C, A, B]},
        {"nodes": [A, C | {"address": "10.0.0.77"}, B]},
        {"workloads": [*DEV["workloads"], WEB]},
        {"workloads": [WEB, *DEV["workloads"]]},
        {"nodes": [C, B, A], "workloads": [WEB, *DEV["workloads"]]},
    ],
)
def test_who_comes_changes_no_other_container(dev: Engine, change: dict[str, Any]) -> None:
    after = containers(Engine(previous=dev.outputs["Stack"]).up(DEV | change))
    assert {name: after[name] for name in containers(dev)} == containers(dev)
    assert set(after) - set(containers(dev)) <= {"node-c", "web"}
    assert len(after) > len(containers(dev))


@pytest.mark.parametrize("change", [{"keyGeneration": 2}, {"keepalive": 0}, {"mtu": 1280}])
def test_what_is_only_in_the_files_of_the_nodes_changes_only_the_carrier(dev: Engine, change: dict[str, Any]) -> None:
    after = by_urn(Engine(previous=dev.outputs["Stack"]).up(DEV | change))
    assert [one.name for urn, one in after.items() if one != by_urn(dev)[urn]] == ["local_config"]


def test_an_earlier_node_that_leaves_moves_no_other() -> None:
    config = DEV | {"services": [], "nodes": [A, B, C], "workloads": [WEB]}
    before = Engine().up(config)
    after = Engine(previous=before.outputs["Stack"]).up(config | {"nodes": [B, C]})
    kept = {name: node for name, node in before.outputs["Stack"]["nodes"].items() if name != "node-a"}
    fewer = {
        name: node | {key: [one for one in node[key] if one != "node-a"] for key in ("peers", "pings")}
        for name, node in kept.items()
    }
    assert after.outputs["Stack"]["nodes"] == fewer
    assert containers(after) == {name: one for name, one in containers(before).items() if name != "node-a"}


def test_an_earlier_workload_that_leaves_moves_no_other() -> None:
    config = DEV | {"services": [], "workloads": [WEB | {"name": "first"}, WEB | {"name": "second"}]}
    before = Engine().up(config)
    after = Engine(previous=before.outputs["Stack"]).up(config | {"workloads": config["workloads"][1:]})
    assert after.find("Container", "second") == before.find("Container", "second")


def test_a_replaced_node_is_delivered_to_anew(dev: Engine) -> None:
    before = dev.find("Container", "local_config")
    after = Engine().up(DEV | {"hostPort": 60000}).find("Container", "local_config")
    assert set(after.options.replacement_trigger) == {"node-a", "node-b", "gate"}
    stayed = set(after.options.replacement_trigger.items()) & set(before.options.replacement_trigger.items())
    assert {name for name, _ in stayed} == {"gate"}
    assert after.inputs == before.inputs


def test_an_up_waits_until_every_node_and_the_gate_has_applied_its_config(dev: Engine) -> None:
    again = Engine(previous=dev.outputs["Stack"]).up(DEV)
    assert [readers for _, readers in dev.awaited] == [3]
    assert again.awaited == dev.awaited, "also one that changes nothing"
    assert dev.outputs["VpnMesh"]["applied"] is True


# --- access


def without_access(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "access"}


def test_a_real_chain_needs_none_of_ours(dev: Engine) -> None:
    real = Engine().up(DEV | {"access": REAL_CHAIN})
    assert set(by_urn(dev)) - set(by_urn(real)) == {
        one.urn for one in dev.registered if one.name in ("chain", "chain_image")
    }
    assert real.find("Container", "local_gate").inputs == dev.find("Container", "local_gate").inputs
    assert real.outputs["Stack"]["access"] == OUTPUTS["access"] | {
        "contract": REAL_CHAIN["contractAddress"],
        "rpcUrl": None,
    }


def test_the_endpoint_of_a_real_chain_is_a_secret() -> None:
    real = Engine().up(DEV | {"access": REAL_CHAIN})
    told = [text for one in real.registered for text in plain(one.inputs)] + list(plain(real.outputs))
    assert [text for text in told if "rpc.example" in text] == []


def test_turning_access_on_or_off_replaces_no_node_and_no_workload(dev: Engine) -> None:
    closed = Engine(previous=dev.outputs["Stack"]).up(without_access(DEV))
    assert closed.outputs["Stack"].get("access") is None
    assert containers(closed) == {
        name: one for name, one in containers(dev).items() if name not in ("local_gate", "chain")
    }


def test_another_rule_with_the_same_ranges_changes_only_the_carrier(dev: Engine) -> None:
    after = by_urn(
        Engine(previous=dev.outputs["Stack"]).up(
            DEV | {"access": {"enabled": True, "tickSeconds": 3, "leaseSeconds": 60}}
        )
    )
    assert [one.name for urn, one in after.items() if one != by_urn(dev)[urn]] == ["local_config"]


# --- transport

OVER_TCP = {"links": [{"between": ["node-a", "node-b"], "transport": "tcp"}]}
PROXIES = ["mullvad-proxy-node-a", "mullvad-proxy-node-b"]


def test_a_link_over_tcp_adds_a_relay_at_both_ends_and_replaces_no_node(dev: Engine) -> None:
    tcp = Engine(previous=dev.outputs["Stack"]).up(DEV | OVER_TCP)
    added = {one.name for urn, one in by_urn(tcp).items() if urn not in by_urn(dev)}
    assert added == {*PROXIES, "local_mullvad-proxy_image"}
    assert [one.name for urn, one in by_urn(dev).items() if one != by_urn(tcp)[urn]] == ["local_config"]
    assert set(tcp.find("Container", "local_config").options.replacement_trigger) == {
        "node-a",
        "node-b",
        "gate",
        *PROXIES,
    }
    assert [readers for _, readers in tcp.awaited] == [5]


def test_a_relay_has_no_capability_and_publishes_nothing() -> None:
    inputs = Engine().up(DEV | OVER_TCP).find("Container", PROXIES[0]).inputs
    assert (inputs["capabilities"], inputs["ports"]) == ({"adds": [], "drops": ["ALL"]}, [])
    assert inputs["networksAdvanced"] == [{"name": "wireguard-network", "ipv4Address": "172.20.128.1"}]
    assert (inputs["name"], inputs["memory"], inputs["readOnly"]) == ("wireguard-mullvad-proxy-node-a", 128, True)
    assert "devices" not in inputs


def test_a_relay_for_devices_elsewhere_is_published() -> None:
    engine = Engine().up(DEV | {"proxyPort": 8443})
    tcp = {"internal": 51820, "external": 8444, "protocol": "tcp", "ip": "0.0.0.0"}
    udp = {"internal": 1024, "external": 8444, "protocol": "udp", "ip": "0.0.0.0"}
    assert engine.find("Container", PROXIES[1]).inputs["ports"] == [tcp, udp]
    assert engine.outputs["Stack"]["nodes"]["node-b"]["proxyPort"] == 8444


# --- what is wrong


def test_a_mistake_touches_nothing_and_every_mistake_is_told() -> None:
    engine = Engine()
    with pytest.raises(pulumi.RunError) as caught:
        engine.up(DEV | {"mtu": 9000, "vpnRange": "10.64.0.0/24", "nodez": []})
    assert [one.type for one in engine.registered] == ["pulumi:pulumi:Stack"]
    lines = str(caught.value).splitlines()
    assert lines[0] == "the configuration has 3 mistakes; nothing was touched"
    assert [line.strip().split(":")[0] for line in lines[1::2]] == ["nodez", "mtu", "siteRange"]


def test_a_folder_without_a_dockerfile_is_in_the_same_report() -> None:
    workloads = [{"name": "own", "node": "node-a", "build": "docker/missing"}]
    with pytest.raises(pulumi.RunError) as caught:
        Engine().up(DEV | {"mtu": 9000, "workloads": workloads})
    assert "mtu: 9000" in str(caught.value)
    assert "workloads[0].build: 'docker/missing' is no folder with a Dockerfile" in str(caught.value)


def test_the_dev_stack_without_nodes_is_a_mistake() -> None:
    with pytest.raises(pulumi.RunError, match="nodes: None names no node"):
        Engine().up({key: value for key, value in DEV.items() if key not in ("nodes", "workloads")})


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": [A, B, {"name": "config"}]},
        {"nodes": [A, B, {"name": "underlay"}]},
        {"nodes": [A, B, {"name": "members"}, {"name": "access"}, {"name": "mesh"}]},
        {"nodes": [A, B, {"name": "gate"}]},
        {"nodes": [A, B, {"name": "chain"}]},
        {"workloads": [WEB | {"name": "wireguard-node-a"}]},
        {"workloads": [WEB | {"name": "wireguard-config"}]},
    ],
)
def test_a_name_that_the_mesh_uses_itself_is_refused_or_leads_to_no_clash(change: dict[str, Any]) -> None:
    engine = Engine()
    try:
        engine.up(DEV | change)
    except pulumi.RunError:
        return
    names = [one.inputs["name"] for one in engine.all("Container")]
    assert sorted(set(names)) == sorted(names)
    assert len(by_urn(engine)) == len(engine.registered)
    assert sorted(set(engine.hooks)) == sorted(engine.hooks)


@pytest.mark.parametrize("name", ["b" * 54, "b" * 55, "b" * 63])
def test_a_name_is_refused_or_fits_the_hostname_of_its_container(name: str) -> None:
    engine = Engine()
    try:
        engine.up(DEV | {"nodes": [A, B, {"name": name}]})
    except pulumi.RunError:
        return
    assert len(engine.find("Container", name).inputs["hostname"]) <= HOST_NAME_MAX


@pytest.mark.parametrize("name", ["123", "true"])
def test_a_text_that_looks_like_json_is_still_a_text(name: str) -> None:
    assert Engine().up(DEV | {"name": name}).find("Network", "local_underlay").inputs["name"] == f"{name}-network"


@pytest.mark.parametrize("previous", [{}, {"nodes": None}, {"nodes": {}, "other": 1}])
def test_outputs_that_know_no_address_change_nothing(dev: Engine, previous: dict[str, Any]) -> None:
    assert by_urn(Engine(previous=previous).up(DEV)) == by_urn(dev)
