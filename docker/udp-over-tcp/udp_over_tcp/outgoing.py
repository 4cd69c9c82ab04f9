"""From UDP to TCP: a connection as soon as there is something to carry, and another whenever one ends.

When it is known who speaks here, there is one at once, so that either end can speak first. A connection that comes from
where a mutual link leads is taken for this link, too: WireGuard then has one peer at one address, whoever connected.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address

from udp_over_tcp import connect, datagrams
from udp_over_tcp.connection import Connection, Outbox
from udp_over_tcp.frames import Datagram, framed
from udp_over_tcp.intake import Intake
from udp_over_tcp.log import say
from udp_over_tcp.settings import Outgoing

MOST_CONNECTIONS = 2  # both ends may connect at the same time
READS = 8  # batches, before other links have their turn
QUIET = 180  # seconds; a WireGuard session lives no longer (REJECT_AFTER_TIME: WireGuard paper, 6.2)


class OutgoingLink:
    """One listening UDP port, whose datagrams one TCP connection carries."""

    def __init__(self, settings: Outgoing, intake: Intake) -> None:
        """`intake` is shared by all links."""
        self._settings = settings
        self._intake = intake
        self._outbox = Outbox()
        self._connections: list[Connection] = []
        self._peer = settings.peer
        self._udp = datagrams.opened()
        self._udp.bind(settings.listen)
        self._loop = asyncio.get_running_loop()
        self._spoke = self._loop.time() - QUIET
        self._wanted = asyncio.Event()
        if settings.peer:
            self._wanted.set()
        self._loop.add_reader(self._udp, self._read)
        self._task = self._loop.create_task(self._run())

    @property
    def name(self) -> str:
        """For people."""
        listen, forward = (":".join(map(str, one)) for one in (self._settings.listen, self._settings.forward))
        return f"udp {listen} -> tcp {forward}"

    @property
    def state(self) -> str:
        """What it does."""
        if self._connections:
            return "connected"
        return "connecting" if self._wanted.is_set() else "waits for a datagram"

    async def close(self) -> None:
        """Give up the port and the connection."""
        self._loop.remove_reader(self._udp)
        self._udp.close()
        for connection in self._connections:
            connection.end("closed")
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # --- from UDP

    def _read(self) -> None:
        blocks = []
        for batch in datagrams.batches(self._udp, self._intake.buffer, READS):
            self._intake.came(batch.length)
            if batch.source == self._peer or self._may_send(batch.source[0]):
                self._peer = batch.source
                blocks.append(framed(memoryview(self._intake.buffer)[: batch.length], batch.size))
        if blocks:
            self._carry(blocks)

    def _may_send(self, source: str) -> bool:
        return any(IPv4Address(source) in one for one in self._settings.sources)

    def _carry(self, blocks: Sequence[bytes]) -> None:
        self._spoke = self._loop.time()
        self._wanted.set()
        if self._connections:
            self._connections[-1].carry(blocks)  # the newest: an older one may be half-open
        else:
            self._outbox.put(blocks)

    def _deliver(self, batch: Sequence[Datagram]) -> None:
        if self._peer:
            datagrams.send(self._udp, batch, self._peer)

    # --- to TCP

    def leads_to(self, address: str) -> bool:
        """Whether who connects from this address is its other end."""
        return self._settings.mutual and self._settings.forward[0] == address

    def take(self, tcp: socket.socket) -> Connection:
        """Carry over a connection, from now on."""
        connection = Connection(tcp, self._deliver, self._intake, self._settings.idle, self._outbox)
        self._outbox = Outbox()
        self._connections.append(connection)
        connection.ended.add_done_callback(lambda _: self._connections.remove(connection))
        if len(self._connections) > MOST_CONNECTIONS:
            self._connections[0].end("newer ones took its place")
        return connection

    async def _run(self) -> None:
        pause = connect.Pause()
        while True:
            await self._wanted.wait()
            while self._connections:
                await asyncio.wait([one.ended for one in self._connections])
            pause.starts()
            say(f"{self.name}: {await self._one_connection()}")
            if not self._settings.peer and self._loop.time() - self._spoke > QUIET:
                self._wanted.clear()
            await pause.rest()

    async def _one_connection(self) -> str:
        """Connect, and stay until it ends; why it did."""
        try:
            tcp = await connect.connected(self._settings.forward, self._settings.tls)
        except OSError as error:
            return f"no connection: {error}"
        say(f"{self.name}: connected")
        return await self.take(tcp).ended
