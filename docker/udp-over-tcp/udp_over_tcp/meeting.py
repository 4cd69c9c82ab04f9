"""Two that nobody reaches meet at the relay of a third, which hands on what it cannot read.

Either connects there and names the meeting; proves, on a number drawn for it, that it has the meeting's key; and from
then on what one sends comes to the other. Several such relays are held ready: each end sends by the first that has the
other at hand, and takes what comes by any.

On the connection, beside the datagrams, which are never that short, frames of one byte: the relay tells whether the
other is there, and either end that it lives.
"""

import asyncio
import hmac
import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from ipaddress import IPv4Address

from udp_over_tcp import connect, datagrams
from udp_over_tcp.connection import Connection, Outbox
from udp_over_tcp.frames import Datagram, framed, joined
from udp_over_tcp.intake import Intake
from udp_over_tcp.log import say
from udp_over_tcp.settings import Meeting, Place, Way

HELLO = b"dstack-vpn meeting 1 "  # and the name
NAME = 16  # bytes
NONCE = 32  # bytes
SIDES = (b"\0", b"\1")
THERE, AWAY, ALIVE = b"+", b"-", b"."
BEAT = 2  # seconds between two signs of life
SILENCE = 6  # seconds without one: dead; 1 % of loss may delay one for long
READS = 8  # batches, before other links have their turn


def name_of(key: bytes) -> bytes:
    """What a meeting is called on the wire, which tells nothing of who meets."""
    return sha256(b"name" + key).digest()[:NAME]


def proof(key: bytes, nonce: bytes, side: bytes) -> bytes:
    """What only a side that has the key can say (HMAC: RFC 2104)."""
    return hmac.digest(key, HELLO + nonce + side, "sha256")


def is_hello(datagram: Datagram) -> bool:
    """Whether it begins a meeting; no datagram of WireGuard looks like that."""
    return bytes(datagram[: len(HELLO)]) == HELLO


def split(batch: Sequence[Datagram]) -> tuple[Sequence[Datagram], list[bytes]]:
    """Datagrams and signals; only the last, which may be shorter, or all of a batch are signals."""
    if len(batch[-1]) > 1:
        return batch, []
    signals = [bytes(one) for one in batch if len(one) <= 1]
    return [one for one in batch if len(one) > 1], signals


# --- at the relay of a third


class MeetingPlace:
    """Hands on between the two of one pair."""

    def __init__(self, settings: Place) -> None:
        self._key = settings.key
        self._guests: dict[bytes, Connection] = {}
        self.meeting = name_of(settings.key)

    @property
    def name(self) -> str:
        """For people."""
        return f"meeting {self.meeting.hex()}"

    @property
    def state(self) -> str:
        """What it does."""
        return f"{len(self._guests)} of 2 there"

    async def close(self) -> None:
        """Send both away."""
        for connection in list(self._guests.values()):
            connection.end("closed")

    def receive(self, connection: Connection, hello: bytes, seated: Callable[[], object]) -> None:
        """Ask who says hello for a proof, and tell when it was good; who has none in time is sent away."""
        side, nonce = hello[-1:], os.urandom(NONCE)
        deadline = asyncio.get_running_loop().call_later(SILENCE, connection.end, "gave no proof in time")

        def judge(batch: Sequence[Datagram]) -> None:
            deadline.cancel()
            if side in SIDES and hmac.compare_digest(bytes(batch[0]), proof(self._key, nonce, side)):
                seated()
                self._seat(connection, side)
            else:
                connection.end("gave no proof")

        connection.serve(judge, SILENCE)
        connection.carry([joined([nonce])])

    def _seat(self, connection: Connection, side: bytes) -> None:
        other = SIDES[1 - SIDES.index(side)]
        before = self._guests.pop(side, None)
        if before:
            before.end("another took its place")
        self._guests[side] = connection
        connection.ended.add_done_callback(lambda _: self._left(connection, side, other))
        connection.serve(lambda batch: self._hand_on(connection, other, batch), SILENCE)
        self._tell(side, THERE if other in self._guests else AWAY)
        self._tell(other, THERE)

    def _hand_on(self, connection: Connection, other: bytes, batch: Sequence[Datagram]) -> None:
        content, signals = split(batch)
        if signals:
            connection.carry([joined([ALIVE])])
        guest = self._guests.get(other)
        if content and guest:
            guest.carry([joined(content)])

    def _left(self, connection: Connection, side: bytes, other: bytes) -> None:
        if self._guests.get(side) is connection:
            del self._guests[side]
            self._tell(other, AWAY)

    def _tell(self, side: bytes, signal: bytes) -> None:
        guest = self._guests.get(side)
        if guest:
            guest.carry([joined([signal])])


