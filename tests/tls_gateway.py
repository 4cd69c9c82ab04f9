"""A gateway as stands before DStack's virtual machines: takes TLS off, and passes the stream on."""

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

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
    to: Address
    asked: list[str | None] = field(default_factory=list)
    """Names that clients sent as SNI."""
    passed: int = 0
    """Bytes, in both directions."""

    async def open(self, host: str) -> asyncio.Server:
        """Serve from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.file, self.certificate.key)
        context.sni_callback = lambda _, name, __: self.asked.append(name)
        return await asyncio.start_server(self._serve, host, 0, ssl=context)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            inner_reader, inner_writer = await asyncio.open_connection(*self.to)
            writers.append(inner_writer)
            await asyncio.gather(self._copy(reader, inner_writer), self._copy(inner_reader, writer))
        except (OSError, asyncio.CancelledError):
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
