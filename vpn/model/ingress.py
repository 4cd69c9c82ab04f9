"""Where the others reach a node over TCP, when not at its relay's own address: at a gateway in front of it."""

import re
import ssl
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vpn.model.reader import LABEL, Reader

INGRESS_KEYS = ("endpoint", "tls")
TLS_KEYS = ("name", "authorities")
NAME = re.compile(rf"(?=.{{1,253}}$){LABEL.pattern}(\.{LABEL.pattern})*")
ENDPOINT = re.compile(rf"(?=.{{1,253}}:){LABEL.pattern}(\.{LABEL.pattern})*:[0-9]{{1,5}}")
MAX_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class Tls:
    """What the gateway must prove, and then takes off before it hands on the connection."""

    name: str
    """Sent as SNI (RFC 6066, 3), and what its certificate must be for."""
    authorities: str
    """Certificates that are trusted, as PEM; empty for those of the system."""


@dataclass(frozen=True, kw_only=True)
class Ingress:
    """A gateway whose connections arrive at the node's relay."""

    endpoint: str
    """Name or IPv4 address, and TCP port."""
    tls: Tls | None


@dataclass(frozen=True)
class IngressReader:
    """Reads `ingress` of every node, and notes what is wrong."""

    reader: Reader

    def ingresses(self, entries: Sequence[Mapping[str, Any]], relayed: Collection[str]) -> dict[str, Ingress]:
        """By the node's name; `relayed` are the nodes with a link over TCP."""
        found: dict[str, Ingress] = {}
        for index, entry in enumerate(entries):
            path, value, name = f"nodes[{index}].ingress", entry.get("ingress"), str(entry.get("name"))
            if value is None:
                continue
            mapping = self._mapping(path, value, INGRESS_KEYS)
            if name not in relayed:
                fix = "set transport: tcp or auto for a link of this node, or leave ingress out"
                self.reader.wrong(path, value, "leads to a node without a link over TCP", fix)
            found[name] = Ingress(endpoint=self.endpoint(path, mapping), tls=self._tls(path, mapping.get("tls")))
        return found

    def _mapping(self, path: str, value: object, known: Sequence[str]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self.reader.wrong(path, value, "is not a mapping", f"set some of {', '.join(known)}")
            return {}
        self.reader.check_keys(f"{path}.", value, known)
        return value

    def endpoint(self, path: str, ingress: Mapping[str, Any]) -> str:
        """Where the gateway is."""
        value = ingress.get("endpoint")
        if not isinstance(value, str) or not ENDPOINT.fullmatch(value) or not 0 < int(value.split(":")[1]) <= MAX_PORT:
            fix = "write it like gateway.example.org:443"
            self.reader.wrong(f"{path}.endpoint", value, "is not a name or IPv4 address with a port", fix)
        return str(value)

    def _tls(self, path: str, value: object) -> Tls | None:
        if value is None:
            return None
        mapping = self._mapping(f"{path}.tls", value, TLS_KEYS)
        name = mapping.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            fix = "give the name that the gateway's certificate is for; it is sent as SNI"
            self.reader.wrong(f"{path}.tls.name", name, "is not a name", fix)
        return Tls(name=str(name), authorities=self.authorities(f"{path}.tls", mapping))

    def authorities(self, path: str, mapping: Mapping[str, Any]) -> str:
        """Certificates to trust, as PEM; empty for those of the system."""
        value = mapping.get("authorities", "")
        if not isinstance(value, str) or not _are_certificates(value):
            fix = "give PEM, or leave it out to trust the system's"
            self.reader.wrong(f"{path}.authorities", value, "is not a list of certificates", fix)
        return str(value)


def _are_certificates(text: str) -> bool:
    try:
        if text:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return False
    return True
