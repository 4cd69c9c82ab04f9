"""Patroni's REST API (Patroni 4.0, Patroni REST API), as far as a member's own program needs it."""

import json
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError

SECONDS = 10
RESTART_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Patroni:
    """The API of the member of this container."""

    url: str
    user: str
    password: str = field(repr=False)

    def state(self) -> dict[str, Any]:
        """How the member is, also while PostgreSQL does not run."""
        return dict(self._ask("GET", "patroni"))

    def members(self) -> list[dict[str, Any]]:
        """All members as the cluster knows them."""
        return list(self._ask("GET", "cluster")["members"])

    def config(self) -> dict[str, Any]:
        """What all members go by."""
        return dict(self._ask("GET", "config"))

    def set_config(self, config: dict[str, Any]) -> None:
        """Have all members go by something else."""
        self._ask("PUT", "config", config)

    def restart(self) -> None:
        """Restart PostgreSQL, and wait until it runs."""
        self._ask("POST", "restart", {}, seconds=RESTART_SECONDS)

    def switch_over(self, leader: str) -> None:
        """Have another member, the one that Patroni thinks best, become the primary."""
        self._ask("POST", "switchover", {"leader": leader}, seconds=RESTART_SECONDS)

    def _ask(self, verb: str, path: str, content: Any = None, seconds: float = SECONDS) -> Any:
        """Raises OSError."""
        body = None if content is None else json.dumps(content).encode()
        proof = b64encode(f"{self.user}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {proof}", "Content-Type": "application/json"}
        call = request.Request(f"{self.url}/{path}", body, headers, method=verb)  # noqa: S310 (http)
        try:
            with request.urlopen(call, timeout=seconds) as answer:  # noqa: S310
                return _content(answer.read())
        except HTTPError as error:
            said = error.read()
            if path == "patroni":  # 503 while PostgreSQL does not run
                return _content(said)
            raise OSError(f"Patroni refuses {verb} /{path}: {error.code} {said.decode(errors='replace')}") from None
        except URLError as error:
            raise OSError(f"Patroni does not answer: {error.reason}") from None


def _content(said: bytes) -> Any:
    """What it said, as JSON if it is."""
    try:
        return json.loads(said)
    except ValueError:
        return said.decode(errors="replace")
