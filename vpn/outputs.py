"""What the stack tells its users, and itself at the next `up`: plain views on the topology."""

from collections.abc import Mapping
from typing import Any

from vpn.model.topology import Topology


def nodes(topology: Topology, public_keys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every node by name: where it is and its public key."""
    return {
        node.name: {
            "container": f"{topology.name}-{node.name}",
            "address": str(node.address),
            "endpoint": f"{node.underlay}:{topology.listen_port}",
            "hostPort": node.host_port,
            "proxyPort": topology.proxy_host_port(node),
            "site": str(node.site),
            "members": topology.admits_members(node),
            "publicKey": public_keys[node.name],
        }
        for node in topology.nodes
    }


def workloads(topology: Topology) -> dict[str, dict[str, str]]:
    """Every workload by name."""
    return {workload.name: {"node": workload.node, "address": str(workload.address)} for workload in topology.workloads}


def access(topology: Topology) -> dict[str, Any] | None:
    """How a holder of a pass joins; None when nobody can. The URL of a real chain may hold a key and is not told."""
    rule = topology.access
    if rule is None:
        return None
    return {
        "memberRange": str(rule.member_range),
        "mtu": topology.mtu,
        "contract": rule.contract,
        "rpcUrl": f"http://127.0.0.1:{rule.chain_port}" if rule.embedded else None,
    }
