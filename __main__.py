"""The stack: settings -> mesh -> outputs."""

import pulumi

from vpn import outputs, settings
from vpn.components import VpnMesh, VpnMeshArgs


async def main() -> pulumi.Inputs:
    """Declare the mesh that the stack's configuration describes."""
    topology, evidence = await settings.load()
    mesh = VpnMesh("mesh", VpnMeshArgs(topology=topology))
    return {
        "nodes": mesh.public_keys.apply(lambda keys: outputs.nodes(topology, keys)),
        "hosts": outputs.hosts(topology),
        "guests": mesh.signer.apply(lambda signer: outputs.guests(topology, signer, evidence)),
        "containers": outputs.containers(topology),
        "links": outputs.links(topology),
        "mesh": mesh.identity,
        "workloads": outputs.workloads(topology),
        "tests": outputs.tests(topology),
        "access": outputs.access(topology),
        "postgres": outputs.postgres(topology),
        "monitoring": outputs.monitoring(topology),
        "postgresPasswords": mesh.postgres and {role: mesh.postgres.passwords[role] for role in mesh.postgres.roles},
    }


pulumi.run(main)
