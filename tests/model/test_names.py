"""The names of the mesh."""

from hypothesis import given

from tests.model.example import MESH
from tests.model.strategies import topologies
from vpn.model import names
from vpn.model.topology import Node, Topology, Workload

HOSTS = """\
10.0.0.1 node-a.vpn.dstack node-a
10.0.0.2 node-b.vpn.dstack node-b
10.64.1.3 nginx-server.vpn.dstack nginx-server
10.64.2.3 test-client.vpn.dstack test-client
10.64.1.3 page.vpn.dstack page
"""


def test_two_nodes_and_their_workloads() -> None:
    assert names.render(MESH) == HOSTS


@given(topologies())
def test_every_name_has_one_address_and_every_address_one_name(mesh: Topology) -> None:
    lines = [line.split() for line in names.render(mesh).splitlines()]
    members: list[Node | Workload] = [*mesh.nodes, *mesh.workloads]
    assert [[str(one.address), f"{one.name}.{mesh.domain}", one.name] for one in members] == lines
    assert len({address for address, _, _ in lines}) == len({name for _, _, name in lines}) == len(lines)
