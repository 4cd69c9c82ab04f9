"""The relay of a third, where two meet: lets in only who has the meeting's key, and hands on what it cannot read."""

import asyncio
import hmac
import os
from collections.abc import Callable, Sequence

from udp_over_tcp import meeting
from udp_over_tcp.connection import Connection
from udp_over_tcp.frames import Datagram, joined
from udp_over_tcp.settings import Place

NONCE = 32  # bytes


class MeetingPlace:
    """Hands on between the two of one pair."""

    def __init__(self, settings: Place) -> None:
        self._key = settings.key
        self._guests: dict[bytes, Connection] = {}
        self.meeting = meeting.name_of(settings.key)

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
        deadline = asyncio.get_running_loop().call_later(meeting.SILENCE, connection.end, "gave no proof in time")

        def judge(batch: Sequence[Datagram]) -> None:
            deadline.cancel()
            if side in meeting.SIDES and hmac.compare_digest(bytes(batch[0]), meeting.proof(self._key, nonce, side)):
                seated()
                self._seat(connection, side)
            else:
                connection.end("gave no proof")

        connection.serve(judge, meeting.SILENCE)
        connection.carry([joined([nonce])])

    def _seat(self, connection: Connection, side: bytes) -> None:
        other = meeting.SIDES[1 - meeting.SIDES.index(side)]
        before = self._guests.pop(side, None)
        if before:
            before.end("another took its place")
        self._guests[side] = connection
        connection.ended.add_done_callback(lambda _: self._left(connection, side, other))
        connection.serve(lambda batch: self._hand_on(connection, other, batch), meeting.SILENCE)
        self._tell(side, meeting.THERE if other in self._guests else meeting.AWAY)
        self._tell(other, meeting.THERE)

    def _hand_on(self, connection: Connection, other: bytes, batch: Sequence[Datagram]) -> None:
        content, signals = meeting.split(batch)
        if signals:
            connection.carry([joined([meeting.ALIVE])])
        guest = self._guests.get(other)
        if content and guest:
            guest.carry([joined(content)])

    def _left(self, connection: Connection, side: bytes, other: bytes) -> None:
        if self._guests.get(side) is connection:
            del self._guests[side]
            self._tell(other, meeting.AWAY)

    def _tell(self, side: bytes, signal: bytes) -> None:
        guest = self._guests.get(side)
        if guest:
            guest.carry([joined([signal])])
