"""What a mesh must be like to have nodes in confidential VMs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from vpn.model.guest import AGENT_PORT, TAKEN, GuestReader
from vpn.model.guest_compose import SERVICES
from vpn.model.hosts import Host
from vpn.model.ingress import Ingress
from vpn.model.policy import MEMBERS
from vpn.model.reader import Reader
from vpn.model.topology import Topology

LAST_PORT = 65535
Entries = Sequence[Mapping[str, Any]]


def of_guests(hosts: Mapping[str, Host], port: int) -> dict[str, Ingress]:
    """The gateways of those that are deployed, by the node's name."""
    return {name: host.guest.ingress(port) for name, host in hosts.items() if host.guest and host.guest.app}


def check_members(reader: Reader, topology: Topology) -> None:
    """Note nodes that members have no way to."""
    for node in topology.guests if topology.access else ():
        if topology.policy.reaches(MEMBERS, node.name):
            fix = "put what members shall reach at a node of a Docker host"
            reader.wrong("access", node.name, "has something for members, but they cannot enter a confidential VM", fix)


@dataclass(frozen=True)
class GuestCheck:
    """Notes what is wrong."""

    reader: Reader
    hosts: Mapping[str, Host]
    """The host of every node, by the node's name."""

    def everything(self, networks: Mapping[str, IPv4Network | None], nodes: Entries, workloads: Entries) -> None:
        """All that no part of the configuration can tell alone."""
        self._ranges(networks)
        self._entries(nodes, workloads)
        self._shape()
        self._apps()

    def _ranges(self, networks: Mapping[str, IPv4Network | None]) -> None:
        """No network that is there already, and a port for the keeper."""
        for key, network in networks.items():
            clash = next((taken for taken in TAKEN if network and network.overlaps(taken)), None)
            if clash:
                reason = f"overlaps {clash}, which a confidential VM may use itself"
                self.reader.wrong(key, str(network), reason, "choose one out of 100.64.0.0/10 or 10.64.0.0/10")
        port = self.reader.raw.get("listenPort")
        if port in (AGENT_PORT, AGENT_PORT - 1, LAST_PORT):
            fix = "choose another: the next is that of the keeper in a confidential VM"
            self.reader.wrong("listenPort", port, f"leaves no port for the keeper beside {AGENT_PORT}", fix)

    def _entries(self, nodes: Entries, workloads: Entries) -> None:
        """Images that say what they are, and no other gateway."""
        for index, entry in enumerate(workloads):
            if self._in_guest(entry.get("node")):
                GuestReader(self.reader).pinned(f"workloads[{index}].image", entry.get("image"))
                self._check_name(f"workloads[{index}].name", entry.get("name"))
        for index, entry in enumerate(nodes):
            if entry.get("ingress") is not None and self._in_guest(entry.get("name")):
                reason = "is set for a node in a confidential VM, which has its host's gateway"
                self.reader.wrong(f"nodes[{index}].ingress", entry["ingress"], reason, "leave it out")

    def _shape(self) -> None:
        """Nobody's way may lead through a VM that is not there yet."""
        raw = self.reader.raw
        gateways = raw.get("gateways")
        named = {"hub": raw.get("hub")}
        named |= {f"gateways[{at}]": name for at, name in enumerate(gateways if isinstance(gateways, list) else ())}
        for path, name in named.items():
            host = self.hosts.get(str(name))
            if host and host.guest and not host.guest.app:
                fix = f"give {host.name} its app first, and make it {path} then"
                self.reader.wrong(path, name, "is in a confidential VM that is not deployed yet", fix)

    def _apps(self) -> None:
        """No two VMs are one application."""
        owners: dict[str, str] = {}
        for host in dict.fromkeys(self.hosts.values()):
            app = host.guest.app if host.guest else None
            if app and app in owners:
                fix = "deploy an application for each: instances of one can derive each other's keys"
                self.reader.wrong("hosts", app, f"is the app of {owners[app]} and of {host.name}", fix)
            if app:
                owners.setdefault(app, host.name)

    def _check_name(self, path: str, name: object) -> None:
        if name in SERVICES:
            reason = "is what a container of the node itself is called in a confidential VM"
            self.reader.wrong(path, name, reason, "choose another name")

    def _in_guest(self, node: object) -> bool:
        host = self.hosts.get(str(node))
        return host is not None and host.guest is not None
