"""Links on the loopback interface, and who stands at their ends."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from ipaddress import IPv4Network
from typing import Any

from udp_over_tcp import datagrams
from udp_over_tcp.datagrams import Address
from udp_over_tcp.incoming import IncomingLink
from udp_over_tcp.intake import Intake
from udp_over_tcp.outgoing import OutgoingLink
from udp_over_tcp.settings import Incoming, Outgoing

HOST = "127.0.0.1"
EVERYBODY = (IPv4Network("127.0.0.0/8"),)
SECONDS = 10


def free(kind: socket.SocketKind) -> Address:
    """An address that nobody has now."""
    with closing(socket.socket(socket.AF_INET, kind)) as probe:
        probe.bind((HOST, 0))
        return HOST, int(probe.getsockname()[1])


class Udp:
    """WireGuard's place at an end of a link."""

    def __init__(self, to: Address | None = None) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, datagrams.BUFFER)
        self.socket.bind((HOST, 0))
        self.socket.settimeout(0)
        self.address: Address = self.socket.getsockname()
        self.to = to
        """Where datagrams go; whoever spoke last, if nowhere else."""

    async def send(self, datagram: bytes) -> None:
        assert self.to
        await asyncio.get_running_loop().sock_sendto(self.socket, datagram, self.to)

    async def receive(self, seconds: float = SECONDS) -> bytes:
        async with asyncio.timeout(seconds):
            datagram, self.to = await asyncio.get_running_loop().sock_recvfrom(self.socket, 1 << 16)
        return bytes(datagram)

    async def is_silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a while."""
        try:
            await self.receive(seconds)
        except TimeoutError:
            return True
        return False


async def until(what: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(SECONDS):
        while not what():  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.01)


def outgoing(forward: Address, **more: Any) -> Outgoing:
    settings: dict[str, Any] = {"listen": free(socket.SOCK_DGRAM), "sources": EVERYBODY, "idle": 0}
    return Outgoing(**settings | {"forward": forward} | more)


def incoming(forward: Address, **more: Any) -> Incoming:
    settings: dict[str, Any] = {"listen": free(socket.SOCK_STREAM), "sources": EVERYBODY, "idle": 0}
    return Incoming(**settings | {"forward": forward, "connections": 8, "connections_of_one": 4} | more)


def opened(settings: Incoming | Outgoing, link: OutgoingLink | None) -> IncomingLink | OutgoingLink:
    """One end of a link; connections to it are for another one, if there is one."""
    if isinstance(settings, Outgoing):
        return OutgoingLink(settings, Intake())
    return IncomingLink(settings, Intake(), lambda _: link, lambda _: None)


@asynccontextmanager
async def running(settings: Incoming | Outgoing) -> AsyncIterator[IncomingLink | OutgoingLink]:
    """One end of a link."""
    link = opened(settings, None)
    try:
        yield link
    finally:
        await link.close()


@asynccontextmanager
async def both(**more: Any) -> AsyncIterator[tuple[Udp, Udp]]:
    """A link with both ends: who speaks first, and who answers."""
    last = Udp()
    arriving = incoming(last.address)
    leaving = outgoing(arriving.listen, **more)
    first = Udp(leaving.listen)
    with closing(first.socket), closing(last.socket):
        async with running(arriving), running(leaving):
            yield first, last


async def accepted(server: socket.socket) -> socket.socket:
    """The next connection to a listening socket."""
    async with asyncio.timeout(SECONDS):
        tcp, _ = await asyncio.get_running_loop().sock_accept(server)
    return tcp


async def read(tcp: socket.socket, count: int) -> bytes:
    """So many bytes from a connection."""
    found = b""
    async with asyncio.timeout(SECONDS):
        while len(found) < count:
            more = await asyncio.get_running_loop().sock_recv(tcp, count - len(found))
            assert more, f"it ended after {found!r}"
            found += more
    return found


async def ends(tcp: socket.socket) -> bool:
    """Wait for the other end to close a connection."""
    async with asyncio.timeout(SECONDS):
        try:
            return await asyncio.get_running_loop().sock_recv(tcp, 1) == b""
        except ConnectionError:
            return True


def server() -> socket.socket:
    """A listening socket that is no relay."""
    listening = socket.create_server((HOST, 0))
    listening.settimeout(0)
    return listening
