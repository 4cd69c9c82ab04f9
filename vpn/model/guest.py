"""Hosts that are confidential VMs of DStack: how one is reached, and what has to be true of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from vpn.model.attestation import Image
from vpn.model.ingress import NAME, Ingress, IngressReader, Tls
from vpn.model.reader import Reader

GUEST_KEYS = (
    "gateway",
    "app",
    "images",
    "keyProvider",
    "measurements",
    "osImages",
    "collateral",
    "insecureRoot",
)
GATEWAY_KEYS = ("domain", "endpoint", "authorities")
PROVIDER_KEYS = ("name", "id")
KEY_PROVIDERS = ("kms", "local", "tpm")  # with none, a node would have another key after every boot
REGISTERS = ("mrtd", "rtmr0", "rtmr1", "rtmr2")
HTTPS = 443
AGENT_PORT = 8090  # TCP port where the guest agent answers to anybody (DStack, docs/security)
# What a guest, its gateway or its Docker engine may use itself: WireGuard of DStack's gateways, QEMU's network for its
# guests, and the ranges out of which Docker takes networks.
TAKEN = tuple(
    map(
        IPv4Network,
        ("10.0.0.0/24", "10.0.2.0/24", "10.8.0.0/16", "10.240.0.0/12", "172.16.0.0/12", "192.168.0.0/16"),
    )
)
APP = re.compile(r"[0-9a-f]{40}")
HASH = re.compile(r"[0-9a-f]{64}")
REGISTER = re.compile(r"[0-9a-f]{96}")
HEXADECIMAL = re.compile(r"([0-9a-f]{2})*")
PINNED = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,199}@sha256:[0-9a-f]{64}")
PINNED_FIX = (
    "name it by its digest, like registry.example.org/node@sha256:...: the guest measures no more than the name"
)


@dataclass(frozen=True, kw_only=True)
class GuestImages:
    """What runs there, each by its digest."""

    node: str
    """Of docker/wireguard."""
    relay: str
    """Of docker/udp-over-tcp."""
    keeper: str
    """Of docker/dstack-node."""


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A confidential VM behind a gateway of DStack."""

    domain: str
    """Every port of every application has a name in it."""
    endpoint: str | None
    """Where the gateway is, when its names do not lead there."""
    authorities: str = field(repr=False)
    """Certificates trusted for the gateway, as PEM; empty for those of the system."""
    app: str | None
    """ID of the application, in hexadecimal; None before it is deployed."""
    images: GuestImages
    key_provider: str
    key_provider_id: str
    """DER of the public key of the key provider's CA, in hexadecimal."""
    measurements: tuple[Image, ...]
    """The operating systems, each on a machine of a certain size, that may run it."""
    os_images: tuple[str, ...] | None
    """Hashes of operating-system images; None: any of `measurements`."""
    collateral: str
    """File with Intel's statements on the platform, relative to the project."""
    insecure_root: str | None
    """File with a root certificate in place of Intel's: whoever has its key is let in."""

    def ingress(self, port: int) -> Ingress:
        """How others reach a TCP port of the VM: the gateway takes TLS off (DStack, gateway: <app>-<port>.<domain>)."""
        name = f"{self.app}-{port}.{self.domain}"
        return Ingress(endpoint=self.endpoint or f"{name}:{HTTPS}", tls=Tls(name=name, authorities=self.authorities))


