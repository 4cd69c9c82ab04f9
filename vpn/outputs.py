"""What the stack tells its users, and itself at the next `up`: plain views on the topology."""

from collections.abc import Mapping
from typing import Any

from vpn.model.policy import MEMBERS
from vpn.model.topology import Topology


def nodes(topology: Topology, public_keys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every node by name: where it is and its public key."""
    return {
        node.name: {
            "container": topology.container(node.name),
            "address": str(node.address),
            "endpoint": f"{node.underlay}:{topology.listen_port}",
            "hostPort": node.host_port,
            "proxyPort": topology.proxy_host_port(node),
            "site": str(node.site),
            "peers": [peer.name for peer in topology.peers_of(node)],
            "members": topology.admits_members(node),
            "publicKey": public_keys[node.name],
        }
        for node in topology.nodes
    }


def workloads(topology: Topology) -> dict[str, dict[str, str]]:
    """Every workload by name."""
    return {workload.name: {"node": workload.node, "address": str(workload.address)} for workload in topology.workloads}


def tests(topology: Topology) -> list[dict[str, Any]]:
    """What the configuration expects of its rules, and where that can be tried: in a container, but for members."""
    nodes = {node.name for node in topology.nodes}
    return [
        {
            "from": one.source,
            "to": one.target,
            "container": "" if one.source == MEMBERS else topology.container(one.source),
            "isNode": one.source in nodes,
            "address": str(topology.address(one.at)),
            "port": f"{ports.protocol}/{number}",
            "allow": one.allow,
        }
        for one in topology.expectations
        for ports in one.ports
        for number in sorted({ports.first, ports.last})
    ]


def access(topology: Topology) -> dict[str, Any] | None:
    """How a holder of a pass joins; None when nobody can. The URL of a real chain may hold a key and is not told."""
    rule = topology.access
    if rule is None:
        return None
    return {
        "memberRange": str(rule.member_range),
        "mtu": topology.mtu,
        "domain": topology.domain,
        "contract": rule.contract,
        "rpcUrl": f"http://127.0.0.1:{rule.chain_port}" if rule.embedded else None,
    }
