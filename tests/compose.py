"""Compose, with which a confidential VM runs its containers."""

import os
import shutil
import subprocess
from functools import cache

from bootstrap import apt

PLUGINS = "{{range .ClientInfo.Plugins}}{{.Name}} {{end}}"


@cache
def compose_command() -> tuple[str, ...]:
    """Compose as a plugin of docker, else the older program; installs Debian's. Raises BootstrapError."""
    info = subprocess.run(["docker", "info", "--format", PLUGINS], capture_output=True, text=True, check=True)
    if "compose" in info.stdout.split():
        return ("docker", "compose")
    if shutil.which("docker-compose") is None:
        apt.install("docker-compose", why="tests run what a confidential VM runs", env=os.environ)
    return ("docker-compose",)
