"""Pulumi that a user has is used if it fits."""

import os
from pathlib import Path

import pytest

from bootstrap import pulumi_tools
from bootstrap.pulumi_download import PLUGIN_VERSIONS

PLUGINS = ("pulumi-resource-docker", "pulumi-resource-random")


def tool(folder: Path, name: str, prints: str = "") -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho {prints}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def user(env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A user with Pulumi 3.240 and no plugins."""
    folder = tmp_path / "bin"
    for name in pulumi_tools.COMMANDS:
        tool(folder, name, "v3.240.0")
    return {**env, "PATH": f"{folder}{os.pathsep}{env['PATH']}"}


@pytest.mark.parametrize(("version", "fits"), [("v3.229.9", False), ("v3.230.0", True), ("v4.0.0", True), ("?", False)])
def test_the_version_decides(user: dict[str, str], tmp_path: Path, version: str, *, fits: bool) -> None:
    tool(tmp_path / "bin", "pulumi", version)
    assert pulumi_tools.fits(user) == fits


def test_pulumi_without_a_language_host_does_not_fit(user: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bin" / "pulumi-language-python").unlink()
    assert not pulumi_tools.fits(user)


def test_plugins_count_on_path_and_in_the_plugin_folder(user: dict[str, str], tmp_path: Path) -> None:
    assert pulumi_tools.missing_plugins(user) == ["docker", "random"]
    tool(tmp_path / "bin", PLUGINS[0])
    plugins = Path(user["HOME"]) / ".pulumi" / "plugins"
    installed = plugins / f"resource-random-v{PLUGIN_VERSIONS['random']}"
    (plugins / "resource-random-v4.16.0").mkdir(parents=True)
    assert pulumi_tools.missing_plugins(user) == ["random"], "the SDK asks for another version"
    installed.mkdir()
    assert pulumi_tools.missing_plugins(user) == []
    installed.with_name(f"{installed.name}.partial").touch()
    assert pulumi_tools.missing_plugins(user) == ["random"]


def test_nothing_is_fetched_when_all_is_there(
    user: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PLUGINS:
        tool(tmp_path / "bin", name)
    monkeypatch.setattr(pulumi_tools, "_obtain", lambda _: pytest.fail("fetched"))
    assert pulumi_tools.ensure(user) == []
