"""A chain with the contract, in a container of the tests' own; every test finds it as it was deployed."""

from collections.abc import Iterator
from contextlib import closing

import pytest

import docker
from contracts.build import SOURCE
from tests.contracts.chain import CAPACITY, Chain, running_chain

IMAGE = "it-chain:latest"


@pytest.fixture(scope="session")
def chain_image() -> Iterator[str]:
    """The chain's image, built from the folder that the stack builds it from."""
    with closing(docker.from_env()) as client:
        client.images.build(path=str(SOURCE.parent), tag=IMAGE, rm=True)
        yield IMAGE
        client.images.remove(IMAGE, force=True)


@pytest.fixture(scope="session")
def deployed(chain_image: str) -> Iterator[Chain]:
    """The chain, once for all tests."""
    with running_chain(chain_image, CAPACITY) as chain:
        yield chain


@pytest.fixture
def chain(deployed: Chain) -> Iterator[Chain]:
    """The chain without what other tests did to it."""
    with deployed.undone():
        yield deployed
