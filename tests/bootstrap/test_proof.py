"""The proof speaks only when the page crossed the tunnel."""

import pytest

from bootstrap import proof
from bootstrap.failure import BootstrapError

OUTPUTS = {
    "proof": {"client": "test-client", "url": "http://nginx-server:80", "nodes": ["vpn-a", "vpn-b"]},
    "nodes": {
        "node-a": {"container": "vpn-a", "address": "10.0.0.1"},
        "node-b": {"container": "vpn-b", "address": "10.0.0.2"},
    },
}


def test_the_claim_is_read_from_the_outputs() -> None:
    claim = proof.read(OUTPUTS)
    assert (claim.first, claim.second, claim.second_address) == ("vpn-a", "vpn-b", "10.0.0.2")


@pytest.mark.parametrize("outputs", [{}, {**OUTPUTS, "nodes": {}}, {**OUTPUTS, "proof": {"nodes": ["vpn-a"]}}])
def test_outputs_without_a_claim_are_refused(outputs: dict[str, object]) -> None:
    with pytest.raises(BootstrapError, match="do not say what to prove"):
        proof.read(outputs)


def test_counters_are_summed_over_all_peers() -> None:
    assert proof.transferred("key1=\t100\t20\nkey2=\t3\t4\n") == 127
    assert proof.transferred("") == 0


def test_counters_that_rose_enough_prove_it() -> None:
    assert "615 bytes) crossed the tunnel" in proof.verdict(615, [900, 800], proof.read(OUTPUTS))


@pytest.mark.parametrize(("page", "rises"), [(615, [900, 614]), (615, [0, 0]), (0, [900, 900])])
def test_counters_that_did_not_rise_enough_disprove_it(page: int, rises: list[int]) -> None:
    with pytest.raises(BootstrapError, match="counters rose by"):
        proof.verdict(page, rises, proof.read(OUTPUTS))
