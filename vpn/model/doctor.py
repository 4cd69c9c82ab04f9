"""Known troubles of a mesh, found in what was collected of it; each is one function."""

from vpn.model import checks_of_containers as of_containers
from vpn.model import checks_of_hosts as of_hosts
from vpn.model import checks_of_nodes as of_nodes
from vpn.model import checks_of_services as of_services
from vpn.model import checks_of_tunnels as of_tunnels
from vpn.model.checkup import Check, Checkup, Finding

CHECKS: tuple[Check, ...] = (
    of_hosts.engines,
    of_containers.containers,
    of_containers.relays,
    of_containers.ports,
    of_hosts.carriers,
    of_nodes.configs,
    of_nodes.failures,
    of_nodes.unseen,
    of_nodes.dataplanes,
    of_nodes.forwarding,
    of_nodes.keys,
    of_tunnels.mtus,
    of_tunnels.handshakes,
    of_services.gates,
    of_services.databases,
    of_nodes.guests,
    of_hosts.clocks,
    of_hosts.versions,
)


def examine(checkup: Checkup) -> list[Finding]:
    """All findings: troubles first, then hints."""
    found = [finding for check in CHECKS for finding in check(checkup)]
    found += of_nodes.hanging(checkup, {one.place for one in found})
    return sorted(found, key=lambda one: one.hint)
