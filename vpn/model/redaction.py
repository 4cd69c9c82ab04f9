"""Takes secrets out of text that is to be shown to others, and proves that none is left.

Known secrets are taken out wherever they are; what is not known is told by how it looks: a WireGuard key that is not a
known public one, a private key in PEM, the password in a URL, the value of something that is called a password.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

REMOVED = "[removed]"
LEAST = 6  # characters of a secret that is looked for; "postgres" as a password is worth no more
LEAST_TOKEN = 20
TOKEN = re.compile(rf"[A-Za-z0-9+/=_-]{{{LEAST_TOKEN},}}")
# Base64 of 32 bytes (RFC 4648): of 43 digits the last has two bits to spare.
KEY = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=(?![A-Za-z0-9+/=])")
PEM = re.compile(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?(-----END \1PRIVATE KEY-----|\Z)", re.DOTALL)
USER_OF_URL = re.compile(r"(?<=://)[^\s/@\"']+@")
NAMED = re.compile(
    r"""(?P<name>(?:pass(?:word|wd|phrase)?|secret|token|credential|(?:api|private|preshared)[-_]?key)[\w.-]*"""
    r"""\\?["']?\s*[=:]\s*\\?["']?)(?P<value>[^\s"'\\,}\]]{6,})""",
    re.IGNORECASE,
)
CREDENTIALS = re.compile(r"""(\b(?:authorization|cookie)\\?["']?\s*[=:]\s*\\?["']?)[^\r\n"'\\]+""", re.IGNORECASE)
# An option, and its value as the next word.
OPTION = re.compile(
    r"""(--?[\w-]*(?:passw(?:or)?d|passphrase|secret|token|api-?key)["']?,?\s+["']?)[^\s"',\]]{6,}""", re.IGNORECASE
)
PLAIN = re.compile(r"[0-9.]+|true|false|null|None", re.IGNORECASE)  # no secret, whatever it is called


def tokens(text: str) -> set[str]:
    """What may be a secret in files that hold secrets: long, with letters of both cases, as keys and passwords are."""
    return {one for one in TOKEN.findall(text) if one != one.lower() and one != one.upper()}


def endpoints(text: str) -> set[str]:
    """URLs in JSON that name more than a host, and what more: a key, for all anybody knows."""
    try:
        found = [url for url in strings(json.loads(text)) if url.startswith(("http://", "https://"))]
    except ValueError:
        return set()
    parts = {url: url.split("://", 1)[1].partition("/")[2] for url in found}
    return {one for url, rest in parts.items() if rest or "@" in url or "?" in url for one in (url, rest)} - {""}


def strings(value: Any) -> Iterator[str]:
    """All text in a value out of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


@dataclass(frozen=True)
class Redaction:
    """Knows secrets, and what looks like one and is public."""

    secrets: frozenset[str]
    public: frozenset[str]

    @classmethod
    def of(cls, secrets: Iterable[str], public: Iterable[str]) -> "Redaction":
        """What is public is no secret, wherever else it is."""
        known = frozenset(public)
        return cls(frozenset(one for one in secrets if len(one) >= LEAST and one not in known), known)

    # --- taking out

    def clean(self, text: str) -> str:
        """The same without secrets."""
        text = PEM.sub(REMOVED, text)
        for secret in self._odd:
            text = text.replace(secret, REMOVED)
        text = TOKEN.sub(self._token, text)
        text = KEY.sub(lambda match: match[0] if match[0] in self.public else REMOVED, text)
        text = USER_OF_URL.sub(f"{REMOVED}@", text)
        text = OPTION.sub(rf"\g<1>{REMOVED}", CREDENTIALS.sub(rf"\g<1>{REMOVED}", text))
        return NAMED.sub(self._named, text)

    @cached_property
    def _forms(self) -> frozenset[str]:
        """Secrets as they are, and as others write them."""
        return frozenset(form for one in self.secrets for form in (one, *_written(one)))

    @cached_property
    def _odd(self) -> tuple[str, ...]:
        """Those that no token holds, the longest first."""
        return tuple(sorted((one for one in self._forms if not TOKEN.fullmatch(one)), key=lambda one: (-len(one), one)))

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        """Of those that tokens hold: thousands of secrets are looked for in one go."""
        return frozenset(one[:LEAST_TOKEN] for one in self._forms if TOKEN.fullmatch(one))

    def _token(self, match: re.Match[str]) -> str:
        token = match[0]
        if token in self.public:
            return token
        starts = range(len(token) - LEAST_TOKEN + 1)
        return REMOVED if any(token[at : at + LEAST_TOKEN] in self._beginnings for at in starts) else token

    def _named(self, match: re.Match[str]) -> str:
        value = match["value"]
        return match[0] if value.startswith(REMOVED[:-1]) or PLAIN.fullmatch(value) else f"{match['name']}{REMOVED}"

    # --- the proof

    def left(self, text: str) -> list[str]:
        """What kinds of secrets are still there; it shares no rule with `clean` but the shape of a key."""
        found = []
        if any(one in text for one in self._forms):
            found.append("a secret of the mesh")
        if any(key not in self.public for key in KEY.findall(text)):
            found.append("a key that is no known public one")
        if "PRIVATE KEY-----" in text:
            found.append("a private key")
        return found


def _written(secret: str) -> tuple[str, ...]:
    """How else it may be written: within JSON, in a URL, as base64 or in hexadecimal; a key by its bytes as well."""
    forms = {json.dumps(secret)[1:-1], quote(secret, safe=""), b64encode(secret.encode()).decode().rstrip("=")}
    forms |= {secret.encode().hex()}
    if KEY.fullmatch(secret):
        forms |= {b64decode(secret).hex(), secret.replace("+", "-").replace("/", "_").rstrip("=")}
    return tuple(sorted(forms - {secret}))
