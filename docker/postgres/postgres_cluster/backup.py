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
CREATE, BACKUP = "stanza-create", "backup"
AGAIN_SECONDS = 20  # after an attempt that failed


class Backup:
    """The place of the backups. Members bring what they write (WAL) by themselves; the rest is fetched from them."""

    def __init__(self) -> None:
        self._server = Process("postgres", "pgbackrest", "server", reload=signal.SIGHUP)
        self._wanted: dict[str, Any] = {}
        self._job: subprocess.Popen[bytes] | None = None
        self._failed_at: float | None = None
        self._parts: list[dict[str, Any]] | None = None

    def accept(self, files: dict[str, bytes]) -> None:
        """Start the server, or have it read what changed."""
        wanted = json.loads(files["wanted.json"])
        if wanted != self._wanted:
            self._wanted, self._parts = wanted, None
        self._server.have({name: files[name] for name in (CONFIG, *IDENTITY)})

    def converge(self) -> str:
        """Have a part for this generation, and in it a backup that is not too old. Raises OSError."""
        if self._job:
            self._look_after(self._job)
        if self._parts is None:
            self._parts = self._found()
        parts = self._parts
        kind = due([backup for part in parts for backup in part["backup"]], time.time(), self._wanted)
        if kind and not self._job and not self._rests():
            self._begin(*((BACKUP, f"--type={kind}") if parts else (CREATE,)))
        if not parts:
            return "there is no place for backups of this generation yet"
        return "a backup is due, and the last attempt failed" if kind and self._failed_at else ""

    def status(self) -> int | None:
        """Exit status of the server."""
        return self._server.status()

    def stop(self) -> None:
        """End the server; a backup that is being made ends with the container, the next one removes what it left."""
        self._server.stop()

    def _begin(self, *command: str) -> None:
        """In the background: it may take hours, and waits for members that do not answer."""
        print(f"begins: {' '.join(command)}", flush=True)
        self._job = self._server.start("pgbackrest", f"--stanza={self._wanted['stanza']}", *command)

    def _look_after(self, job: subprocess.Popen[bytes]) -> None:
        status = job.poll()
        if status is not None:
            self._job = self._parts = None
            self._failed_at = time.monotonic() if status else None
            print(f"ended with status {status}", flush=True)

    def _rests(self) -> bool:
        return self._failed_at is not None and time.monotonic() < self._failed_at + AGAIN_SECONDS

    def _found(self) -> list[dict[str, Any]]:
        """The part of this generation, if there is one; only what is begun here changes it."""
        command = ("pgbackrest", f"--stanza={self._wanted['stanza']}", "info", "--output=json")
        return [part for part in json.loads(self._server.run(*command)) if part["status"]["code"] != MISSING]


def due(made: list[dict[str, Any]], now: float, wanted: dict[str, Any]) -> str | None:
    """Which backup is to be made now: one of everything (full), or of what changed (incr); periods in hours."""
    full = [one["timestamp"]["stop"] for one in made if one["type"] == "full"]
    if not full or now - max(full) >= wanted["full"] * HOUR:
        return "full"
    latest = max(one["timestamp"]["stop"] for one in made)
    return "incr" if now - latest >= wanted["every"] * HOUR else None
