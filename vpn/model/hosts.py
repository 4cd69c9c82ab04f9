"""Machines that run nodes: how we reach their Docker engine, if we do, and how others reach the nodes there."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from vpn.model.guest import GUEST_KEYS, Guest, GuestReader
from vpn.model.reader import LABEL, LABEL_FIX, NOT_SHOWN, Reader

DOCKER, DSTACK = "docker", "dstack"
KINDS = (DOCKER, DSTACK)
ENGINE_KEYS = ("docker", "certificates", "address", "inbound")
HOST_KEYS = ("name", "kind", "region", *ENGINE_KEYS, *GUEST_KEYS)
UDP, TCP, NONE = "udp", "tcp", "none"
INBOUND = (UDP, TCP, NONE)
NAME = r"[^\s/:@\[\]?#]+"
PORT = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
ENGINE = re.compile(rf"unix:///\S+|ssh://({NAME}@)?{NAME}(:{PORT})?|tcp://{NAME}:{PORT}")
ENGINE_FIX = "write it like unix:///var/run/docker.sock, ssh://user@host or tcp://host:2376, without a password"


@dataclass(frozen=True, kw_only=True)
class Host:
    """A Docker engine or a confidential VM, and what gets in there from outside."""

    name: str
    docker: str | None = None
    """The engine's address; None for the one that Docker's own tools find (DOCKER_HOST)."""
    certificates: str | None = None
    """Folder with ca.pem, cert.pem and key.pem, for an engine behind TCP."""
    address: IPv4Address | None = None
    """Where the others reach the published ports."""
    region: str = ""
    inbound: str = UDP
    """What gets in at those ports: UDP and TCP, TCP alone, or nothing."""
    guest: Guest | None = None
    """The confidential VM that it is; None for a Docker engine."""

    @property
    def takes_udp(self) -> bool:
        """Whether UDP gets in from another host."""
        return self.inbound == UDP

    @property
    def takes_tcp(self) -> bool:
        """Whether TCP gets in from another host."""
        return self.inbound != NONE


LOCAL = Host(name="local")
"""The host of a mesh that names none."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What gets in at a node from another one."""

    hosts: Mapping[str, Host]
    """The host of every node, by the node's name."""
    gateways: frozenset[str]
    """Nodes with a gateway in front of their relay."""

    def udp(self, at: str, source: str) -> bool:
        """Whether UDP gets in."""
        return self.hosts[at] == self.hosts[source] or self.hosts[at].takes_udp

    def tcp(self, at: str, source: str) -> bool:
        """Whether TCP gets in."""
        return self.hosts[at] == self.hosts[source] or self.takes_tcp(at)

    def takes_tcp(self, at: str) -> bool:
        """Whether TCP gets in from any other host."""
        return self.hosts[at].takes_tcp or at in self.gateways


