"""What the parts of the cluster have in common."""

from typing import Protocol


class Part(Protocol):
    """PostgreSQL with Patroni, etcd, HAProxy, or the backups."""

    def accept(self, files: dict[str, bytes]) -> None:
        """Take a config: start the process, or have it read what changed."""

    def converge(self) -> str:
        """See to it that what the config wants is in effect; what is missing. Raises OSError."""

    def status(self) -> int | None:
        """Exit status of the process; None while it runs, or was never started."""

    def stop(self) -> None:
        """End the process, and wait for its end."""
