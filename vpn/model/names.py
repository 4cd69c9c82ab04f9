"""Names of the mesh, as a hosts file (hosts(5)) for the resolver on every node."""

from vpn.model.topology import Topology


def render(topology: Topology) -> str:
    """Every node and workload: `<name>.<domain>` first, so that a reverse look-up gives that, then the short name."""
    named = [(node.address, node.name) for node in topology.nodes]
    named += [(workload.address, workload.name) for workload in topology.workloads]
    return "".join(f"{address} {name}.{topology.domain} {name}\n" for address, name in named)
