"""What a confidential VM of DStack runs for its node: the containers, and the packet filter before them.

All of it is measured and public. So it follows from what hardly ever changes, and holds no secret: peers and rules
come later, signed, and the node's key is made in the VM.
"""

import json
from typing import Any

from vpn.model.app_compose import AppCompose
from vpn.model.guest import AGENT_PORT, Guest
from vpn.model.privileges import (
    LOGS,
    NODE_CAPABILITIES,
    NODE_MEMORY,
    NODE_SYSCTLS,
    RELAY_MEMORY,
    SITE_OPTIONS,
    TMPFS,
    TUN,
    WORKLOAD_MEMORY,
)
from vpn.model.topology import Node, Topology, Workload

SERVICES = ("keeper", "node", "relay")
KEEPER_MEMORY = 96  # MiB
AGENT_SOCKET = "/var/run/dstack.sock"
UNDERLAY_BRIDGE, SITE_BRIDGE = "vpn-underlay", "vpn-site"  # names of interfaces, for the packet filter
Document = dict[str, Any]


def app_compose(topology: Topology, node: Node, signer: str) -> AppCompose:
    """The application of a node. `signer`: the public key, in hexadecimal, of who gives it orders."""
    guest = _guest(node)
    return AppCompose(
        name=f"{topology.name}-{node.name}",
        docker_compose_file=docker_compose(topology, node, signer),
        init_script=init_script(topology),
        key_provider=guest.key_provider,  # type: ignore[arg-type] # the reader has checked it
        key_provider_id=guest.key_provider_id,
        gateway_enabled=True,
        ports=_ports(topology),
    )


def docker_compose(topology: Topology, node: Node, signer: str) -> str:
    """The docker-compose.yaml of a node, written as JSON, which is YAML: equal input has equal bytes for ever."""
    own = (_keeper(topology, node, signer), _node(node), _relay(topology, node))
    services = dict(zip(SERVICES, own, strict=True))
    services |= {workload.name: _workload(topology, node, workload) for workload in topology.workloads_of(node)}
    document = {"services": services, "networks": _networks(topology, node), "volumes": _volumes()}
    return json.dumps(document, indent=2) + "\n"


def init_script(topology: Topology) -> str:
    """Shell text that lets in, from outside, what the node's gateway hands on, and nothing else.

    DStack runs it as root before Docker starts. It stands before Docker's own rules, which publish ports. Numbers stand
    for what an image without /etc/protocols cannot name: ICMP and ICMPv6, both ways of DHCP, WireGuard of the gateways.
    """
    ports = ", ".join(map(str, sorted((*_ports(topology), AGENT_PORT))))
    return f"""\
(
set -eu
modprobe tun 2>/dev/null || true
nft -f - <<'RULES'
table inet dstack_vpn_guest
delete table inet dstack_vpn_guest
table inet dstack_vpn_guest {{
    chain from_outside {{
        type filter hook prerouting priority -150; policy accept;
        iifname {{ "lo", "docker0", "{UNDERLAY_BRIDGE}", "{SITE_BRIDGE}" }} accept
        ct state established,related accept
        meta l4proto {{ 1, 58 }} accept
        udp dport {{ 68, 546 }} accept
        udp dport 9182-9199 accept
        tcp dport {{ {ports} }} accept
        drop
    }}
}}
RULES
)
"""


def _guest(node: Node) -> Guest:
    if node.host.guest is None:
        raise ValueError(f"{node.name} is not in a confidential VM")
    return node.host.guest


def _ports(topology: Topology) -> tuple[int, ...]:
    return topology.listen_port, topology.keeper_port


# --- containers, as the components declare them on a Docker host


def _hardened(image: str, memory: int, **more: Any) -> Document:
    return {
        "image": image,
        "restart": "unless-stopped",
        "read_only": True,
        "tmpfs": [f"/run:{TMPFS}"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": f"{memory}m",
        "memswap_limit": f"{memory}m",
        "logging": {"driver": "json-file", "options": LOGS},
        **more,
    }


def _keeper(topology: Topology, node: Node, signer: str) -> Document:
    return _hardened(
        _guest(node).images.keeper,
        KEEPER_MEMORY,
        # Not with Docker itself, which starts before the guest agent, and would make a folder of a socket that is not
        # there yet: the guest starts it afterwards (docker-run(1), --restart).
        restart="on-failure",
        command=["serve", "--network", topology.name, "--node", node.name, "--signer", signer],
        networks={"underlay": {"ipv4_address": str(topology.keeper_address)}},
        ports=[f"{topology.keeper_port}:51821/tcp"],
        volumes=[
            "node-config:/config/node",
            "relay-config:/config/relay",
            "keeper:/state",
            f"{AGENT_SOCKET}:{AGENT_SOCKET}",
        ],
        healthcheck=_healthcheck("health"),
    )


def _node(node: Node) -> Document:
    return _hardened(
        _guest(node).images.node,
        NODE_MEMORY,
        hostname=node.name,
        cap_add=list(NODE_CAPABILITIES),
        sysctls=NODE_SYSCTLS,
        devices=[f"{TUN}:{TUN}:rwm"],
        networks={
            "underlay": {"ipv4_address": str(node.underlay)},
            "site": {"ipv4_address": str(node.site_address)},
        },
        volumes=["node-config:/etc/wireguard"],
        healthcheck=_healthcheck("health"),
    )


def _relay(topology: Topology, node: Node) -> Document:
    return _hardened(
        _guest(node).images.relay,
        RELAY_MEMORY,
        networks={"underlay": {"ipv4_address": str(topology.proxy_address(node))}},
        ports=[f"{topology.listen_port}:{topology.listen_port}/tcp"],
        volumes=["relay-config:/etc/udp-over-tcp"],
        healthcheck=_healthcheck("health"),
    )


def _workload(topology: Topology, node: Node, workload: Workload) -> Document:
    return _hardened(
        str(workload.image),
        WORKLOAD_MEMORY,
        hostname=workload.name,
        tmpfs=[f"/tmp:{TMPFS}", f"/run:{TMPFS}"],  # noqa: S108 (in the container)
        networks={"site": {"ipv4_address": str(workload.address)}},
        dns=[str(node.gateway)],
        dns_search=[topology.domain],
        **({"command": [word.replace("$", "$$") for word in workload.command]} if workload.command else {}),
    )


def _healthcheck(*command: str) -> Document:
    return {"test": ["CMD", *command], "interval": "30s", "timeout": "10s", "retries": 2}


# --- networks and volumes


def _networks(topology: Topology, node: Node) -> Document:
    """Docker publishes a container's ports by the network whose name sorts first, so the site's comes last."""
    underlay = _bridge(UNDERLAY_BRIDGE, str(topology.underlay_range), str(topology.underlay_gateway))
    site = _bridge(SITE_BRIDGE, str(node.site), str(node.gateway), SITE_OPTIONS)
    return {
        "underlay": {"name": f"{topology.name}-network", **underlay},
        "site": {"name": f"{topology.name}-site-{node.name}", **site},
    }


def _bridge(interface: str, subnet: str, gateway: str, options: dict[str, str] | None = None) -> Document:
    return {
        "driver": "bridge",
        "driver_opts": {"com.docker.network.bridge.name": interface, **(options or {})},
        "ipam": {"config": [{"subnet": subnet, "gateway": gateway}]},
    }


def _volumes() -> Document:
    return {name: {} for name in ("node-config", "relay-config", "keeper")}
