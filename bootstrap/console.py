"""What the user sees while a step runs. All of it goes to stderr, so that stdout stays free for `env` and for tests."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bootstrap.failure import BootstrapError

LINE_SECONDS = 30
WIDTH = 110


def say(text: str) -> None:
    """Print one line for the user."""
    print(text, file=sys.stderr, flush=True)


class Step:
    """One step of the bootstrap and what it ended with."""

    def __init__(self) -> None:
        self.result = "ready"


@contextmanager
def step(name: str) -> Iterator[Step]:
    """Time a step, print how it ended, and put its name into its failure."""
    started = time.monotonic()
    current = Step()
    try:
        yield current
    except BootstrapError as error:
        error.step = error.step or name
        raise
    say(f"✓ {name}: {current.result} ({time.monotonic() - started:.1f} s)")


class Progress:
    """Elapsed time of a long command: one line that is rewritten on a terminal, else a line every 30 s."""

    def __init__(self, doing: str) -> None:
        self.doing = doing
        self.started = time.monotonic()
        self.said = 0.0
        self.live = sys.stderr.isatty()
        if not self.live:
            say(f"  {doing} ...")

    def update(self, detail: str) -> None:
        """Show the time that has passed, with the command's last line of output on a terminal."""
        elapsed = time.monotonic() - self.started
        if self.live:
            self._rewrite(f"  {self.doing}: {elapsed:.0f} s  {detail}")
        elif elapsed - self.said >= LINE_SECONDS:
            self.said = elapsed
            say(f"  {self.doing}: {elapsed:.0f} s so far")

    def close(self) -> None:
        """Leave a clean line behind."""
        if self.live:
            self._rewrite("")

    def _rewrite(self, text: str) -> None:
        print(f"\r\033[K{text[:WIDTH]}", end="", file=sys.stderr, flush=True)
