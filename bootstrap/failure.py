"""The one exception for what can be expected to go wrong."""

import shlex
from collections.abc import Sequence

LOG_LINES = 15


class BootstrapError(Exception):
    """A step could not be done; its text tells the user what failed and how to do it by hand."""

    def __init__(self, reason: str, *, fix: str, command: Sequence[str] = (), log: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix
        self.command = command
        self.log = log
        self.step = ""

    def __str__(self) -> str:
        lines = [f"{self.step or 'bootstrap'} failed: {self.reason}"]
        if self.command:
            lines.append(f"  command: {shlex.join(self.command)}")
        lines += [f"  | {line}" for line in self.log.splitlines()[-LOG_LINES:]]
        return "\n".join([*lines, f"  by hand: {self.fix}"])
