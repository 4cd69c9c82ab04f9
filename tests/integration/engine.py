"""Docker engines of a test's own, each in a network namespace: they can be restarted without harm to others."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import docker
from tests.integration.hosts import client_of, eventually
from tests.integration.network import Namespace, behind_this_machine, run
from vpn import engines as docker_engine

BASE = "debian:trixie-slim"
NAMESPACE = "it-engine"
RANGE = "10.78.0.0/30"
TLS_PORT = 2376
OWN_RUN = ("unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount --bind "$0" /run && exec "$@"')


class Engine:
    """A dockerd that can be stopped and started."""

    def __init__(self, folder: Path, namespace: str, tls_at: str | None = None, own_run: Path | None = None) -> None:
        """Beside its socket it listens with TLS at an address, if one is given; `own_run` is what it has as /run."""
        self.folder = folder
        self.tls = [f"--host=tcp://{tls_at}:{TLS_PORT}", *_certificates(folder, tls_at)] if tls_at else []
        self.namespace = namespace
        self.inside = [*OWN_RUN, str(own_run)] if own_run else []
        self.url = f"unix://{folder}/docker.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        paths = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        options = [f"--{name}={self.folder / path}" for name, path in paths.items()]
        command = [
            "nsenter",
            f"--net=/run/netns/{self.namespace}",
            *self.inside,
            "dockerd",
            *options,
            f"--host={self.url}",
            *self.tls,
        ]
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
        client = client_of(docker_engine.Engine(self.url, timeout=60))
        try:
            yield client
        finally:
            client.close()


@contextmanager
def private_engine() -> Iterator[Engine]:
    """An engine with the base image; namespace, rules and files are gone afterwards."""
    with ExitStack() as undo:
        behind_this_machine(Namespace.made(NAMESPACE, undo), RANGE, undo)
        yield engine_in(NAMESPACE, undo)


def engine_in(namespace: str, undo: ExitStack, tls_at: str | None = None, own_run: Path | None = None) -> Engine:
    """An engine in a network namespace, with the base image; it and its files are gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"{namespace}-"))
    undo.callback(shutil.rmtree, folder, ignore_errors=True)
    undo.callback(_unmount, folder)
    engine = Engine(folder, namespace, tls_at, own_run)
    undo.callback(engine.stop)
    engine.start()
    _copy_base(engine)
    return engine


def _certificates(folder: Path, address: str) -> list[str]:
    """Options of a dockerd that trusts one certificate only, its own, which is also that of who comes."""
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
        *("-subj", "/CN=engine", "-addext", f"subjectAltName=IP:{address}"),
        *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
    )
    shutil.copy(folder / "cert.pem", folder / "ca.pem")
    files = {"tlscacert": "ca.pem", "tlscert": "cert.pem", "tlskey": "key.pem"}
    return ["--tlsverify", *(f"--{option}={folder / file}" for option, file in files.items())]


def _copy_base(engine: Engine) -> None:
    here = docker.from_env()
    with engine.connected() as there:
        there.images.load(b"".join(here.images.get(BASE).save(named=BASE)))
    here.close()


def _unmount(folder: Path) -> None:
    """Unmount what a dockerd that died left mounted."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in reversed([path for path in mounted if path.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", path], check=False)