@dataclass(frozen=True)
class HostReader:
    """Reads `hosts`, and `host` of every node, and notes what is wrong."""

    reader: Reader

    def hosts(self, engines: Mapping[str | None, str]) -> tuple[Host, ...]:
        """All hosts; LOCAL when the configuration names none. `engines` is what they were called before."""
        entries = self.reader.entries("hosts", HOST_KEYS)
        hosts = tuple(self._host(f"hosts[{index}]", entry, len(entries)) for index, entry in enumerate(entries))
        for key, reason in (
            ("name", "is also the name"),
            ("docker", "is also the engine"),
            ("address", "is also that"),
        ):
            self._check_unique(hosts, key, reason)
        for index, host in enumerate(hosts):
            before = host.name if host.guest else engines.get(host.docker, host.name)
            if before != host.name:
                fix = f"call it {before}; another name would make all there anew beside what runs"
                self.reader.wrong(f"hosts[{index}].name", host.name, f"is the host that is called {before}", fix)
        return hosts or (LOCAL,)

    def by_node(self, hosts: Sequence[Host], nodes: Sequence[Mapping[str, Any]]) -> dict[str, Host]:
        """The host of every node, by the node's name."""
        known = {host.name: host for host in hosts}
        found: dict[str, Host] = {}
        for index, entry in enumerate(nodes):
            name = entry.get("host", hosts[0].name if len(hosts) == 1 else None)
            if not isinstance(name, str) or name not in known:
                self.reader.wrong(f"nodes[{index}].host", name, "is not a host", f"one of {', '.join(known)}")
            host = known.get(str(name), hosts[0])
            if host.guest and host in found.values():
                fix = "declare another host, and so another VM"
                self.reader.wrong(f"nodes[{index}].host", name, "is a confidential VM, which has one node", fix)
            found[str(entry.get("name"))] = host
        return found

    def _host(self, path: str, entry: Mapping[str, Any], count: int) -> Host:
        reader, region, kind = self.reader, entry.get("region"), entry.get("kind", DOCKER)
        if kind not in KINDS:
            reader.wrong(f"{path}.kind", kind, "is not known", f"one of {', '.join(KINDS)}")
        self._check_kind(path, entry, kind)
        is_guest = kind == DSTACK
        return Host(
            name=reader.text(f"{path}.name", entry.get("name"), LABEL, LABEL_FIX),
            region="" if region is None else reader.text(f"{path}.region", region, LABEL, LABEL_FIX),
            docker=None if is_guest else self._docker(path, entry),
            certificates=None if is_guest else self._certificates(path, entry),
            address=None if is_guest else self._address(path, entry, needed=count > 1),
            inbound=TCP if is_guest else self._inbound(path, entry),
            guest=GuestReader(reader).guest(path, entry) if is_guest else None,
        )

    def _check_kind(self, path: str, entry: Mapping[str, Any], kind: object) -> None:
        for key in ENGINE_KEYS if kind == DSTACK else GUEST_KEYS:
            if key in entry:
                self.reader.wrong(f"{path}.{key}", entry[key], f"is not for a host of kind {kind}", "leave it out")

    def _docker(self, path: str, entry: Mapping[str, Any]) -> str | None:
        value = entry.get("docker")
        if value is None or (isinstance(value, str) and ENGINE.fullmatch(value)):
            return value
        shown = NOT_SHOWN if "@" in str(value) else value  # it may be a password
        self.reader.wrong(f"{path}.docker", shown, "is not the address of a Docker engine", ENGINE_FIX)
        return None

    def _certificates(self, path: str, entry: Mapping[str, Any]) -> str | None:
        value = entry.get("certificates")
        is_tcp = str(entry.get("docker")).startswith("tcp:")
        if is_tcp and not (isinstance(value, str) and value):
            fix = "name a folder with ca.pem, cert.pem and key.pem: who reaches an engine without TLS is root there"
            self.reader.wrong(f"{path}.certificates", value, "is no folder", fix)
        if value is not None and not is_tcp:
            self.reader.wrong(f"{path}.certificates", value, "is set for an engine not behind TCP", "leave it out")
        return str(value) if is_tcp else None

    def _address(self, path: str, entry: Mapping[str, Any], *, needed: bool) -> IPv4Address | None:
        value = entry.get("address")
        if value is None:
            if needed and entry.get("inbound", UDP) != NONE:
                fix = "give the public IPv4 address, or set inbound: none if nothing gets in"
                self.reader.wrong(f"{path}.address", None, "is missing: the other hosts cannot reach this one", fix)
            return None
        try:
            return IPv4Address(value if isinstance(value, str) else "")
        except ValueError:
            fix = "give the public address; WireGuard would look up a name only once"
            self.reader.wrong(f"{path}.address", value, "is not an IPv4 address", fix)
            return None

    def _inbound(self, path: str, entry: Mapping[str, Any]) -> str:
        value = entry.get("inbound", UDP)
        if value not in INBOUND:
            self.reader.wrong(f"{path}.inbound", value, "is not known", f"one of {', '.join(INBOUND)}")
        return str(value)

    def _check_unique(self, hosts: Sequence[Host], key: str, reason: str) -> None:
        first: dict[Any, str] = {}
        for index, host in enumerate(hosts):
            value = getattr(host, key)
            if host.guest and key != "name":
                continue
            if value in first and (value is not None or key == "docker"):
                shown = str(value) if value is not None else None
                self.reader.wrong(f"hosts[{index}].{key}", shown, f"{reason} of {first[value]}", "give each its own")
            first.setdefault(value, f"hosts[{index}]")
