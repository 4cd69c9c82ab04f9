"""Puts the steps together: the environment in which Pulumi, the tests and the user's shell can work."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bootstrap import backend, base_image, docker_engine, pulumi_tools, python_env
from bootstrap.paths import VENV


def prepare(*, docker: bool = True) -> dict[str, str]:
    """Do every step that does not hold yet, and return the environment to work in."""
    env = dict(os.environ)
    python_env.ensure(env)
    folders = [VENV / "bin"]
    if docker:
        # What the user may have to mend comes before the step that can take ten minutes.
        env |= docker_engine.host_of_context(env)
        docker_engine.ensure(env)
        env |= backend.ensure(env)
        base_image.ensure(env)
        folders += pulumi_tools.ensure(env)
    return _with(folders, env)


def existing() -> dict[str, str]:
    """What `prepare` returned when it ran last, as far as it is still there; does nothing, and says nothing."""
    env = dict(os.environ)
    tools = [] if shutil.which("pulumi") else pulumi_tools.found(env)
    return _with([VENV / "bin", *tools], env | backend.settings(env))


def _with(folders: Sequence[Path], env: Mapping[str, str]) -> dict[str, str]:
    path = os.pathsep.join([*map(str, folders), env.get("PATH", os.defpath)])
    return {**env, "PATH": path, "VIRTUAL_ENV": str(VENV)}
