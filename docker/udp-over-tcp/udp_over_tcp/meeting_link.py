"""Either end of a meeting: holds a connection to each relay, and sends by the first that has the other at hand."""

import asyncio
from collections.abc import Callable, Sequence

from udp_over_tcp import connect, datagrams, meeting
from udp_over_tcp.connection import Connection, Outbox
from udp_over_tcp.frames import Datagram, framed, joined
from udp_over_tcp.intake import Intake
from udp_over_tcp.log import say
from udp_over_tcp.settings import Meeting, Way

READS = 8  # batches, before other links have their turn


class MeetingWay:
    """A connection to one of the relays, and another whenever it ends."""

    def __init__(
        self, settings: Way, side: int, intake: Intake, deliver: Callable[[Sequence[Datagram]], None], label: str
    ) -> None:
        self.name = settings.name
        self.is_open = False
        """Whether the other is there."""
        self._settings = settings
        self._side = meeting.SIDES[side]
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
        connection = Connection(tcp, self._answer, self._intake, meeting.SILENCE, Outbox())
        self._connection = connection
        hello = meeting.HELLO + meeting.name_of(self._settings.key) + self._side
        connection.carry([joined([hello])])
        try:
            return await connection.ended
        finally:
            self._connection, self.is_open = None, False

    def _answer(self, batch: Sequence[Datagram]) -> None:
        """Prove what the relay asks for first."""
        connection = self._connection
        if connection:
            connection.serve(self._take, meeting.SILENCE)
            connection.carry([joined([meeting.proof(self._settings.key, bytes(batch[0]), self._side)])])
            self._beat(connection)

    def _take(self, batch: Sequence[Datagram]) -> None:
        content, signals = meeting.split(batch)
        for signal in signals:
            self._hear(signal)
        if content:
            self._deliver(content)

    def _hear(self, signal: bytes) -> None:
        if signal in (meeting.THERE, meeting.AWAY) and self.is_open != (signal == meeting.THERE):
            self.is_open = signal == meeting.THERE
            say(f"{self._label}: the other is {'there' if self.is_open else 'not there'}")

    def _beat(self, connection: Connection) -> None:
        if not connection.ended.done():
            connection.carry([joined([meeting.ALIVE])])
            asyncio.get_running_loop().call_later(meeting.BEAT, self._beat, connection)


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
            if batch.source == self._settings.peer:
                blocks.append(framed(memoryview(self._intake.buffer)[: batch.length], batch.size))
        way = next((way for way in self._ways if way.is_open), None)
        if blocks and way:
            way.carry(blocks)

    def _deliver(self, batch: Sequence[Datagram]) -> None:
        datagrams.send(self._udp, batch, self._settings.peer)
