"""From TCP to UDP: every connection gets a UDP socket, so that WireGuard tells its peers apart."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address

from udp_over_tcp import datagrams
from udp_over_tcp.connection import Connection, Outbox, prepared
from udp_over_tcp.frames import Datagram, framed
from udp_over_tcp.intake import Intake
from udp_over_tcp.log import say
from udp_over_tcp.meeting import HELLO, is_hello
from udp_over_tcp.meeting_place import MeetingPlace
from udp_over_tcp.outgoing import OutgoingLink
from udp_over_tcp.settings import Incoming

BACKLOG = 128
READS = 8  # batches, before other links have their turn
PAUSE = 1.0  # seconds, when there are no more file descriptors
MEMORY = 30.0  # seconds for which somebody who left may come back


class Caller:
    """A UDP socket and the connection it is for, or was for a moment ago.

    It waits for the next connection from the same address: to WireGuard that is still the same peer, which can be
    spoken to before it has spoken again.
    """

    def __init__(self, source: str, settings: Incoming, intake: Intake) -> None:
        self.source = source
        self.connection: Connection | None = None
        self._idle = settings.idle
        self._loop = asyncio.get_running_loop()
        self._intake = intake
        self._udp = datagrams.opened()
        self._udp.connect(settings.forward)
        self._loop.add_reader(self._udp, self._read)

    def take(self, tcp: socket.socket, greet: Callable[[Connection, bytes], None]) -> Connection:
        """Serve a connection, unless it greets first: then it has another purpose."""

        def first(batch: Sequence[Datagram]) -> None:
            if is_hello(batch[0]):
                self.connection = None
                greet(connection, bytes(batch[0]))
            else:
                connection.serve(self._deliver, self._idle)
                self._deliver(batch)

        connection = Connection(tcp, first, self._intake, self._idle, Outbox())
        self.connection = connection
        return connection

    def close(self) -> None:
        """Give up the socket; no connection is left."""
        self._loop.remove_reader(self._udp)
        self._udp.close()

    def _deliver(self, batch: Sequence[Datagram]) -> None:
        datagrams.send(self._udp, batch, None)

    def _read(self) -> None:
        blocks = []
        for batch in datagrams.batches(self._udp, self._intake.buffer, READS):
            self._intake.came(batch.length)
            blocks.append(framed(memoryview(self._intake.buffer)[: batch.length], batch.size))
        if blocks and self.connection:
            self.connection.carry(blocks)


class IncomingLink:
    """One listening TCP port."""

    def __init__(
        self,
        settings: Incoming,
        intake: Intake,
        link_to: Callable[[str], OutgoingLink | None],
        place_of: Callable[[bytes], MeetingPlace | None],
    ) -> None:
        """`intake` is shared by all; the others find the link that leads somewhere, and the place of a meeting."""
        self._link_to = link_to
        self._place_of = place_of
        self._settings = settings
        self._intake = intake
        self._callers: set[Caller] = set()
        self._unproved: dict[Connection, str] = {}
        self._loop = asyncio.get_running_loop()
        self._listener = socket.create_server(settings.listen, backlog=BACKLOG)
        self._listener.settimeout(0)
        self._loop.add_reader(self._listener, self._accept)

    @property
    def name(self) -> str:
        """For people."""
        listen, forward = (":".join(map(str, one)) for one in (self._settings.listen, self._settings.forward))
        return f"tcp {listen} -> udp {forward}"

    @property
    def state(self) -> str:
        """What it does."""
        return f"{len(self._connected())} connections"

    async def close(self) -> None:
        """Give up the port and all connections."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for caller in self._connected():
            caller.connection.end("closed")  # type: ignore[union-attr] # they have one
        for connection in list(self._unproved):
            connection.end("closed")
        await asyncio.sleep(0)  # so that all have heard
        for caller in self._callers:
            caller.close()
        self._callers.clear()

    def _connected(self) -> list[Caller]:
        return [caller for caller in self._callers if caller.connection]

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                try:
                    tcp, (source, _) = self._listener.accept()
                except BlockingIOError:
                    raise
                except OSError as error:
                    self._rest(error)
                    return
                self._take(tcp, source)

    def _rest(self, error: OSError) -> None:
        """Let those who wait do so for a while, instead of failing again at once."""
        say(f"{self.name}: {error}")
        self._loop.remove_reader(self._listener)
        self._loop.call_later(PAUSE, self._accept_again)

    def _accept_again(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _take(self, tcp: socket.socket, source: str) -> None:
        refusal = self._refusal(source)
        if refusal:
            say(f"{self.name}: {source} refused: {refusal}")
            tcp.close()
            return
        try:
            prepared(tcp)
            link = self._link_to(source)
            if link:
                say(f"{link.name}: {source} connected")
                link.take(tcp)
                return
            caller = self._caller(source)
        except OSError as error:
            say(f"{self.name}: {source}: {error}")
            tcp.close()
            return
        say(f"{self.name}: {source} connected")
        connection = caller.take(tcp, partial(self._greet, source))
        connection.ended.add_done_callback(lambda _: self._left(caller, connection))

    def _greet(self, source: str, connection: Connection, hello: bytes) -> None:
        """It counts as a connection until it is known to be one of a pair."""
        place = self._place_of(hello[len(HELLO) : -1])
        if place:
            self._unproved[connection] = source
            connection.ended.add_done_callback(lambda _: self._unproved.pop(connection, None))
            place.receive(connection, hello, lambda: self._unproved.pop(connection, None))
        else:
            connection.end("asked for a meeting that is not here")

    def _caller(self, source: str) -> Caller:
        """Who called from there before and left, else a new one."""
        waiting = [one for one in self._callers if one.source == source and not one.connection]
        caller = waiting[0] if waiting else Caller(source, self._settings, self._intake)
        self._callers.add(caller)
        return caller

    def _left(self, caller: Caller, connection: Connection) -> None:
        if caller.connection is connection:
            caller.connection = None
        say(f"{self.name}: {caller.source}: {connection.ended.result()}")
        self._loop.call_later(MEMORY, self._forget, caller)

    def _forget(self, caller: Caller) -> None:
        if caller in self._callers and not caller.connection:
            self._callers.remove(caller)
            caller.close()

    def _refusal(self, source: str) -> str:
        """Why nobody may connect from an address now; empty if they may."""
        if not any(IPv4Address(source) in one for one in self._settings.sources):
            return "not one of the sources"
        sources = [*(caller.source for caller in self._connected()), *self._unproved.values()]
        if len(sources) >= self._settings.connections:
            return f"there are {self._settings.connections} connections"
        if sources.count(source) >= self._settings.connections_of_one:
            return f"it has {self._settings.connections_of_one} connections"
        return ""
