"""A machine of a user's, outside the mesh: what joins it with a wg-quick file. For the proof, and for tests.

Two containers of images that the stack has made anyway: WireGuard in one, and a browser in another that shares its
network. They stand on the underlay, at its far end, where no node comes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from bootstrap import command
from bootstrap.failure import BootstrapError
from bootstrap.repair import LABEL

FIX = "docker logs, and `wg show` in the container, tell more"
JOIN = "umask 077; cat >/run/wg0.conf; wg-quick up /run/wg0.conf"
LEAVE = "wg-quick down /run/wg0.conf; rm /run/wg0.conf"
PAGE_SECONDS = 2


@dataclass(frozen=True, kw_only=True)
class Device:
    """The containers `<name>` and `<name>-browser`."""

    name: str
    mesh: str
    """Identity of the mesh, so that `make down` finds what an interrupted run left."""
    node: str
    """Container of any node: the device is beside it, and uses its image."""
    browser: str
    """Container whose image has wget."""
    env: Mapping[str, str] = field(repr=False)
    place: int = -2
    """Which address of the underlay it takes, counted from the end."""

    def start(self) -> None:
        """Make both containers; raises BootstrapError."""
        self.close()
        node = self._inspected(self.node)
        network = next(name for name in node["NetworkSettings"]["Networks"] if "-site-" not in name)
        address = str(self._range(network)[self.place])
        rights = ["--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--device", "/dev/net/tun"]
        where = ["--network", network, "--ip", address, "--read-only", "--tmpfs", "/run"]
        self._run(self.name, [*rights, *where], node["Config"]["Image"])
        rights = ["--cap-drop", "ALL", "--read-only", "--network", f"container:{self.name}"]
        self._run(f"{self.name}-browser", rights, self._inspected(self.browser)["Config"]["Image"])

    def join(self, config: str) -> None:
        """Bring up the tunnel of a wg-quick file; raises BootstrapError."""
        self._docker("exec", "--interactive", self.name, "sh", "-c", JOIN, stdin=config)

    def leave(self) -> None:
        """Take the tunnel down."""
        self._docker("exec", self.name, "sh", "-c", LEAVE)

    def page(self, url: str) -> str | None:
        """A web page; None when it does not come in time."""
        fetch = ["wget", f"-T{PAGE_SECONDS}", "-t1", "-qO-", url]
        result = command.ask(["docker", "exec", f"{self.name}-browser", *fetch], env=self.env)
        return result.answer if result.ok else None

    def close(self) -> None:
        """Remove both containers, if they are there."""
        remove = ["docker", "rm", "--force", f"{self.name}-browser", self.name]
        command.ask(remove, env=self.env)

    def _run(self, name: str, options: list[str], image: str) -> None:
        told = ["--label", f"{LABEL}={self.mesh}", "--security-opt", "no-new-privileges", "--memory", "128m"]
        self._docker("run", "--detach", "--name", name, *told, *options, image, "sleep", "infinity")

    def _inspected(self, container: str) -> dict[str, Any]:
        return dict(json.loads(self._docker("container", "inspect", container))[0])

    def _range(self, network: str) -> IPv4Network:
        return IPv4Network(json.loads(self._docker("network", "inspect", network))[0]["IPAM"]["Config"][0]["Subnet"])

    def _docker(self, *arguments: str, stdin: str = "") -> str:
        ask = ["docker", *arguments]
        result = command.ask(ask, env=self.env, stdin=stdin)
        if not result.ok:
            raise BootstrapError(f"exit status {result.status}", fix=FIX, command=ask, log=result.output)
        return result.answer
