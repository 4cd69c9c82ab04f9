"""The folder that the config carrier fills: files, their checksums, a question and the answer."""

from hashlib import sha256
from pathlib import Path

CHECKSUMS = "SHA256SUMS"


class DeliveryError(Exception):
    """There is no config yet, or not the one that was delivered."""


class Delivery:
    """One side of the exchange with the config carrier (docker/wireguard/carrier)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._question, self._answer = folder / "asked", folder / "applied"

    @property
    def delivered(self) -> bool:
        """Whether there ever was a config."""
        return (self._folder / CHECKSUMS).exists()

    @property
    def asked(self) -> bool:
        """Whether the carrier waits for an answer."""
        return self._question.exists()

    def withdraw_question(self) -> None:
        """Before the look: a question that comes during it starts the next."""
        self._question.unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, bytes], bytes]:
        """The files, and their checksums, which name the generation. Raises DeliveryError."""
        try:
            sums = (self._folder / CHECKSUMS).read_bytes()
            lines = [line.split(maxsplit=1) for line in sums.decode().splitlines()]
            files = {name: (self._folder / name).read_bytes() for _, name in lines}
        except (OSError, ValueError) as error:
            raise DeliveryError(f"no config: {error}") from None
        if any(sha256(files[name]).hexdigest() != digest for digest, name in lines):
            raise DeliveryError("the config does not match its SHA256SUMS")
        return files, sums

    def acknowledge(self, checksums: bytes) -> None:
        """Tell that the config with these checksums is in effect."""
        if not self._answer.exists() or self._answer.read_bytes() != checksums:
            self._answer.write_bytes(checksums)

    def retract(self) -> None:
        """Tell that no config is in effect."""
        self._answer.unlink(missing_ok=True)
