"""What comes from somebody who may want to do harm."""

import json
from typing import Any

MOST_BRACKETS = 1000


def read_json(text: str) -> Any:
    """A value out of its JSON. Raises ValueError, also when it has so many brackets that it may be nested too deep.

    Python's own bound is the limit of recursion, which is the program's to set: past the stack's end it dies.
    """
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        raise ValueError(f"has more than {MOST_BRACKETS} brackets")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deep") from None


def shown(text: str) -> str:
    """A stranger's text on one line for a terminal, which it shall not steer: what cannot be printed is escaped."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