# --- at either of the two


class MeetingWay:
    """A connection to one of the relays, and another whenever it ends."""

    def __init__(
        self, settings: Way, side: int, intake: Intake, deliver: Callable[[Sequence[Datagram]], None], label: str
    ) -> None:
        self.name = settings.name
        self.is_open = False
        """Whether the other is there."""
        self._settings = settings
        self._side = SIDES[side]
        self._intake = intake
        self._deliver = deliver
        self._label = f"{label} by {settings.name}"
        self._connection: Connection | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Give it up."""
        if self._connection:
            self._connection.end("closed")
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def carry(self, blocks: Sequence[bytes]) -> None:
        """Send frames; nothing when there is no connection."""
        if self._connection:
            self._connection.carry(blocks)

    async def _run(self) -> None:
        pause = connect.Pause()
        while True:
            pause.starts()
            say(f"{self._label}: {await self._one_connection()}")
            await pause.rest()

    async def _one_connection(self) -> str:
        try:
            tcp = await connect.connected(self._settings.forward, self._settings.tls)
        except OSError as error:
            return f"no connection: {error}"
        connection = Connection(tcp, self._answer, self._intake, SILENCE, Outbox())
        self._connection = connection
        hello = HELLO + name_of(self._settings.key) + self._side
        connection.carry([joined([hello])])
        try:
            return await connection.ended
        finally:
            self._connection, self.is_open = None, False

    def _answer(self, batch: Sequence[Datagram]) -> None:
        """Prove what the relay asks for first."""
        connection = self._connection
        if connection:
            connection.serve(self._take, SILENCE)
            connection.carry([joined([proof(self._settings.key, bytes(batch[0]), self._side)])])
            self._beat(connection)

    def _take(self, batch: Sequence[Datagram]) -> None:
        content, signals = split(batch)
        for signal in signals:
            self._hear(signal)
        if content:
            self._deliver(content)

    def _hear(self, signal: bytes) -> None:
        if signal in (THERE, AWAY) and self.is_open != (signal == THERE):
            self.is_open = signal == THERE
            say(f"{self._label}: the other is {'there' if self.is_open else 'not there'}")

    def _beat(self, connection: Connection) -> None:
        if not connection.ended.done():
            connection.carry([joined([ALIVE])])
            asyncio.get_running_loop().call_later(BEAT, self._beat, connection)


class MeetingLink:
    """One listening UDP port, whose datagrams go by the first way that has the other at hand."""

    def __init__(self, settings: Meeting, intake: Intake) -> None:
        """`intake` is shared by all links."""
        self._settings = settings
        self._intake = intake
        self._udp = datagrams.opened()
        self._udp.bind(settings.listen)
        self._ways = [MeetingWay(way, settings.side, intake, self._deliver, self.name) for way in settings.ways]
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._udp, self._read)

    @property
    def name(self) -> str:
        """For people."""
        return f"udp {':'.join(map(str, self._settings.listen))} -> meeting"

    @property
    def state(self) -> str:
        """What it does."""
        return ", ".join(f"{way.name}: {'there' if way.is_open else 'not there'}" for way in self._ways)

    async def close(self) -> None:
        """Give up the port and the ways."""
        self._loop.remove_reader(self._udp)
        self._udp.close()
        await asyncio.gather(*(way.close() for way in self._ways))

    def _read(self) -> None:
        blocks = []
        for batch in datagrams.batches(self._udp, self._intake.buffer, READS):
            self._intake.came(batch.length)
            if batch.source == self._settings.peer or self._may_send(batch.source[0]):
                blocks.append(framed(memoryview(self._intake.buffer)[: batch.length], batch.size))
        way = next((way for way in self._ways if way.is_open), None)
        if blocks and way:
            way.carry(blocks)

    def _may_send(self, source: str) -> bool:
        return any(IPv4Address(source) in one for one in self._settings.sources)

    def _deliver(self, batch: Sequence[Datagram]) -> None:
        datagrams.send(self._udp, batch, self._settings.peer)
