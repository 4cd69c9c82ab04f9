"""Step: a Docker engine that answers; the user's own if there is one."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from bootstrap import apt, command, paths
from bootstrap.console import say, step
from bootstrap.failure import BootstrapError

START_SECONDS = 60
FIX = "install Docker, start its engine and see that `docker version` shows a server"


def ensure(env: Mapping[str, str]) -> None:
    """Use the engine that answers, else install and start Debian's."""
    with step("Docker engine") as current:
        version = answer(env)
        if not version:
            _refuse_foreign(env)
            _install(env)
            version = answer(env) or _start(env)
        current.result = f"version {version}"


def answer(env: Mapping[str, str]) -> str:
    """Version of the engine that the docker command reaches; empty if none answers."""
    result = command.ask(["docker", "version", "--format", "{{.Server.Version}}"], env=env, timeout=30)
    return result.answer.strip() if result.ok else ""


def host_of_context(env: Mapping[str, str]) -> dict[str, str]:
    """DOCKER_HOST for a user who chose a Docker context: the docker command honours it, Pulumi's provider does not."""
    config = Path(env.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    if env.get("DOCKER_HOST") or not config.exists() or not json.loads(config.read_text()).get("currentContext"):
        return {}
    inspect = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    result = command.ask(inspect, env=env)
    return {"DOCKER_HOST": result.answer.strip()} if result.ok else {}


def _refuse_foreign(env: Mapping[str, str]) -> None:
    """An engine that the user points at is theirs to start; a local one would not be what they asked for."""
    if env.get("DOCKER_HOST"):
        reason = f"no engine answers at DOCKER_HOST={env['DOCKER_HOST']}"
        raise BootstrapError(reason, fix="start that engine, or unset DOCKER_HOST to use a local one")


def _install(env: Mapping[str, str]) -> None:
    if shutil.which("dockerd", path=env.get("PATH")) is None:
        say("  no Docker engine answers: installing Debian's docker.io")
        apt.install("docker.io", why="the Docker engine", env=env)
    # From Debian 13 on the command has a package of its own.
    if shutil.which("docker", path=env.get("PATH")) is None:
        apt.install("docker-cli", why="the docker command", env=env)


def _start(env: Mapping[str, str]) -> str:
    if os.geteuid() != 0:
        raise BootstrapError("no Docker engine answers, and only root can start one", fix=FIX)
    say("  starting the Docker engine")
    if command.ask(["service", "docker", "start"], env=env).ok:
        version = _wait(env, None)
        if version:
            return version
    return _start_detached(env)


def _start_detached(env: Mapping[str, str]) -> str:
    """Start dockerd itself, for machines without an init system that can; it goes on when this program ends."""
    log = paths.state(env) / "dockerd.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            ["dockerd"], env=env, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    version = _wait(env, daemon)
    if not version:
        reason = f"dockerd does not answer; its log is {log}"
        raise BootstrapError(reason, fix=FIX, command=["dockerd"], log=log.read_text(errors="replace"))
    say(f"  dockerd runs as process {daemon.pid} (pid file /var/run/docker.pid, log {log})")
    return version


def _wait(env: Mapping[str, str], daemon: subprocess.Popen[bytes] | None) -> str:
    """Ask until the engine answers; give up when its process has ended or after START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while not (version := answer(env)):
        if time.monotonic() > deadline or (daemon is not None and daemon.poll() is not None):
            break
        time.sleep(0.2)
    return version
