"""Connections of strangers: a bounded number, each for one request, which has to come soon."""

import asyncio
from typing import Any

from aiohttp import web

MOST = 32
REQUEST_SECONDS = 10.0
ANSWER_SECONDS = 60.0  # a quote waits for those before it
LINGER_SECONDS = 2.0  # in which who sends too much can read that


class Door:
    """Makes the connections of a server. `seconds`: until a request has to be there.

    When there are too many, the one goes whose request is due the longest.
    """

    def __init__(self, server: web.Server, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._connections: dict[Connection, None] = {}

    def __call__(self) -> "Connection":
        """A connection that is about to be made."""
        return Connection(self, self._seconds, self._server)

    def enter(self, connection: "Connection") -> None:
        """Let one in."""
        self._connections[connection] = None
        if len(self._connections) > MOST:
            waiting = (one for one in self._connections if not one.is_complete)
            surplus = next(waiting, connection)
            surplus.abort()
            self.leave(surplus)  # it is lost a little later, when there may be more

    def leave(self, connection: "Connection") -> None:
        """Forget one that is lost."""
        self._connections.pop(connection, None)

    def close(self) -> None:
        """Give up all of them."""
        for connection in list(self._connections):
            connection.abort()


class Connection(web.RequestHandler):
    """One connection. `seconds`: until its request has to be there."""

    def __init__(self, door: Door, seconds: float, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, lingering_time=LINGER_SECONDS, auto_decompress=False)
        self._door = door
        self._deadline = loop.call_later(seconds, self.abort)
        self.is_complete = False
        """Whether all of the request has come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._door.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._deadline.cancel()
        self._door.leave(self)
        super().connection_lost(exc)

    def completed(self) -> None:
        """The request has come; now it is about the answer."""
        self.is_complete = True
        self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.abort)

    def abort(self) -> None:
        """Close it at once, whatever is still to be sent."""
        transport: Any = self.transport
        if transport is not None:
            transport.abort()
