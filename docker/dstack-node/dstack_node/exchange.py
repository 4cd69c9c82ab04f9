"""The config folder of a node or of a relay, and what is said through it; as the config carrier does on a Docker host.

Beside the config: `asked` wants it to be applied now, `applied` is the answer, a copy of the checksums that it goes by;
`switch-at` is when nodes go over to new keys, in milliseconds since 1970. `report` is how the node says it is, which on
a Docker host the carrier hands on; nobody asks for it here.
"""

import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from dstack_node.files import is_private, read, remove, replace

ASKED, APPLIED, SWITCH_AT, CHECKSUMS = "asked", "applied", "switch-at", "SHA256SUMS"
REPORT = frozenset({"report", ".report.new"})
PATIENCE = 60_000  # milliseconds from a delivery to new keys, if nobody names a moment


def with_checksums(files: Mapping[str, str]) -> dict[str, bytes]:
    """Content by name. The checksums come last and name the generation of the whole."""
    contents = {name: files[name].encode() for name in sorted(files)}
    sums = "".join(f"{sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    return {**contents, CHECKSUMS: sums.encode()}


class Folder:
    """One of these folders. Everything that it does may raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def holds(self, contents: Mapping[str, bytes]) -> bool:
        """Whether there are these files and no others, each for root only."""
        files = {self._path / name: content for name, content in contents.items()}
        is_same = all(is_private(path) and read(path) == content for path, content in files.items())
        return is_same and not any(self._strays(contents))

    def deliver(self, contents: Mapping[str, bytes], moment: int) -> None:
        """Bring these files, and remove others. `moment`: for new keys, or 0 for some time from now."""
        remove(self._path / APPLIED)
        # Before the config, which must not be read without it.
        self._write(SWITCH_AT, f"{moment or time.time_ns() // 1_000_000 + PATIENCE}\n".encode())
        for stray in list(self._strays(contents)):
            remove(stray)
        for name, content in contents.items():
            self._write(name, content)
        self._write(ASKED, b"")

    def confirm(self, moment: int) -> None:
        """Ask for another answer to the files that are there. `moment`: for new keys, or 0 for none."""
        if moment:
            self._write(SWITCH_AT, f"{moment}\n".encode())
        remove(self._path / APPLIED)
        self._write(ASKED, b"")

    def has_applied(self, checksums: bytes) -> bool:
        """Whether its reader goes by the files with these checksums."""
        return read(self._path / APPLIED) == checksums

    def _write(self, name: str, content: bytes) -> None:
        replace(self._path / name, content)

    def _strays(self, contents: Mapping[str, bytes]) -> Iterator[Path]:
        known = {*contents, *REPORT, ASKED, APPLIED, SWITCH_AT}
        return (path for path in self._path.iterdir() if path.name not in known)
