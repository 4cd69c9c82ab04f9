"""Names of the mesh, as a hosts file (hosts(5)) for the resolver on every node."""

from vpn.model.topology import Topology


def render(topology: Topology) -> str:
    """Every node, workload, place and service, its full name first, so that a reverse look-up gives that."""
    named = [(node.address, node.name) for node in topology.nodes]
    named += [(workload.address, workload.name) for workload in topology.workloads]
    named += [(place.address, place.name) for place in topology.places]
    named += [(topology.address(service.at), service.name) for service in topology.policy.services]
    return "".join(f"{address} {name}.{topology.domain} {name}\n" for address, name in named)
