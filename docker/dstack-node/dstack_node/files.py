"""Files that others may tamper with: neither a link nor a pipe in their place does harm."""

import os
import shutil
import stat
from pathlib import Path

PRIVATE = 0o600
MOST_BYTES = 4 << 20  # that are read


def read(path: Path) -> bytes | None:
    """What a regular file holds; None if it holds more than 4 MiB, or is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123 (of a descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        content = file.read(MOST_BYTES + 1)
    return content if len(content) <= MOST_BYTES else None


def is_private(path: Path) -> bool:
    """Whether it is a regular file for its owner only."""
    try:
        return path.lstat().st_mode == stat.S_IFREG | PRIVATE
    except OSError:
        return False


def replace(path: Path, content: bytes) -> None:
    """Write a file for its owner only, in one step, so that nobody reads half of it. Raises OSError."""
    draft = path.with_name(f".{path.name}.new")
    remove(draft)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:  # noqa: PTH123 (of a descriptor)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if path.is_dir() and not path.is_symlink():
        remove(path)
    draft.replace(path)


def settle(folder: Path) -> None:
    """Have what was replaced in a folder outlive a loss of power (fsync(2)). Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Have nothing there. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
