"""A gateway as stands before DStack's virtual machines: takes TLS off, and passes the stream on."""

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

Address = tuple[str, int]
CHUNK = 65536


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate that vouches for itself, and its key."""

    file: Path
    key: Path

    @property
    def text(self) -> str:
        """As PEM."""
        return self.file.read_text()


def certified(folder: Path, name: str) -> Certificate:
    """A new certificate for a name, valid for two days."""
    made = Certificate(file=folder / f"{name}.pem", key=folder / f"{name}.key")
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    files = ["-keyout", str(made.key), "-out", str(made.file)]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*command, *names, *files, "-days", "2"], check=True, capture_output=True)
    return made


@dataclass
class Gateway:
    """One port."""

    certificate: Certificate
    to: Address | Callable[[str], Address]
    """Where connections go on; by the name that was asked for, if it depends on that. Raises OSError for none."""
    most: float | None = None
    """Seconds that a connection lives at most."""
    asked: list[str | None] = field(default_factory=list)
    """Names that clients sent as SNI."""
    passed: int = 0
    """Bytes, in both directions."""
    _names: WeakKeyDictionary[Any, str] = field(default_factory=WeakKeyDictionary)

    async def open(self, host: str) -> asyncio.Server:
        """Serve from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.file, self.certificate.key)
        context.sni_callback = self._note
        return await asyncio.start_server(self._serve, host, 0, ssl=context)

    def _note(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        self.asked.append(name)
        self._names[connection] = name or ""

    def _target(self, writer: asyncio.StreamWriter) -> Address:
        name = self._names.get(writer.get_extra_info("ssl_object"), "")
        return self.to(name) if callable(self.to) else self.to

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            inner_reader, inner_writer = await asyncio.open_connection(*self._target(writer))
            writers.append(inner_writer)
            async with asyncio.timeout(self.most):
                await asyncio.gather(self._copy(reader, inner_writer), self._copy(inner_reader, writer))
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            for one in writers:
                one.transport.abort()
                with suppress(OSError):
                    await one.wait_closed()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                self.passed += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()


@contextmanager
def serving(gateway: Gateway, host: str) -> Iterator[int]:
    """Serve in a thread of its own; at which port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(gateway.open(host), loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end_all(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end_all(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
