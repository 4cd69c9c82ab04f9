"""A keeper in a process of its own, the guest agent that it asks, and the operator who gives it orders."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from tests.dstack.claims import NONCE
from tests.model.example import KEYS, MESH, NODE_A
from tests.model.stack_files import PROJECT
from vpn.model.bundle import CHECKSUMS, node_files
from vpn.model.keys import PrivateKey

PACKAGE = PROJECT / "docker" / "dstack-node"
OPERATOR, STRANGER = SigningKey(bytes([1]) * 32), SigningKey(bytes([2]) * 32)
SIGNER = OPERATOR.verify_key.encode()
HOST = "127.0.0.1"
SECONDS = 10
SETTINGS = '{"outgoing":[],"incoming":[],"echo":[],"meetings":[],"places":[]}'


def _without_key() -> dict[str, str]:
    """A node's files as the stack makes them, without what is the guest's to add."""
    files = node_files(MESH, KEYS, NODE_A)
    lines = files["wg0.conf"].splitlines(keepends=True)
    return files | {"wg0.conf": "".join(line for line in lines if not line.startswith("PrivateKey"))}


FILES = _without_key()


def order(serial: int = 1, **more: Any) -> dict[str, Any]:
    """An order, right but for what is asked for."""
    fields = {"network": "vpn", "node": "node-a", "epoch": 1, "serial": serial, "moment": 0}
    return fields | {"files": {"node": FILES, "relay": {"settings.json": SETTINGS}}} | more


def signed(text: str, key: SigningKey = OPERATOR) -> bytes:
    """The body of a request with an order's text."""
    signature = key.sign(b"dstack-vpn order 1\0" + text.encode()).signature.hex()
    return json.dumps({"order": text, "signature": signature}).encode()


def request(serial: int = 1, **more: Any) -> bytes:
    """The body of a request with an order."""
    return signed(json.dumps(order(serial, **more)))


def until(what: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Wait for a condition; what it was in the end."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Answer:
    """To a request."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class World:
    """The folders of a keeper, and the keeper while there is one."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    lives: list[Path] = field(default_factory=list)
    """What the keepers said."""

    def __post_init__(self) -> None:
        self.config, self.state, self.socket = (self.folder / name for name in ("config", "state", "dstack.sock"))
        for path in (self.node, self.relay, self.state, self.folder / "run"):
            path.mkdir(parents=True)

    @property
    def node(self) -> Path:
        return self.config / "node"

    @property
    def relay(self) -> Path:
        return self.config / "relay"

    @property
    def said(self) -> str:
        """Everything that keepers printed."""
        return "".join(path.read_text() for path in self.lives)

    @contextmanager
    def keeper(self, **more: object) -> Iterator["World"]:
        """A life of the keeper; it ends well."""
        self.lives.append(self.folder / f"log-{len(self.lives)}")
        with (
            self.lives[-1].open("wb") as log,
            subprocess.Popen(self._command(**more), cwd=PACKAGE, stdout=log, stderr=log) as self.process,
        ):
            try:
                self.port = until(self._port)
                yield self
            finally:
                self.process.terminate()
                assert self.process.wait(SECONDS) == 0

    def _command(self, **more: object) -> list[str]:
        options = {
            "network": "vpn",
            "node": "node-a",
            "signer": SIGNER.hex(),
            "listen": f"{HOST}:0",
            "socket": self.socket,
            "config": self.config,
            "state": self.state,
            "run": self.folder / "run",
        }
        arguments = [f"--{name}={value}" for name, value in (options | more).items()]
        return [sys.executable, "-m", "dstack_node", "serve", *arguments]

    def _port(self) -> int:
        assert self.process
        assert self.process.poll() is None, self.said
        _, found, rest = self.lives[-1].read_text().partition(f"listens on {HOST}:")
        return int(rest.split()[0]) if found and "\n" in rest else 0

    def health(self) -> tuple[int, str]:
        """Status and words of the health check."""
        command = [sys.executable, "-m", "dstack_node", "health", f"--run={self.folder / 'run'}"]
        done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=False, timeout=SECONDS)
        return done.returncode, done.stdout

    # --- HTTP

    def ask(self, method: str, target: str, body: bytes | None = None) -> Answer:
        """One request."""
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=SECONDS)) as connection:
            connection.request(method, target, body)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read().decode())

    def put(self, serial: int = 1, **more: Any) -> Answer:
        """An order of the operator's."""
        return self.ask("PUT", "/order", request(serial, **more))

    def evidence(self, epoch: int = 1, nonce: bytes = NONCE) -> Answer:
        """The answer to a question for evidence."""
        return self.ask("GET", f"/evidence?epoch={epoch}&nonce={nonce.hex()}")

    def missing(self) -> list[str]:
        """Who has not applied what was ordered."""
        return list(self.ask("GET", "/state").json["missing"])

    # --- the other side of the exchange

    def private_key(self) -> PrivateKey:
        """The one in the node's configuration."""
        first, second = (self.node / "wg0.conf").read_text().splitlines()[:2]
        assert first == "[Interface]"
        return PrivateKey.parse(second.removeprefix("PrivateKey = "))

    def moment(self, folder: str = "node") -> int:
        """In milliseconds since 1970."""
        return int((self.config / folder / "switch-at").read_text())

    def apply(self, *folders: Path) -> None:
        """What the reader of a folder does: withdraw the question, check all, acknowledge."""
        for folder in folders or (self.node, self.relay):
            (folder / "asked").unlink()
            sums = (folder / CHECKSUMS).read_text()
            for line in sums.splitlines():
                digest, name = line.split("  ")
                assert sha256((folder / name).read_bytes()).hexdigest() == digest
            (folder / "applied").write_text(sums)

    def holds_secret(self, secret: bytes | str) -> list[str]:
        """Files but the node's configuration that hold a secret; it must be in none."""
        wanted = secret.encode() if isinstance(secret, str) else secret
        paths = [Path(folder) / name for folder, _, names in os.walk(self.folder) for name in names]
        files = [path for path in paths if path.is_file() and path != self.node / "wg0.conf"]
        return [path.name for path in files if wanted in path.read_bytes()]
