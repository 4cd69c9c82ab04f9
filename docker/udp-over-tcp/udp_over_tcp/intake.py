"""What all links read with."""

import asyncio
import time

SIZE = 1 << 18  # bytes; a batch of UDP, or what TCP has at once
MUCH = 1 << 15  # bytes of one read; who sends so much sends more
PAUSE = 200e-6  # seconds


class Intake:
    """A buffer, and a short pause after much came.

    What comes meanwhile is handled in one go, which costs everybody fewer wake-ups: interrupt coalescing, as network
    cards do it (ethtool(8), --coalesce). A fast transfer gains an eighth on two cores; single packets do not wait.
    """

    def __init__(self) -> None:
        self.buffer = bytearray(SIZE)
        """Holds what was read last, until somebody else reads."""
        self._loop = asyncio.get_running_loop()
        self._pausing = False

    def came(self, count: int) -> None:
        """So many bytes were read at once."""
        if count >= MUCH and not self._pausing:
            self._pausing = True
            self._loop.call_soon(self._pause)  # once for all links that read in this turn

    def _pause(self) -> None:
        self._pausing = False
        time.sleep(PAUSE)  # the loop's own timers are too coarse
