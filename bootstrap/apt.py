"""Installs a Debian package where that is possible, and says what to do where it is not."""

import os
import shutil
from collections.abc import Mapping

from bootstrap import command
from bootstrap.failure import BootstrapError
from bootstrap.retry import persistently


def install(package: str, *, why: str, env: Mapping[str, str]) -> None:
    """Install a Debian package as root. Raises BootstrapError elsewhere."""
    fix = f"install the package {package} ({why}), then run the command again"
    if os.geteuid() != 0 or shutil.which("apt-get", path=env.get("PATH")) is None:
        raise BootstrapError(f"{package} is missing, and only root on Debian can install it from here", fix=fix)
    env = {**env, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "install", "--yes", "--no-install-recommends", package]
    # A fresh machine has no package lists yet; where there are some, the update would only cost time.
    if not command.attempt(apt, doing=f"installing {package}", env=env).ok:
        update = ["apt-get", "update"]
        persistently(lambda: command.run(update, doing="updating the package lists", fix=fix, env=env))
        persistently(lambda: command.run(apt, doing=f"installing {package}", fix=fix, env=env))
