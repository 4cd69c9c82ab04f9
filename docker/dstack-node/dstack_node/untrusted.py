"""JSON from somebody who may want to do harm."""

import json
import re
from itertools import accumulate
from typing import Any

DEEPEST = 8
# A string, also one without an end, is one token: brackets in it nest nothing. It never goes back: the time is linear.
TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def read_json(text: str) -> Any:
    """A value out of its JSON. Raises ValueError, also when it is nested too deep or an object has a name twice.

    Python's own bound on nesting is the limit of recursion, which is the program's to set.
    """
    if max(accumulate(map(_step, TOKEN.finditer(text))), default=0) > DEEPEST:
        raise ValueError(f"it is nested deeper than {DEEPEST}")
    return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)


def _step(token: re.Match[str]) -> int:
    return STEPS.get(token[0], 0)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
