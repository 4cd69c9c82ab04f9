"""Puts the steps together: the environment in which Pulumi, the tests and the user's shell can work."""

import os

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
    env["PATH"] = os.pathsep.join([*map(str, folders), env.get("PATH", os.defpath)])
    return env | {"VIRTUAL_ENV": str(VENV)}
