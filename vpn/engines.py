"""Connections to the Docker engines of hosts, for what Pulumi's provider does not do."""

import asyncio
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import IO, Any
from urllib.parse import urlsplit

import docker
from vpn.model.hosts import Host

SECONDS = 60  # for an answer
HEAD = struct.Struct(">xxxxL")
ASK_SECONDS = 15
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
SSH_FIX = "make `ssh {} docker version` work without a question; options belong into ~/.ssh/config"
FIX = "start it, or correct hosts; `docker --host {} version` tries it"
OWN_FIX = "start Docker, or set DOCKER_HOST"


class Engine(docker.APIClient):  # type: ignore[misc] # it has no types
    """An engine's API, which trusts what its host's certificates say and nobody else.

    REQUESTS_CA_BUNDLE in the environment would win over them (psf/requests#3829).
    """

    trust_env = property(lambda _: False, lambda _, __: None)

    def _read_from_socket(self, response: Any, stream: bool, *rest: Any, **more: Any) -> Any:  # noqa: FBT001 (the SDK's)
        """All output of a command; the SDK reads past the buffer where it may begin (docker/docker-py#3332)."""
        if stream:
            return super()._read_from_socket(response, stream, *rest, **more)
        self._disable_socket_timeout(self._get_raw_response_socket(response))
        try:
            return b"".join(_frames(response.raw._fp.fp))  # noqa: SLF001 (as the SDK does)
        finally:
            response.close()


def _frames(reader: IO[bytes]) -> Iterator[bytes]:
    """What was printed: every piece comes after its kind and its size (Docker Engine API, attach to a container)."""
    while len(head := reader.read(HEAD.size)) == HEAD.size:
        yield reader.read(*HEAD.unpack(head))


@contextmanager
def connected(host: Host, seconds: float = SECONDS) -> Iterator[Engine]:
    """The engine of a host; each call may take so many seconds."""
    with ExitStack() as stack:
        engine = _engine(host, seconds, stack)
        stack.callback(engine.close)
        yield engine


def _engine(host: Host, seconds: float, stack: ExitStack) -> Engine:
    if host.docker is None:
        return Engine(**docker.utils.kwargs_from_env(), timeout=seconds)
    if host.docker.startswith("ssh://"):
        bridge = stack.enter_context(_Bridge.open(host.docker))
        return Engine(f"unix://{bridge.server_address!s}", timeout=seconds)
    tls = _tls(Path(host.certificates)) if host.certificates else False
    return Engine(host.docker, timeout=seconds, tls=tls)


def _tls(folder: Path) -> docker.tls.TLSConfig:
    pair = (str(folder / "cert.pem"), str(folder / "key.pem"))
    return docker.tls.TLSConfig(client_cert=pair, ca_cert=str(folder / "ca.pem"), verify=True)


class _Bridge(ThreadingMixIn, UnixStreamServer):
    """A socket whose connections go on by ssh, as Docker's own tools do it.

    The SDK's way needs another implementation of SSH, which reads only a part of ~/.ssh/config, and has no time-outs.
    """

    daemon_threads = True
    said = ""

    @classmethod
    @contextmanager
    def open(cls, url: str) -> Iterator["_Bridge"]:
        """Serve until the end of the context."""
        with tempfile.TemporaryDirectory(prefix="dstack-vpn-") as folder, cls(f"{folder}/docker.sock", url) as bridge:
            threading.Thread(target=bridge.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            try:
                yield bridge
            except Exception as error:
                if bridge.said:
                    raise ConnectionError(bridge.said) from error
                raise
            finally:
                bridge.shutdown()

    def __init__(self, path: str, url: str) -> None:
        super().__init__(path, None)  # type: ignore[arg-type] # finish_request needs no handler
        self._command = _ssh_command(url)

    def finish_request(self, request: Any, _address: object) -> None:
        """Carry a connection until either side ends it."""
        end = subprocess.run(self._command, stdin=request, stdout=request, stderr=subprocess.PIPE, check=False)  # noqa: S603 (from the configuration)
        if end.returncode:
            self.said = end.stderr.decode(errors="replace").strip().rpartition("\n")[2]


def _ssh_command(url: str) -> tuple[str, ...]:
    """What speaks with the engine of an ssh:// address on standard input and output."""
    parts = urlsplit(url)
    user = ("-l", parts.username) if parts.username else ()
    port = ("-p", str(parts.port)) if parts.port else ()
    return (*SSH, *user, *port, "--", str(parts.hostname), "docker", "system", "dial-stdio")


async def silent(hosts: Iterable[Host]) -> Mapping[str, str]:
    """The hosts, by name, whose engine does not answer, and why; all are asked at once."""
    asked = tuple(hosts)
    answers = await asyncio.gather(*(asyncio.to_thread(_complaint, host) for host in asked))
    return {host.name: answer for host, answer in zip(asked, answers, strict=True) if answer}


def _complaint(host: Host) -> str:
    try:
        with connected(host, ASK_SECONDS) as engine:
            engine.ping()
    except (docker.errors.DockerException, OSError) as error:
        return str(error)
    return ""


def fix(host: Host) -> str:
    """What may make an engine answer."""
    if host.docker is None:
        return OWN_FIX
    return SSH_FIX.format(host.docker) if host.docker.startswith("ssh://") else FIX.format(host.docker)
