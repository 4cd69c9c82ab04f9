"""What a killed `pulumi up` leaves behind: made in Docker, but not yet written into the state.

Its name is taken, so the next `up` could not make it again. Everything we make bears the stack's label; a thing of the
same name and label that Pulumi is about to create can only be such a leftover, and is removed first.
"""

from collections.abc import Sequence

import pulumi
from docker.models.containers import Container
from docker.models.networks import Network

import docker as engine

LABEL = "dstack-vpn.stack"


def stack_label() -> dict[str, str]:
    """Marks what this stack made, as keyword arguments of a `...LabelArgs`."""
    return {"label": LABEL, "value": f"{pulumi.get_project()}/{pulumi.get_stack()}"}


def removed_before_create(kind: str, name: str) -> pulumi.ResourceHookBinding:
    """Hooks for a container or network; `kind` and `name` make the hook's own name unique in the program."""
    hook = pulumi.ResourceHook(f"remove-leftover-{kind}-{name}", remove_leftover)
    return pulumi.ResourceHookBinding(before_create=[hook])


def remove_leftover(args: pulumi.ResourceHookArgs) -> None:
    """Remove a container or network of this name that bears the stack's label. A foreign one stays."""
    name = (args.new_inputs or {}).get("name")
    ours = f"{LABEL}={stack_label()['value']}"
    client = engine.from_env()
    for leftover in _bearing(client, args.type, ours):
        if leftover.name == name:
            pulumi.log.warn(f"removing {name}, which an interrupted `pulumi up` left behind")
            _remove(leftover)


def _bearing(client: engine.DockerClient, kind: str, label: str) -> Sequence[Container | Network]:
    if kind.endswith(":Container"):
        containers: Sequence[Container] = client.containers.list(all=True, filters={"label": label})
        return containers
    networks: Sequence[Network] = client.networks.list(filters={"label": label})
    return networks


def _remove(leftover: Container | Network) -> None:
    if isinstance(leftover, Container):
        leftover.remove(force=True)
    else:
        leftover.remove()
