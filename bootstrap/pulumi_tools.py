"""Step: Pulumi, its Python language host and the plugins; the user's own if they fit."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from bootstrap import command, pulumi_build, pulumi_download
from bootstrap.console import step
from bootstrap.pulumi_download import PLUGIN_VERSIONS

OLDEST = (3, 230)
COMMANDS = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec")


def ensure(env: Mapping[str, str]) -> list[Path]:
    """Return the folders to put first on PATH: none if the tools there fit, else where they were put."""
    with step("Pulumi") as current:
        if fits(env) and missing_plugins(env) == []:
            current.result = "the one on PATH fits"
            return []
        folder = next(iter(found(env)), None) or _obtain(env)
        current.result = f"in {folder}" if folder else "the one on PATH, with the plugins it installed"
        return [folder] if folder else []


def found(env: Mapping[str, str]) -> list[Path]:
    """The folder where an earlier run put them, if there is one."""
    folder = pulumi_download.found(env) or pulumi_build.found(env)
    return [folder] if folder else []


def _obtain(env: Mapping[str, str]) -> Path | None:
    if fits(env) and pulumi_download.plugins(missing_plugins(env), env):
        return None
    return pulumi_download.install(env) or pulumi_build.install(env)


def fits(env: Mapping[str, str]) -> bool:
    """Whether PATH holds a Pulumi new enough and its Python language host."""
    if any(shutil.which(name, path=env.get("PATH")) is None for name in COMMANDS):
        return False
    result = command.ask(["pulumi", "version"], env={**env, "PULUMI_SKIP_UPDATE_CHECK": "1"})
    match = re.search(r"^v(\d+)\.(\d+)\.", result.output, re.MULTILINE)
    return match is not None and (int(match[1]), int(match[2])) >= OLDEST


def missing_plugins(env: Mapping[str, str]) -> list[str]:
    """The plugins that are neither on PATH nor in Pulumi's plugin folder."""
    return [name for name, version in PLUGIN_VERSIONS.items() if not _has_plugin(name, version, env)]


def _has_plugin(name: str, version: str, env: Mapping[str, str]) -> bool:
    """Pulumi takes any version from PATH, and from its folder the one that the SDK names."""
    if shutil.which(f"pulumi-resource-{name}", path=env.get("PATH")):
        return True
    folder = Path(env.get("PULUMI_HOME") or Path.home() / ".pulumi") / "plugins"
    plugin = folder / f"resource-{name}-v{version}"
    # Pulumi puts a .partial file beside a plugin while it is being installed.
    return plugin.is_dir() and not plugin.with_name(f"{plugin.name}.partial").exists()
