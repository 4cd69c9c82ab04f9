"""Answers who asks whether UDP gets here."""

import asyncio
from ipaddress import IPv4Address

from udp_over_tcp import datagrams
from udp_over_tcp.intake import Intake
from udp_over_tcp.settings import Echo

LONGEST = 16  # bytes; an answer is no longer than its question
READS = 8


class EchoPort:
    """One UDP port."""

    def __init__(self, settings: Echo, intake: Intake) -> None:
        """`intake` is shared by all links."""
        self._settings = settings
        self._intake = intake
        self._udp = datagrams.opened()
        self._udp.bind(settings.listen)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._udp, self._read)

    @property
    def name(self) -> str:
        """For people."""
        return f"udp echo {':'.join(map(str, self._settings.listen))}"

    @property
    def state(self) -> str:
        """What it does."""
        return "answers"

    async def close(self) -> None:
        """Give up the port."""
        self._loop.remove_reader(self._udp)
        self._udp.close()

    def _read(self) -> None:
        for batch in datagrams.batches(self._udp, self._intake.buffer, READS):
            known = any(IPv4Address(batch.source[0]) in one for one in self._settings.sources)
            if known and batch.length <= LONGEST:
                datagrams.send(self._udp, [memoryview(self._intake.buffer)[: batch.length]], batch.source)
