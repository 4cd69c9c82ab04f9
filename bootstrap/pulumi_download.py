"""Pulumi as its makers ship it, where their download site is reachable."""

import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

from bootstrap import command, paths
from bootstrap.console import say

INSTALLER = "https://get.pulumi.com"
VERSION = "3.272.0"
PLUGIN_VERSIONS = {"docker": "5.2.0", "random": "4.21.4"}
CONNECT_SECONDS = 5


def found(env: Mapping[str, str]) -> Path | None:
    """Folder of the tools that an earlier run downloaded."""
    folder = _home(env) / "bin"
    return folder if folder.exists() else None


def install(env: Mapping[str, str]) -> Path | None:
    """Run the official installer; None where its site cannot be reached."""
    script = _script()
    if script is None:
        return None
    with tempfile.TemporaryDirectory(dir=paths.cache(env), prefix="download-") as name:
        target = Path(name) / "pulumi"
        if not _run_installer(script, target, Path(name), env):
            return None
        new = {**env, "PATH": f"{target / 'bin'}{os.pathsep}{env.get('PATH', '')}"}
        if not plugins(PLUGIN_VERSIONS, new):
            return None
        target.rename(_home(env))
    return found(env)


def plugins(names: Iterable[str], env: Mapping[str, str]) -> bool:
    """Let Pulumi install the plugins named; False if it cannot reach them."""
    for name in names:
        install_plugin = ["pulumi", "plugin", "install", "resource", name, PLUGIN_VERSIONS[name]]
        if not command.attempt(install_plugin, doing=f"installing the {name} plugin", env=env, timeout=300).ok:
            say(f"  the {name} plugin cannot be downloaded")
            return False
    return True


def _home(env: Mapping[str, str]) -> Path:
    return paths.cache(env) / f"pulumi-{VERSION}"


def _script() -> bytes | None:
    try:
        with urllib.request.urlopen(INSTALLER, timeout=CONNECT_SECONDS) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        say(f"  {INSTALLER} is not reachable ({error})")
        return None


def _run_installer(script: bytes, target: Path, folder: Path, env: Mapping[str, str]) -> bool:
    installer = folder / "install.sh"
    installer.write_bytes(script)
    run = ["sh", str(installer), "--version", VERSION, "--no-edit-path", "--install-root", str(target)]
    result = command.attempt(run, doing=f"downloading Pulumi {VERSION}", env=env, timeout=600)
    if not result.ok:
        say(f"  the official installer failed: {result.output.strip().rpartition(chr(10))[2]}")
    return result.ok
