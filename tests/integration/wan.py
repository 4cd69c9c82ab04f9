"""Hosts in four places of a wide-area network, each a Docker engine of its own in a namespace of its own.

A router joins them. All gets in at `fra`, at `nyc` only TCP, at `home` and `cafe` nothing. The engine of `fra` is
reached by ssh, that of `nyc` with TLS.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.engine import TLS_PORT, Engine, engine_in
from tests.integration.hosts import eventually
from tests.integration.network import Namespace, behind_this_machine, join, run
from tests.integration.stack import CHECKOUT

ROUTER = "itw-router"
RANGE, OUTSIDE = "10.78.0.4/30", "10.78.0.5"  # the latter is this machine, as hosts reach it
PLACES = {"fra": 1, "nyc": 2, "home": 3, "cafe": 4}
REGIONS = {"fra": "eu", "nyc": "us", "home": "ap", "cafe": "ap"}
INBOUND = {"fra": "udp", "nyc": "tcp", "home": "none", "cafe": "none"}
SSH_PORT = 2222
DEVICE, TABLE = "wan0", 100
SERVER = "tests.integration.ssh_server"


def address(place: str) -> str:
    """Where a host is."""
    return f"198.18.{PLACES[place]}.2"


TLS_AT = {"nyc": address("nyc")}


@dataclass
class Wan:
    """The hosts and what is between them."""

    router: Namespace
    engines: dict[str, Engine]
    tools: Path
    """A folder with an `ssh` that knows the keys; comes first on PATH."""

    @property
    def env(self) -> dict[str, str]:
        """For who speaks with the engines."""
        return {"PATH": f"{self.tools}:{os.environ['PATH']}"}

    def host(self, place: str) -> dict[str, Any]:
        """An entry of `hosts`."""
        engine = self.engines[place]
        docker = {"fra": "ssh://tester@itw-fra", "nyc": f"tcp://{address('nyc')}:{TLS_PORT}"}.get(place, engine.url)
        return {
            "name": place,
            "docker": docker,
            "certificates": str(engine.folder) if place == "nyc" else None,
            "address": address(place) if INBOUND[place] != "none" else None,
            "region": REGIONS[place],
            "inbound": INBOUND[place],
        }

    @contextmanager
    def distance(self, delay: float, loss: float) -> Iterator[None]:
        """Every packet between two hosts takes so many seconds longer, or is lost with a probability."""
        module = [sys.executable, "-m", "tests.integration.delay", DEVICE, str(delay), str(loss)]
        command = ["nsenter", f"--net=/run/netns/{ROUTER}", *module]
        with ExitStack() as undo:
            process = undo.enter_context(subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE))
            undo.callback(process.terminate)
            assert process.stdout
            assert process.stdout.readline() == b"up\n"
            self.router.ip(f"link set {DEVICE} up")
            self.router.ip(f"route add default dev {DEVICE} table {TABLE}")
            for place in PLACES:
                self.router.ip(f"rule add iif itw-{place} lookup {TABLE}")
                undo.callback(self.router.ip, f"rule delete iif itw-{place} lookup {TABLE}")
            yield

    @contextmanager
    def cut_off(self, place: str, what: str = "all") -> Iterator[None]:
        """Nothing of a protocol gets to a host and from it, for a while."""
        rules = [f"FORWARD {way} itw-{place} -p {what} -j DROP" for way in ("-i", "-o")]
        for rule in rules:
            self.router.iptables(f"-I {rule}")
        try:
            yield
        finally:
            for rule in rules:
                self.router.iptables(f"-D {rule}")


@contextmanager
def wan() -> Iterator[Wan]:
    """All of it; gone afterwards."""
    with ExitStack() as undo:
        router = Namespace.made(ROUTER, undo)
        behind_this_machine(router, RANGE, undo)
        router.iptables("-t nat -A POSTROUTING -o up0 -j MASQUERADE")
        for place, number in PLACES.items():
            host = Namespace.made(f"itw-{place}", undo)
            join(router, host, f"198.18.{number}.0/30")
            _guard(host, INBOUND[place])
        with ThreadPoolExecutor() as pool:
            started = pool.map(lambda place: engine_in(f"itw-{place}", undo, TLS_AT.get(place)), PLACES)
            engines = dict(zip(PLACES, started, strict=True))
        run("ip", "route", "add", "198.18.0.0/21", "via", "10.78.0.6")
        undo.callback(run, "ip", "route", "delete", "198.18.0.0/21")
        yield Wan(router, engines, _ssh(engines["fra"], undo))


def _guard(host: Namespace, inbound: str) -> None:
    """Let in what shall get in, and replies; what goes out has the host's address, as Docker translates it."""
    if inbound != "udp":
        protocol = "-p udp " if inbound == "tcp" else ""
        host.iptables(f"-t mangle -A PREROUTING -i up0 {protocol}-m conntrack --ctstate NEW -j DROP")


def _ssh(engine: Engine, undo: ExitStack) -> Path:
    """An SSH server beside an engine, and an `ssh` that finds it."""
    tools = Path(tempfile.mkdtemp(prefix="itw-ssh-"))
    undo.callback(shutil.rmtree, tools)
    for key in ("host_key", "client_key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(engine.folder / key))
    settings = {
        "HostName": address("fra"),
        "Port": SSH_PORT,
        "IdentityFile": engine.folder / "client_key",
        "UserKnownHostsFile": tools / "known_hosts",
    }
    known = (engine.folder / "host_key.pub").read_text()
    (tools / "known_hosts").write_text(f"[{address('fra')}]:{SSH_PORT} {known}")
    (tools / "config").write_text("Host itw-fra\n" + "".join(f"  {key} {value}\n" for key, value in settings.items()))
    ssh = tools / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tools}/config "$@"\n')
    ssh.chmod(0o755)
    inside = ["nsenter", f"--net=/run/netns/{engine.namespace}", sys.executable, "-W", "ignore", "-m", SERVER]
    server = subprocess.Popen([*inside, address("fra"), str(SSH_PORT), str(engine.folder)], cwd=CHECKOUT)
    undo.callback(server.wait)
    undo.callback(server.terminate)
    eventually(_listens, 20, "the SSH server listens")
    return tools


def _listens() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address("fra"), SSH_PORT)) == 0
