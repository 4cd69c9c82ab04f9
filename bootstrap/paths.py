"""Where things live: the checkout, the user's cache (can be deleted) and the user's state (must not be)."""

from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
NAME = "dstack-vpn"


def cache(env: Mapping[str, str]) -> Path:
    """Folder of what can be made again: built tools."""
    return _made(Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / NAME, mode=0o755)


def state(env: Mapping[str, str]) -> Path:
    """Folder of what would be lost: the file backend, its passphrase, the stacks' salts. Only the user may look."""
    return _made(state_folder(env), mode=0o700)


def state_folder(env: Mapping[str, str]) -> Path:
    """Where that is, whether it is there or not."""
    return Path(env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / NAME


def _made(folder: Path, *, mode: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(mode)
    return folder
