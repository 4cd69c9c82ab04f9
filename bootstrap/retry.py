"""Tries again what needs a network: registries fail now and then, and a run of ten minutes should not end for that."""

import time
from collections.abc import Callable
from typing import TypeVar

from bootstrap.console import say
from bootstrap.failure import BootstrapError

TRIES = 3
PAUSE_SECONDS = 5.0

Answer = TypeVar("Answer")


def persistently(action: Callable[[], Answer]) -> Answer:
    """Do it, again when it fails, and raise the BootstrapError of the last try."""
    for left in reversed(range(TRIES)):
        try:
            return action()
        except BootstrapError as error:
            if not left:
                raise
            say(f"  failed: {(error.log.strip() or error.reason).splitlines()[-1]}; trying again")
            time.sleep(PAUSE_SECONDS)
    raise AssertionError(TRIES)
