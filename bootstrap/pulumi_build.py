"""Pulumi built from pinned Go modules, where nothing but a Go module proxy is reachable."""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bootstrap import command, paths, plugin_check
from bootstrap.console import say
from bootstrap.failure import BootstrapError
from bootstrap.retry import persistently

SOURCES = Path(__file__).parent / "go"
SDK = "github.com/pulumi/pulumi/sdk/v3"
OLDEST_GO = (1, 21)
FIX = "install Pulumi and its docker and random plugins from https://www.pulumi.com/docs/install, and put them on PATH"
GO_FIX = "install Go 1.21 or newer (it fetches the exact version that go.mod names), or install Pulumi yourself"


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One binary: the module that pins it, what to build there, and the name it gets."""

    module: str
    package: str
    binary: str


TOOLS = (
    Tool(module="cli", package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", binary="pulumi"),
    Tool(
        module="language-python",
        package=f"{SDK}/python/cmd/pulumi-language-python",
        binary="pulumi-language-python",
    ),
    Tool(module="docker", package=".", binary="pulumi-resource-docker"),
    Tool(module="random", package=".", binary="pulumi-resource-random"),
)


def found(env: Mapping[str, str]) -> Path | None:
    """Folder of the tools that an earlier run built from these very sources."""
    folder = target(env)
    return folder if folder.exists() else None


def target(env: Mapping[str, str], sources: Path = SOURCES) -> Path:
    """Folder of the tools built from `sources`; another folder as soon as one byte of them differs."""
    return paths.cache(env) / f"pulumi-{key(sources)}" / "bin"


def key(sources: Path) -> str:
    """Hash over everything that decides what is built."""
    digest = hashlib.sha256()
    for file in sorted(path for path in sources.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(sources)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def install(env: Mapping[str, str]) -> Path:
    """Build all tools and check them; nothing is left in the cache unless all of it succeeded."""
    _require_go(env)
    say("  building Pulumi from source: about 10 min on two cores, once")
    with tempfile.TemporaryDirectory(dir=paths.cache(env), prefix="build-") as name:
        binaries = Path(name) / "tools" / "bin"
        for number, tool in enumerate(TOOLS, start=1):
            _build(tool, binaries, f"{number} of {len(TOOLS)}", env)
        _copy_launcher(binaries, env)
        plugin_check.check(binaries, env)
        return publish(binaries.parent, target(env).parent) / "bin"


def publish(built: Path, final: Path) -> Path:
    """Move a finished build into place in one step, unless another run was faster."""
    try:
        built.rename(final)
    except OSError:
        if not final.exists():
            raise
    return final


def _require_go(env: Mapping[str, str]) -> None:
    result = command.ask(["go", "version"], env=env)
    match = re.search(r"go(\d+)\.(\d+)", result.output) if result.ok else None
    if match is None or (int(match[1]), int(match[2])) < OLDEST_GO:
        reason = "Pulumi cannot be downloaded, and there is no Go to build it with"
        raise BootstrapError(reason, fix=GO_FIX, command=["go", "version"], log=result.output)


def _build(tool: Tool, binaries: Path, number: str, env: Mapping[str, str]) -> None:
    # The same flags for all: the modules share most packages, and each is then compiled once.
    flags = ["-trimpath", "-buildvcs=false", "-tags", "no_compose", "-ldflags", _ldflags(tool, env)]
    build = ["go", "build", "-v", *flags, "-o", str(binaries / tool.binary), tool.package]
    doing = f"building {tool.binary} ({number})"
    where = SOURCES / tool.module
    persistently(lambda: command.run(build, doing=doing, fix=FIX, env=_go_env(env), cwd=where))


def _ldflags(tool: Tool, env: Mapping[str, str]) -> str:
    """Leave out debug symbols, and tell the CLI its version, without which it takes itself for a development build."""
    if tool.module != "cli":
        return "-s -w"
    return f"-s -w -X {SDK}/go/common/version.Version={_in_module('{{.Version}}', env)}"


def _in_module(template: str, env: Mapping[str, str]) -> str:
    """What the CLI's go.mod says of Pulumi's SDK."""
    ask = ["go", "list", "-m", "-f", template, SDK]
    where, doing = SOURCES / "cli", "reading the pinned version"
    answer = persistently(lambda: command.run(ask, doing=doing, fix=FIX, env=_go_env(env), cwd=where))
    return answer.splitlines()[-1]


def _copy_launcher(binaries: Path, env: Mapping[str, str]) -> None:
    """The script with which the language host starts a program; it is part of the SDK's module."""
    launcher = binaries / "pulumi-language-python-exec"
    shutil.copyfile(Path(_in_module("{{.Dir}}", env)) / "python" / "cmd" / launcher.name, launcher)
    launcher.chmod(0o755)


def _go_env(env: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the user's Go settings may change what is built; a bare machine has no C compiler."""
    return {**env, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
