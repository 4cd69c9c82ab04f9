"""One TCP connection and what it carries."""

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from udp_over_tcp.frames import Datagram, Stream
from udp_over_tcp.intake import Intake

READS = 4  # of a full buffer, before other links have their turn
MOST_BLOCKS = 64  # of one system call
ROOM = 1 << 22  # bytes that wait here
PATIENCE = 0.1  # seconds that they wait; a queue that is good may last so long (RFC 8289, 4.3)
UNSENT = 1 << 17  # bytes that wait in the kernel; more would be delay that no queue of ours can cut
KEEPALIVE = {socket.TCP_KEEPIDLE: 20, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}  # seconds, seconds, probes
UNACKNOWLEDGED = 30_000  # milliseconds until a half-open connection is given up (tcp(7))
WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Deliver = Callable[[Sequence[Datagram]], None]


class Outbox:
    """What waits to be sent. What waits too long, or has no room, goes, the oldest first and in whole blocks.

    Waiting would delay what comes after; but a TCP connection inside the tunnel needs some room for its bursts.
    """

    def __init__(self, room: int = ROOM, patience: float = PATIENCE) -> None:
        """`room` is in bytes, `patience` in seconds."""
        self._blocks: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._sent = 0  # of the first block
        self._offered = False
        self._room = room
        self._patience = patience
        self.dropped = 0
        """Blocks."""

    def __len__(self) -> int:
        return self._bytes

    def put(self, blocks: Iterable[bytes]) -> None:
        """Add blocks. One of which a part is sent already must be sent to its end."""
        now = time.monotonic()
        for block in blocks:
            self._blocks.append((now, block))
            self._bytes += len(block)
        oldest = 1 if self._sent or self._offered else 0
        while len(self._blocks) > oldest + 1 and self._must_go(now - self._blocks[oldest][0]):
            self._bytes -= len(self._blocks[oldest][1])
            del self._blocks[oldest]
            self.dropped += 1

    def _must_go(self, waited: float) -> bool:
        return self._bytes > self._room or waited > self._patience

    def following(self) -> list[memoryview]:
        """What comes next, as much as one system call may send."""
        views = [memoryview(block) for _, block in islice(self._blocks, MOST_BLOCKS)]
        return [views[0][self._sent :], *views[1:]]

    def keep(self) -> None:
        """The first block must come next, whatever waits: TLS has begun with it."""
        self._offered = True

    def took(self, count: int) -> None:
        """So many bytes were sent."""
        self._offered = False
        self._sent += count
        while self._blocks and self._sent >= len(self._blocks[0][1]):
            _, block = self._blocks.popleft()
            self._bytes -= len(block)
            self._sent -= len(block)


class Connection:
    """Writes frames, and delivers the datagrams that come, until either side or a time-out ends it."""

    def __init__(self, tcp: socket.socket, deliver: Deliver, intake: Intake, idle: float, outbox: Outbox) -> None:
        """`idle`: seconds without a byte from the other end after which it is taken for dead; 0 never does."""
        self._loop = asyncio.get_running_loop()
        self._tcp = tcp
        self._is_tls = isinstance(tcp, ssl.SSLSocket)
        self._deliver = deliver
        self._stream = Stream(intake.buffer)
        self._intake = intake
        self._outbox = outbox
        self._idle = idle
        self._heard = self._loop.time()
        self._writing = False
        self.ended: asyncio.Future[str] = self._loop.create_future()
        """Why it is no more."""
        self._loop.add_reader(tcp, self._read)
        self._watch = self._loop.call_later(idle, self._check_idle) if idle else None
        self._write()

    def serve(self, deliver: Deliver, idle: float) -> None:
        """From now on, deliver there, and wait so many seconds for a byte; 0: for ever."""
        self._deliver, self._idle = deliver, idle
        if self._watch:
            self._watch.cancel()
        self._watch = self._loop.call_later(idle, self._check_idle) if idle else None

    def carry(self, blocks: Iterable[bytes]) -> None:
        """Send frames, as soon as the other end takes them."""
        self._outbox.put(blocks)
        if not self._writing:
            self._write()

    def end(self, reason: str) -> None:
        """Close it, once."""
        if self.ended.done():
            return
        self._loop.remove_reader(self._tcp)
        self._loop.remove_writer(self._tcp)
        if self._watch:
            self._watch.cancel()
        self._tcp.close()
        self.ended.set_result(reason)

    def _write(self) -> None:
        try:
            while self._outbox:
                self._outbox.took(self._sent(self._outbox.following()))
        except WAIT:
            if self._is_tls:
                self._outbox.keep()
            self._set_writing(on=True)
        except OSError as error:
            self.end(str(error))
        else:
            self._set_writing(on=False)

    def _sent(self, blocks: Sequence[memoryview]) -> int:
        return self._tcp.send(blocks[0]) if self._is_tls else self._tcp.sendmsg(blocks)  # ssl has no sendmsg

    def _set_writing(self, *, on: bool) -> None:
        if on and not self._writing:
            self._loop.add_writer(self._tcp, self._write)
        elif self._writing and not on:
            self._loop.remove_writer(self._tcp)
        self._writing = on

    def _read(self) -> None:
        try:
            for _ in range(READS):
                space = self._stream.space()
                count = self._tcp.recv_into(space)
                if not count:
                    self.end("the other end closed it")
                    return
                for batch in self._stream.datagrams(count):
                    self._deliver(batch)
                self._heard = self._loop.time()
                self._intake.came(count)
                if count < len(space) and not self._is_tls:
                    return  # there is no more now
        except WAIT:
            return
        except OSError as error:
            self.end(str(error))
        else:
            self._loop.call_soon(self._read_on)  # TLS may hold bytes that no poll tells of

    def _read_on(self) -> None:
        if not self.ended.done():
            self._read()

    def _check_idle(self) -> None:
        left = self._heard + self._idle - self._loop.time()
        if left <= 0:
            self.end(f"nothing came for {self._idle:g} s")
        else:
            self._watch = self._loop.call_later(left, self._check_idle)


def prepared(tcp: socket.socket) -> None:
    """Set what keeps delay low and finds out that the other end is gone."""
    tcp.settimeout(0)
    options = {socket.TCP_NODELAY: 1, socket.TCP_NOTSENT_LOWAT: UNSENT, socket.TCP_USER_TIMEOUT: UNACKNOWLEDGED}
    for option, value in (options | KEEPALIVE).items():
        tcp.setsockopt(socket.IPPROTO_TCP, option, value)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
