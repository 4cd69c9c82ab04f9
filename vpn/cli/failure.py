"""The one exception for what can be expected to go wrong."""


class CliError(Exception):
    """A command could not be done; its text says what failed and how to mend it."""

    def __init__(self, reason: str, *, fix: str = "") -> None:
        super().__init__(f"{reason}\n  fix: {fix}" if fix else reason)
