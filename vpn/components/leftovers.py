"""What a killed `pulumi up` leaves behind: made in Docker, but not yet written into the state.

Its name is taken, so the next `up` could not make it again. Everything of a mesh bears the mesh's identity, which only
its own state can tell; what has the name and identity of a thing that Pulumi is about to create can only be such a
leftover, and is removed first. What belongs to another state, even of a stack of the same name, is never touched.
"""

from collections.abc import Callable
from functools import partial

import pulumi

import docker
from vpn.engines import Engine, connected
from vpn.model.hosts import Host

LABEL = "dstack-vpn.mesh"


def removed_before_create(kind: str, name: str, parent: pulumi.Resource, host: Host) -> pulumi.ResourceHookBinding:
    """Hooks for a container or network; kind, name and parent make the hook's own name unique in the program."""

    def remove(args: pulumi.ResourceHookArgs) -> None:
        remove_leftover(host, args)

    hook = pulumi.ResourceHook(f"remove-leftover-{type(parent).__name__}-{name}-{kind}", remove)
    return pulumi.ResourceHookBinding(before_create=[hook])


def remove_leftover(host: Host, args: pulumi.ResourceHookArgs) -> None:
    """Remove the container or network of this name if it bears the mesh's identity."""
    inputs = args.new_inputs or {}
    identity = next(one["value"] for one in inputs["labels"] if one["label"] == LABEL)
    find = _containers if args.type.endswith(":Container") else _networks
    with connected(host) as engine:
        for remove in find(engine, inputs["name"], identity):
            pulumi.log.warn(f"removing {inputs['name']}, which an interrupted `pulumi up` left behind")
            remove()


def _containers(engine: Engine, name: str, identity: str) -> list[Callable[[], None]]:
    try:
        found = engine.inspect_container(name)
    except docker.errors.NotFound:
        return []
    is_ours = (found["Config"]["Labels"] or {}).get(LABEL) == identity
    return [partial(engine.remove_container, found["Id"], force=True)] if is_ours else []


def _networks(engine: Engine, name: str, identity: str) -> list[Callable[[], None]]:
    found = engine.networks(names=[name], filters={"label": f"{LABEL}={identity}"})
    return [partial(engine.remove_network, one["Id"]) for one in found if one["Name"] == name]
