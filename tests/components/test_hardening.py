"""Every container has the least privilege, and every change of it makes a new one."""

from typing import Any

import pytest

from tests.components.harness import Engine, Options, Secret
from tests.model.stack_files import DEV

TMPFS = "rw,nosuid,nodev,noexec,size=16m,mode=1777"
LABELS = [{"label": "dstack-vpn.mesh", "value": "f575daf808e0a0e2"}]
COMMON = {
    "capabilities": {"adds": [], "drops": ["ALL"]},
    "destroyGraceSeconds": 5,
    "labels": LABELS,
    "logDriver": "json-file",
    "logOpts": {"max-size": "1m", "max-file": "2"},
    "readOnly": True,
    "restart": "unless-stopped",
    "securityOpts": ["no-new-privileges"],
}
NODE_A = COMMON | {
    "name": "wireguard-node-a",
    "hostname": "node-a",
    "image": "sha256:local_node_image",
    "capabilities": {
        "adds": ["CAP_NET_ADMIN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"],
        "drops": ["ALL"],
    },
    "devices": [{"hostPath": "/dev/net/tun", "containerPath": "/dev/net/tun", "permissions": "rwm"}],
    "healthcheck": {"tests": ["CMD", "health"], "interval": "30s", "timeout": "5s", "retries": 2},
    "memory": 256,
    "memorySwap": 256,
    "networksAdvanced": [
        {"name": "wireguard-network", "ipv4Address": "172.20.0.2"},
        {"name": "wireguard-site-node-a", "ipv4Address": "10.64.1.2"},
    ],
    "ports": [{"internal": 51820, "external": 51820, "protocol": "udp", "ip": "0.0.0.0"}],
    "sysctls": {"net.ipv4.ip_forward": "1", "net.ipv4.ping_group_range": "0 2147483647"},
    "tmpfs": {"/run": TMPFS},
    "volumes": [
        {"volumeName": "wireguard-node-a-config", "containerPath": "/etc/wireguard"},
        {"volumeName": "wireguard-members", "containerPath": "/members", "readOnly": True},
    ],
}
GATE = COMMON | {
    "name": "wireguard-gate",
    "logOpts": {"max-size": "10m", "max-file": "5"},
    "image": "sha256:local_gate_image",
    "healthcheck": {"tests": ["CMD", "health"], "interval": "30s", "timeout": "10s", "retries": 2},
    "memory": 64,
    "memorySwap": 64,
    "networksAdvanced": [{"name": "wireguard-access", "ipv4Address": "10.66.0.3"}],
    "tmpfs": {"/run": TMPFS},
    "volumes": [
        {"volumeName": "wireguard-gate", "containerPath": "/etc/access-gate"},
        {"volumeName": "wireguard-members", "containerPath": "/members"},
    ],
}
CHAIN = COMMON | {
    "name": "wireguard-chain",
    "image": "sha256:chain_image",
    "command": ["chain", "254"],
    "healthcheck": {"tests": ["CMD", "chain", "health"], "interval": "30s", "timeout": "10s", "retries": 2},
    "memory": 512,
    "memorySwap": 512,
    "networksAdvanced": [{"name": "wireguard-access", "ipv4Address": "10.66.0.2"}],
    "ports": [{"internal": 8545, "external": 8545, "ip": "127.0.0.1"}],
    "tmpfs": {"/tmp": TMPFS},
    "volumes": [{"volumeName": "wireguard-chain", "containerPath": "/data"}],
}
MEMBERS = {
    "name": "wireguard-members",
    "labels": LABELS,
    "driverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=4m,mode=0700"},
}
NGINX_SERVER = COMMON | {
    "name": "nginx-server",
    "hostname": "nginx-server",
    "image": "sha256:nginx-server",
    "dns": ["10.64.1.1"],
    "dnsSearches": ["vpn.dstack"],
    "memory": 256,
    "memorySwap": 256,
    "networksAdvanced": [{"name": "wireguard-site-node-a", "ipv4Address": "10.64.1.3"}],
    "tmpfs": {"/tmp": TMPFS, "/run": TMPFS},
}
CARRIER = COMMON | {
    "name": "wireguard-config",
    "image": "sha256:local_node_image",
    "command": ["carrier", "carry", "15000"],
    "healthcheck": {"tests": ["CMD", "carrier", "health"], "interval": "30s", "timeout": "10s", "retries": 2},
    "memory": 32,
    "memorySwap": 32,
    "networkMode": "none",
    "readOnly": False,
    "tmpfs": {},
    "volumes": [
        {"volumeName": "wireguard-node-a-config", "containerPath": "/config/node-a"},
        {"volumeName": "wireguard-node-b-config", "containerPath": "/config/node-b"},
        {"volumeName": "wireguard-gate", "containerPath": "/config/gate"},
    ],
}
UNDERLAY = {
    "name": "wireguard-network",
    "labels": LABELS,
    "driver": "bridge",
    "ipamConfigs": [{"subnet": "172.20.0.0/16", "gateway": "172.20.0.1"}],
}
SITE_OF_NODE_A = {
    "name": "wireguard-site-node-a",
    "labels": LABELS,
    "driver": "bridge",
    "ipamConfigs": [{"subnet": "10.64.1.0/24", "gateway": "10.64.1.1"}],
    "options": {
        "com.docker.network.bridge.inhibit_ipv4": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "false",
    },
}
CONTAINERS = ["chain", "local_config", "local_gate", "nginx-server", "node-a", "node-b", "test-client"]


