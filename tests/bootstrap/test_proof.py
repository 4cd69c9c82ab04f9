"""The proof speaks only when the page crossed the tunnel."""

from typing import Any

import pytest

from bootstrap import proof
from bootstrap.failure import BootstrapError

OUTPUTS: dict[str, dict[str, Any]] = {
    "workloads": {"nginx-server": {"node": "node-a"}, "test-client": {"node": "node-b"}},
    "nodes": {
        "node-a": {"container": "vpn-a", "address": "10.0.0.1"},
        "node-b": {"container": "vpn-b", "address": "10.0.0.2"},
    },
}
CLAIM = proof.Claim(first="vpn-a", second="vpn-b", second_address="10.0.0.2")


def test_the_claim_is_read_from_the_outputs() -> None:
    assert proof.read(OUTPUTS) == CLAIM


def test_a_stack_without_client_and_server_claims_nothing() -> None:
    assert proof.read({**OUTPUTS, "workloads": {"nginx-server": {"node": "node-a"}}}) is None


def test_a_client_beside_its_server_claims_nothing() -> None:
    workloads = {name: {"node": "node-a"} for name in OUTPUTS["workloads"]}
    assert proof.read({**OUTPUTS, "workloads": workloads}) is None


def test_counters_are_summed_over_all_peers() -> None:
    assert proof.transferred("key1=\t100\t20\nkey2=\t3\t4\n") == 127
    assert proof.transferred("") == 0


def test_counters_that_rose_enough_prove_it() -> None:
    assert "615 bytes) crossed the tunnel" in proof.verdict(615, [900, 800], CLAIM)


@pytest.mark.parametrize(("page", "rises"), [(615, [900, 614]), (615, [0, 0]), (0, [900, 900])])
def test_counters_that_did_not_rise_enough_disprove_it(page: int, rises: list[int]) -> None:
    with pytest.raises(BootstrapError, match="counters rose by"):
        proof.verdict(page, rises, CLAIM)
