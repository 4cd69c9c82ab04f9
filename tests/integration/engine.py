"""A Docker engine of a test's own, in its own network namespace: it can be restarted without harm to anybody else's."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import docker
from tests.integration.hosts import eventually

BASE = "debian:trixie-slim"
NAMESPACE = "it-engine"
LINK = "it-engine0"
GATEWAY = "10.78.0.1"
HOST, INSIDE, RANGE = f"{GATEWAY}/30", "10.78.0.2/30", "10.78.0.0/30"
RULES = (  # the engine's builds reach package servers as those of the machine's own engine do
    ("nat", "POSTROUTING", "-s", RANGE, "!", "-o", LINK, "-j", "MASQUERADE"),
    ("filter", "FORWARD", "-i", LINK, "-j", "ACCEPT"),
    ("filter", "FORWARD", "-o", LINK, "-j", "ACCEPT"),
)


class Engine:
    """A dockerd that can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/docker.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        paths = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        options = [f"--{name}={self.folder / path}" for name, path in paths.items()]
        command = ["nsenter", f"--net=/run/netns/{NAMESPACE}", "dockerd", *options, f"--host={self.url}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(self.answers, 60, "the engine answers")

    def stop(self) -> None:
        """Stop it as a reboot does; its containers go down with it."""
        if self.process:
            self.process.terminate()
            self.process.wait(60)

    def answers(self) -> bool:
        """Whether the engine takes calls."""
        with socket.socket(socket.AF_UNIX) as probe:  # docker's SDK leaves one open when it is refused
            if probe.connect_ex(str(self.folder / "docker.sock")):
                return False
        with self.connected() as client:
            return bool(client.ping())

    @contextmanager
    def connected(self) -> Iterator[docker.DockerClient]:
        """A connection to this engine."""
        client = docker.DockerClient(self.url, timeout=60)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def private_engine() -> Iterator[Engine]:
    """An engine with the base image; namespace, rules and files are gone afterwards."""
    with ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix="it-engine-"))
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        undo.callback(_unmount, folder)
        _network(undo)
        engine = Engine(folder)
        undo.callback(engine.stop)
        engine.start()
        _copy_base(engine)
        yield engine


def _network(undo: ExitStack) -> None:
    _run("ip", "netns", "add", NAMESPACE)
    undo.callback(_run, "ip", "netns", "delete", NAMESPACE)
    _run("ip", "link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE)
    _run("ip", "address", "add", HOST, "dev", LINK)
    _run("ip", "link", "set", LINK, "up")
    for command in (
        f"address add {INSIDE} dev eth0",
        "link set eth0 up",
        "link set lo up",
        "route add default via 10.78.0.1",
    ):
        _run("ip", "-n", NAMESPACE, *command.split())
    for table, chain, *rule in RULES:
        _run("iptables", "-t", table, "-I", chain, *rule)
        undo.callback(_run, "iptables", "-t", table, "-D", chain, *rule)


def _copy_base(engine: Engine) -> None:
    here = docker.from_env()
    with engine.connected() as there:
        there.images.load(b"".join(here.images.get(BASE).save(named=BASE)))
    here.close()


def _unmount(folder: Path) -> None:
    """Unmount what a dockerd that died left mounted."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in reversed([path for path in mounted if path.startswith(f"{folder}{os.sep}")]):
        subprocess.run(["umount", "--lazy", path], check=False)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
