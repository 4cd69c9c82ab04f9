"""Checks that built plugins offer what the installed Python SDKs send them."""

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap import command, paths
from bootstrap.failure import BootstrapError

FIX = "pin an SDK in requirements.in and a plugin in bootstrap/go that belong together"


@dataclass(frozen=True, kw_only=True)
class Used:
    """A resource type that the program uses, and the SDK's file that declares it."""

    package: str
    name: str

    @property
    def token(self) -> str:
        """Its type token."""
        return f"{self.package}:index/{self.name[0].lower()}{self.name[1:]}:{self.name}"

    @property
    def source(self) -> str:
        """Its file below site-packages."""
        return f"pulumi_{self.package}/{snake(self.name).removeprefix('_')}.py"


USED = (
    Used(package="docker", name="Container"),
    Used(package="docker", name="Network"),
    Used(package="docker", name="Volume"),
    Used(package="docker", name="RemoteImage"),
    Used(package="random", name="RandomPassword"),
)


def check(binaries: Path, env: Mapping[str, str]) -> None:
    """Raise BootstrapError if a plugin lacks a resource type or an input that its SDK sends."""
    site = next((paths.VENV / "lib").glob("python3*/site-packages"))
    for package in sorted({used.package for used in USED}):
        schema = _schema(binaries, package, env)
        lacks = [text for used in USED if used.package == package for text in lacking(used, schema, site)]
        if lacks:
            raise BootstrapError(f"the {package} plugin does not know {', '.join(lacks)}", fix=FIX)


def lacking(used: Used, schema: Mapping[str, Any], site: Path) -> list[str]:
    """What the SDK sends for a resource type and the plugin's schema does not have."""
    resource = schema["resources"].get(used.token)
    if resource is None:
        return [used.token]
    known = {snake(name) for name in (*resource["inputProperties"], *resource.get("properties", {}))}
    return [f"{used.token}.{name}" for name in sorted(_sent(site / used.source) - known)]


def snake(name: str) -> str:
    """The Python name of a camelCase property."""
    return re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name)


def _schema(binaries: Path, package: str, env: Mapping[str, str]) -> Any:
    ask = [str(binaries / "pulumi"), "package", "get-schema", str(binaries / f"pulumi-resource-{package}")]
    result = command.ask(ask, env={**env, "PULUMI_SKIP_UPDATE_CHECK": "1"})
    if not result.ok:
        raise BootstrapError(f"the {package} plugin does not start", fix=FIX, command=ask, log=result.output)
    return json.loads(result.answer)


def _sent(source: Path) -> set[str]:
    """The properties that a generated resource class fills in: `__props__.__dict__["name"] = ...`."""
    assigned = [node.targets[0] for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Assign)]
    keys = [target.slice for target in assigned if isinstance(target, ast.Subscript)]
    return {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
