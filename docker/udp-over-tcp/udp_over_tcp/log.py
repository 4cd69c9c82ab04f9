"""What the relay says: a line a thing, with the time, and no more of them than anybody reads."""

import time

MOST = 20  # lines
WINDOW = 10.0  # seconds


class Log:
    """Prints lines, and counts those that are too many."""

    def __init__(self) -> None:
        self._since = 0.0
        self._lines = 0

    def say(self, text: str) -> None:
        """Print a line, unless there were too many just now."""
        now = time.monotonic()
        if now - self._since > WINDOW:
            if self._lines > MOST:
                _print(f"{self._lines - MOST} more lines were left out")
            self._since, self._lines = now, 0
        self._lines += 1
        if self._lines <= MOST:
            _print(text)


def _print(text: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, flush=True)


say = Log().say
