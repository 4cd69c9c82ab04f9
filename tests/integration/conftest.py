"""One mesh for most tests: two nodes, a web server behind one, a client behind the other."""

from collections.abc import Iterator
from typing import Any

import pytest

import docker
from tests.integration.hosts import Hosts, client_of
from tests.integration.stack import Stack
from vpn.engines import Engine

NODES = [{"name": "a"}, {"name": "b"}]
CONFIG: dict[str, Any] = {
    "name": "it",
    "vpnRange": "10.70.0.0/24",
    "underlayRange": "172.30.0.0/16",
    "siteRange": "10.71.0.0/16",
    "hostPort": 55820,
    "nodes": NODES,
    "workloads": [
        {"name": "it-server", "node": "a", "build": "docker/nginx"},
        {"name": "it-client", "node": "b", "build": "docker/test-client"},
    ],
}


@pytest.fixture(scope="session")
def hosts() -> Iterator[Hosts]:
    """The containers of this machine's engine."""
    client = client_of(Engine(**docker.utils.kwargs_from_env(), timeout=60))
    yield Hosts(client)
    client.close()


@pytest.fixture(scope="session")
def brought_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The mesh, once for all tests; gone afterwards, whatever they did."""
    stack = Stack(tmp_path_factory.mktemp("it"), dict(CONFIG))
    try:
        stack.up()
        yield stack
    finally:
        stack.destroy()


@pytest.fixture
def mesh(brought_up: Stack, hosts: Hosts) -> Stack:
    """The mesh as declared: a test that left it otherwise, or failed half-way, is put right by the next `up`."""
    brought_up.config = dict(CONFIG)
    brought_up.configure()
    if brought_up.deployed != CONFIG or not hosts.page("it-client", "it-server"):
        brought_up.api.cancel()
        brought_up.up()
    return brought_up
