"""Makes TCP connections, with TLS where it is wanted."""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from udp_over_tcp.connection import prepared
from udp_over_tcp.datagrams import Address
from udp_over_tcp.settings import Tls

CONNECT_SECONDS = 10
SHORTEST, LONGEST = 0.1, 5.0  # seconds between two attempts
STEADY = 10  # seconds; a connection that lived so long was a good one


class Pause:
    """Between two attempts: the longer, the sooner the last one failed; not all links at once."""

    def __init__(self) -> None:
        self._seconds = SHORTEST
        self._started = 0.0

    def starts(self) -> None:
        """An attempt begins."""
        self._started = time.monotonic()

    async def rest(self) -> None:
        """Wait, now that it ended."""
        lasted = time.monotonic() - self._started
        self._seconds = SHORTEST if lasted > STEADY else min(2 * self._seconds, LONGEST)
        await asyncio.sleep(random.uniform(self._seconds / 2, self._seconds))  # noqa: S311 (no secret)


async def connected(to: Address, tls: Tls | None) -> socket.socket:
    """A connection, ready for frames. Raises OSError; ssl.SSLError is one, for a certificate that is not good, too."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await _connected(to, tls)
    except TimeoutError:
        raise OSError(f"no answer within {CONNECT_SECONDS} s") from None


async def _connected(to: Address, tls: Tls | None) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(*to, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    tcp = socket.socket(family, kind, protocol)
    try:
        prepared(tcp)
        await loop.sock_connect(tcp, address)
        return await _wrapped(tcp, tls) if tls else tcp
    except BaseException:
        tcp.close()
        raise


async def _wrapped(tcp: socket.socket, tls: Tls) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=tls.authorities or None)
    wrapped = context.wrap_socket(tcp, server_hostname=tls.name, do_handshake_on_connect=False)
    try:
        await _shaken(wrapped)
    except BaseException:
        wrapped.close()
        raise
    return wrapped


async def _shaken(tls: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            return tls.do_handshake()
        except ssl.SSLWantReadError:
            await _ready(tls, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _ready(tls, loop.add_writer, loop.remove_writer)


async def _ready(tls: ssl.SSLSocket, add: Callable[..., Any], remove: Callable[..., Any]) -> None:
    event = asyncio.Event()
    add(tls, event.set)
    try:
        await event.wait()
    finally:
        remove(tls)
