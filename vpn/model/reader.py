"""Typed values out of an untyped configuration; what is wrong on the way is noted, not raised."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any
from urllib.parse import urlsplit

from vpn.model.addresses import host_count, host_number
from vpn.model.problems import ConfigError, Problem

NOT_SHOWN = "(not shown)"
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_FIX = "use 1 to 63 of a-z, 0-9 and '-', not '-' at an end (RFC 1123, 2.1)"


@dataclass
class Reader:
    """Reads one configuration and collects its mistakes."""

    raw: Mapping[str, Any]
    problems: list[Problem] = field(default_factory=list)
    prefix: str = ""
    """Before every path: where in a larger configuration this one stands."""

    def wrong(self, path: str, value: object, reason: str, fix: str) -> None:
        """Note a mistake."""
        self.problems.append(Problem(path=f"{self.prefix}{path}", value=value, reason=reason, fix=fix))

    def within(self, key: str, known: Sequence[str], defaults: Mapping[str, Any]) -> "Reader":
        """A reader of the mapping under a key, with defaults; what is wrong there is noted here as well."""
        value = self.raw[key]
        if not isinstance(value, Mapping):
            self.wrong(key, value, "is not a mapping", f"set some of {', '.join(known)}")
            value = {}
        reader = Reader({**defaults, **value}, self.problems, f"{self.prefix}{key}.")
        reader.check_keys("", dict.fromkeys(value, NOT_SHOWN), known)  # a misspelled key may hold a secret
        return reader

    def stop_if_wrong(self, *keys: str) -> None:
        """Raise ConfigError with all mistakes noted so far, if one is of these keys; without keys, if there is one."""
        if any(problem.path.startswith(keys or "") for problem in self.problems):
            raise ConfigError(self.problems)

    def check_keys(self, path: str, mapping: Mapping[str, Any], known: Sequence[str]) -> None:
        """Note every key that nobody reads."""
        for key in mapping:
            if key not in known:
                self.wrong(f"{path}{key}", mapping[key], "is not a known key", f"one of {', '.join(known)}")

    def text(self, path: str, value: Any, pattern: re.Pattern[str], fix: str) -> str:
        """A text of a form; as it is, when it has another."""
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.wrong(path, value, "is not a valid name", fix)
        return str(value)

    def flag(self, key: str) -> bool:
        """A truth value; false when it is none."""
        value = self.raw.get(key)
        if not isinstance(value, bool):
            self.wrong(key, value, "is neither true nor false", "write true or false")
        return value is True

    def number(self, key: str, low: int, high: int) -> int:
        """A whole number between two others; `low` when it is none."""
        value = self.raw.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.wrong(key, value, f"is not a whole number from {low} to {high}", f"choose one from {low} to {high}")
        return low

    def network(self, key: str) -> IPv4Network | None:
        """An IPv4 range; None when it is none."""
        value = self.raw.get(key)
        try:
            return IPv4Network(value if isinstance(value, str) else "")
        except ValueError as error:
            self.wrong(key, value, f"is not an IPv4 range ({error})", "write it like 10.0.0.0/24, host bits zero")
            return None

    def entries(self, key: str, known: Sequence[str]) -> list[Mapping[str, Any]]:
        """A list of mappings with known keys; what is no mapping becomes an empty one, so that indices stay true."""
        value = self.raw.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(key, value, "is not a list", f"write {key} as a list of entries with {', '.join(known)}")
            return []
        return [self._entry(f"{key}[{index}]", entry, known) for index, entry in enumerate(value)]

    def _entry(self, path: str, entry: Any, known: Sequence[str]) -> Mapping[str, Any]:
        if not isinstance(entry, Mapping):
            self.wrong(path, entry, "is not a mapping", f"write it like '- {known[0]}: ...'")
            return {}
        self.check_keys(f"{path}.", entry, known)
        return entry


def is_http(url: object) -> bool:
    """Whether a value is an http or https URL without user name."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False


def number_in(network: IPv4Network, value: object) -> int | None:
    """Which host of a network a text names; None when none of it."""
    try:
        number = host_number(network, IPv4Address(value if isinstance(value, str) else ""))
    except ValueError:
        return None
    return number if 1 <= number <= host_count(network) else None
