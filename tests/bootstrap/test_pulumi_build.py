"""A build is made once for the sources it is made from, and half a build is never used."""

import shutil
from pathlib import Path

import pytest

from bootstrap import command, plugin_check, pulumi_build
from bootstrap.failure import BootstrapError


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return Path(shutil.copytree(pulumi_build.SOURCES, tmp_path / "go"))


@pytest.mark.parametrize("name", ["cli/go.sum", "language-python/go.mod", "docker/main.go", "random/go.sum"])
def test_the_cache_key_follows_every_source(sources: Path, name: str) -> None:
    before = pulumi_build.key(sources)
    assert pulumi_build.key(sources) == before
    with (sources / name).open("a") as file:
        file.write("\n")
    assert pulumi_build.key(sources) != before


def test_an_interrupted_build_leaves_nothing_that_counts_as_built(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(tool: pulumi_build.Tool, binaries: Path, *_: object) -> None:
        binaries.mkdir(parents=True, exist_ok=True)
        (binaries / tool.binary).write_text("half")
        if tool.module == "docker":
            raise KeyboardInterrupt

    monkeypatch.setattr(pulumi_build, "_require_go", lambda _: None)
    monkeypatch.setattr(pulumi_build, "_build", build)
    with pytest.raises(KeyboardInterrupt):
        pulumi_build.install(env)
    assert pulumi_build.found(env) is None
    assert list((Path(env["HOME"]) / ".cache" / "dstack-vpn").iterdir()) == []


def test_a_build_that_the_sdk_does_not_fit_is_not_kept(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise BootstrapError("the docker plugin does not know x", fix="pin others")

    monkeypatch.setattr(pulumi_build, "_require_go", lambda _: None)
    monkeypatch.setattr(pulumi_build, "_build", lambda *_: None)
    monkeypatch.setattr(pulumi_build, "_copy_launcher", lambda *_: None)
    monkeypatch.setattr(plugin_check, "check", refuse)
    with pytest.raises(BootstrapError):
        pulumi_build.install(env)
    assert pulumi_build.found(env) is None


def test_the_faster_of_two_builds_is_kept(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bin").write_text(name)
    final = tmp_path / "final"
    assert pulumi_build.publish(tmp_path / "first", final) == final
    assert pulumi_build.publish(tmp_path / "second", final) == final
    assert (final / "bin").read_text() == "first"


@pytest.mark.parametrize("version", ["go version go1.19.8 linux/amd64", "sh: go: not found"])
def test_a_machine_without_a_usable_go_is_told_so(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(command, "ask", lambda *_, **__: command.Result(status=0, output=version))
    with pytest.raises(BootstrapError, match=r"no Go to build it with") as caught:
        pulumi_build.install(env)
    assert "install Go 1.21 or newer" in str(caught.value)
