"""What a killed `pulumi up` leaves behind: made in Docker, but not yet written into the state.

Its name is taken, so the next `up` could not make it again. Everything we make bears the stack's label; a thing of the
same name and label that Pulumi is about to create can only be such a leftover, and is removed first.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial

import pulumi

import docker as engine

LABEL = "dstack-vpn.stack"


def stack_label() -> dict[str, str]:
    """Marks what this stack made, as keyword arguments of a `...LabelArgs`."""
    return {"label": LABEL, "value": f"{pulumi.get_project()}/{pulumi.get_stack()}"}


def removed_before_create(kind: str, name: str, parent: pulumi.Resource) -> pulumi.ResourceHookBinding:
    """Hooks for a container or network; kind, name and parent make the hook's own name unique in the program."""
    hook = pulumi.ResourceHook(f"remove-leftover-{type(parent).__name__}-{name}-{kind}", remove_leftover)
    return pulumi.ResourceHookBinding(before_create=[hook])


def remove_leftover(args: pulumi.ResourceHookArgs) -> None:
    """Remove a container or network of this name that bears the stack's label. A foreign one stays."""
    name = (args.new_inputs or {})["name"]
    find = _containers if args.type.endswith(":Container") else _networks
    with closing(engine.from_env()) as client:
        for remove in find(client, name):
            pulumi.log.warn(f"removing {name}, which an interrupted `pulumi up` left behind")
            remove()


def _containers(client: engine.DockerClient, name: str) -> list[Callable[[], None]]:
    try:
        container = client.containers.get(name)
    except engine.errors.NotFound:
        return []
    return [partial(container.remove, force=True)] if container.labels.get(LABEL) == stack_label()["value"] else []


def _networks(client: engine.DockerClient, name: str) -> list[Callable[[], None]]:
    found = client.networks.list(names=[name], filters={"label": f"{LABEL}={stack_label()['value']}"})
    return [network.remove for network in found if network.name == name]
