"""Never two at once: members of a cluster are replaced one after another, and the primary last.

What can be asked only of the containers themselves is asked there, as the delivery asks the config carriers.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pulumi

import docker
from vpn.engines import connected
from vpn.model.hosts import Host

BACK_SECONDS = 300  # a member that was away may have to copy all data
ROLE_SECONDS = 15


def primary_last(members: Mapping[str, Host]) -> list[str]:
    """Containers in the order in which to replace them; who does not answer goes first: it is no primary to others."""
    names = list(members)
    if pulumi.runtime.is_dry_run() or not names:
        return names
    with ThreadPoolExecutor(len(names)) as pool:
        is_primary = dict(zip(names, pool.map(_is_primary, members.values(), names), strict=True))
    return sorted(names, key=lambda name: is_primary[name])


def _is_primary(host: Host, container: str) -> bool:
    try:
        return _run(host, container, ["member", "is-primary"], ROLE_SECONDS)[0] == 0
    except (docker.errors.DockerException, OSError):
        return False


def back_after_create(name: str, container: str, host: Host) -> pulumi.ResourceHookBinding:
    """A hook that waits until a member that was replaced is one of the cluster again; the next one waits for it."""

    def wait(_: pulumi.ResourceHookArgs) -> None:
        status, said = _run(host, container, ["member", "await", str(BACK_SECONDS)], BACK_SECONDS + ROLE_SECONDS)
        if status:
            raise pulumi.RunError(f"{container} is not back in the cluster, so no other is touched: {said}")

    return pulumi.ResourceHookBinding(after_create=[pulumi.ResourceHook(f"back-{name}", wait)])


def _run(host: Host, container: str, command: Sequence[str], seconds: float) -> tuple[int, str]:
    """Exit status and output of a command in a container."""
    with connected(host, seconds) as engine:
        call = engine.exec_create(container, list(command))["Id"]
        said = engine.exec_start(call).decode(errors="replace").strip()
        return int(engine.exec_inspect(call)["ExitCode"]), said