@dataclass(frozen=True)
class GuestReader:
    """Reads what an entry of `hosts` says of a VM, and notes what is wrong."""

    reader: Reader

    def guest(self, path: str, entry: Mapping[str, Any]) -> Guest:
        """The VM of an entry."""
        gateway = self._mapping(f"{path}.gateway", entry.get("gateway"), GATEWAY_KEYS)
        provider = self._mapping(f"{path}.keyProvider", entry.get("keyProvider"), PROVIDER_KEYS)
        lists = IngressReader(self.reader)
        return Guest(
            domain=self._text(f"{path}.gateway.domain", gateway.get("domain"), NAME, "the gateway's domain"),
            endpoint=lists.endpoint(f"{path}.gateway", gateway) if "endpoint" in gateway else None,
            authorities=lists.authorities(f"{path}.gateway", gateway),
            app=self._app(path, entry.get("app")),
            images=self._images(path, entry.get("images")),
            key_provider=self._provider(path, provider.get("name")),
            key_provider_id=self._provider_id(path, provider),
            measurements=self._measurements(path, entry.get("measurements")),
            os_images=self._os_images(path, entry.get("osImages")),
            collateral=self._file(f"{path}.collateral", entry.get("collateral")),
            insecure_root=self._root(path, entry.get("insecureRoot")),
        )

    def _mapping(self, path: str, value: object, known: Sequence[str]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self.reader.wrong(path, value, "is not a mapping", f"set {', '.join(known)}")
            return {}
        self.reader.check_keys(f"{path}.", value, known)
        return value

    def _text(self, path: str, value: object, pattern: re.Pattern[str], what: str) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.reader.wrong(path, value, f"is not {what}", f"give {what}")
        return str(value)

    def _app(self, path: str, value: object) -> str | None:
        if value is None:
            return None
        return self._text(f"{path}.app", value, APP, "an application's ID of 40 lower-case hexadecimal digits")

    def _images(self, path: str, value: object) -> GuestImages:
        names = ("node", "relay", "keeper")
        mapping = self._mapping(f"{path}.images", value, names)
        for name in names if isinstance(value, Mapping) else ():
            self.pinned(f"{path}.images.{name}", mapping.get(name))
        return GuestImages(**{name: str(mapping.get(name)) for name in names})

    def pinned(self, path: str, value: object) -> None:
        """Note an image that is not named by its digest."""
        if not isinstance(value, str) or not PINNED.fullmatch(value):
            self.reader.wrong(path, value, "is no image with a digest", PINNED_FIX)

    def _provider(self, path: str, value: object) -> str:
        if value not in KEY_PROVIDERS:
            self.reader.wrong(f"{path}.keyProvider.name", value, "is not known", f"one of {', '.join(KEY_PROVIDERS)}")
        return str(value)

    def _provider_id(self, path: str, provider: Mapping[str, Any]) -> str:
        what = "the hexadecimal ID of the key provider, for kms the DER of its CA's public key"
        value = provider.get("id", "" if provider.get("name") == "tpm" else None)
        return self._text(f"{path}.keyProvider.id", value, HEXADECIMAL, what)

    def _measurements(self, path: str, value: object) -> tuple[Image, ...]:
        """At least one: what the guest says of itself is worth what its operating system is."""
        path = f"{path}.measurements"
        if not isinstance(value, list) or not value:
            fix = f"list the {', '.join(REGISTERS)} of each system that may run it, as dstack-mr computes them"
            self.reader.wrong(path, value, "names no operating system", fix)
            return ()
        return tuple(self._image(f"{path}[{index}]", one) for index, one in enumerate(value))

    def _image(self, path: str, value: object) -> Image:
        mapping, what = self._mapping(path, value, REGISTERS), "96 lower-case hexadecimal digits"
        return Image(**{name: self._text(f"{path}.{name}", mapping.get(name), REGISTER, what) for name in REGISTERS})

    def _os_images(self, path: str, value: object) -> tuple[str, ...] | None:
        if value is None:
            return None
        if not isinstance(value, list):
            self.reader.wrong(f"{path}.osImages", value, "is not a list", "list hashes of operating-system images")
            return ()
        what = "64 lower-case hexadecimal digits"
        return tuple(self._text(f"{path}.osImages[{index}]", one, HASH, what) for index, one in enumerate(value))

    def _file(self, path: str, value: object) -> str:
        if not isinstance(value, str) or not value:
            fix = "name the file, relative to the project, with Intel's statements on the platform (README, DStack)"
            self.reader.wrong(path, value, "names no file", fix)
        return str(value)

    def _root(self, path: str, value: object) -> str | None:
        return None if value is None else self._file(f"{path}.insecureRoot", value)
