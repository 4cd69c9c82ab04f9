"""pgBackRest: has the backups, and makes one when the last is too old."""

import json
import signal
import subprocess
import time
from typing import Any

from postgres_cluster.process import IDENTITY, Process

CONFIG = "pgbackrest.conf"
HOUR = 3600
MISSING = 1  # status of a part that there is not (pgBackRest, Command Reference, info)
AGAIN_SECONDS = 60  # after a backup that failed


class Backup:
    """The place of the backups. Members bring what they write (WAL) by themselves; the rest is fetched from them."""

    def __init__(self) -> None:
        self._server = Process("postgres", "pgbackrest", "server", reload=signal.SIGHUP)
        self._wanted: dict[str, Any] = {}
        self._making: subprocess.Popen[bytes] | None = None
        self._failed_at = float("-inf")

    def accept(self, files: dict[str, bytes]) -> None:
        """Start the server, or have it read what changed."""
        self._wanted = json.loads(files["wanted.json"])
        self._server.have({name: files[name] for name in (CONFIG, *IDENTITY)})

    def converge(self) -> str:
        """Have a part for this generation, and in it a backup that is not too old."""
        if self._making:
            return self._look_after(self._making)
        made = self._made()
        kind = due(made, time.time(), self._wanted)
        if kind and time.monotonic() > self._failed_at + AGAIN_SECONDS:
            self._making = self._server.start(*self._command("backup"), f"--type={kind}")
            print(f"a backup begins: {kind}", flush=True)
        return "" if kind is None or made or self._making else "the last backup failed"

    def status(self) -> int | None:
        """Exit status of the server."""
        return self._server.status()

    def stop(self) -> None:
        """End the server; a backup that is being made ends with the container, the next one removes what it left."""
        self._server.stop()

    def _look_after(self, making: subprocess.Popen[bytes]) -> str:
        status = making.poll()
        if status is not None:
            self._making = None
            self._failed_at = time.monotonic() if status else float("-inf")
            print(f"a backup ended with status {status}", flush=True)
        return ""

    def _made(self) -> list[dict[str, Any]]:
        """The backups of this generation, oldest first; makes its part when there is none. Raises OSError."""
        if not (parts := self._info()):
            self._server.run(*self._command("stanza-create"))
        return [backup for part in parts for backup in part["backup"]]

    def _info(self) -> list[dict[str, Any]]:
        known = json.loads(self._server.run(*self._command("info"), "--output=json"))
        return [part for part in known if part["status"]["code"] != MISSING]

    def _command(self, name: str) -> tuple[str, ...]:
        return ("pgbackrest", f"--stanza={self._wanted['stanza']}", name)


def due(made: list[dict[str, Any]], now: float, wanted: dict[str, Any]) -> str | None:
    """Which backup is to be made now: one of everything (full), or of what changed (incr); periods in hours."""
    full = [one["timestamp"]["stop"] for one in made if one["type"] == "full"]
    if not full or now - max(full) >= wanted["full"] * HOUR:
        return "full"
    latest = max(one["timestamp"]["stop"] for one in made)
    return "incr" if now - latest >= wanted["every"] * HOUR else None