@pytest.fixture(scope="module")
def dev() -> Engine:
    return Engine().up(DEV)


@pytest.mark.parametrize(
    ("type_", "name", "expected"),
    [
        ("Container", "node-a", NODE_A),
        ("Container", "nginx-server", NGINX_SERVER),
        ("Container", "local_gate", GATE),
        ("Container", "chain", CHAIN),
        ("Network", "local_underlay", UNDERLAY),
        ("Network", "node-a", SITE_OF_NODE_A),
        ("Volume", "local_members", MEMBERS),
        ("Volume", "node-a", {"name": "wireguard-node-a-config", "labels": LABELS}),
    ],
)
def test_inputs(dev: Engine, type_: str, name: str, expected: dict[str, Any]) -> None:
    assert dev.find(type_, name).inputs == expected


def test_the_inputs_of_the_carrier(dev: Engine) -> None:
    inputs = dict(dev.find("Container", "local_config").inputs)
    (upload,) = inputs.pop("uploads")
    assert inputs == CARRIER
    assert isinstance(upload.pop("contentBase64"), Secret)
    assert upload == {"file": "/bundle.tar.gz", "permissions": "0600"}


def test_these_are_all_containers(dev: Engine) -> None:
    assert [one.name for one in dev.all("Container")] == CONTAINERS


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_is_bounded_and_has_no_privilege(dev: Engine, name: str) -> None:
    inputs = dev.find("Container", name).inputs
    fixed = {key: value for key, value in COMMON.items() if key not in ("capabilities", "readOnly", "logOpts")}
    assert {key: inputs[key] for key in fixed} == fixed
    assert set(inputs["logOpts"]) == {"max-size", "max-file"}
    assert inputs["capabilities"]["drops"] == ["ALL"]
    assert inputs["memory"] == inputs["memorySwap"] > 0
    assert inputs["readOnly"] == (name != "local_config")
    assert not {"privileged", "pidMode", "ipcMode", "usernsMode", "envs"} & set(inputs)


@pytest.mark.parametrize("name", [name for name in CONTAINERS if not name.startswith("node-")])
def test_only_nodes_have_capabilities_and_devices(dev: Engine, name: str) -> None:
    inputs = dev.find("Container", name).inputs
    assert inputs["capabilities"]["adds"] == []
    assert "devices" not in inputs
    assert "sysctls" not in inputs


@pytest.mark.parametrize("name", [name for name in CONTAINERS if name != "local_config"])
def test_any_change_of_a_container_makes_a_new_one(dev: Engine, name: str) -> None:
    parents = {
        "node-a": "WireGuardNode",
        "node-b": "WireGuardNode",
        "local_gate": "AccessControl",
        "chain": "AccessControl",
    }
    parent = parents.get(name, "WorkloadContainer")
    hook = f"remove-leftover-{parent}-{name}-container"
    expected = Options(replace_on_changes=("*",), delete_before_replace=True, before_create=(hook,))
    assert dev.find("Container", name).options == expected


def test_any_change_of_the_carrier_makes_a_new_one(dev: Engine) -> None:
    options = dev.find("Container", "local_config").options
    assert (options.replace_on_changes, options.delete_before_replace) == (("*",), True)


@pytest.mark.parametrize("name", ["local_underlay", "node-a", "node-b", "local_access"])
def test_a_network_makes_room_for_the_one_that_replaces_it(dev: Engine, name: str) -> None:
    assert dev.find("Network", name).options.delete_before_replace


def test_nothing_outlives_the_stack(dev: Engine) -> None:
    assert [one.urn for one in dev.registered if one.options.protect or one.options.retain_on_delete] == []
