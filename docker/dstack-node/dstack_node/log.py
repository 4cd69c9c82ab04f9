"""What the keeper says: a line an event, with the time."""

import logging
import time

from aiohttp.http_exceptions import HttpProcessingError


def say(text: str) -> None:
    """Print a line."""
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, flush=True)


class Unexpected(logging.Handler):
    """Says what a library takes for an error, but not that a stranger speaks no HTTP."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it as one line."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            say(f"{record.name}: {record.getMessage()}{f': {type(error).__name__}' if error else ''}")
