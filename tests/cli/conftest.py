"""The command line beside a chain, without a mesh: what a stack's outputs say is written in a file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.components.test_program import OUTPUTS
from tests.contracts.chain import Chain
from vpn.cli.__main__ import main

RANGE = "10.65.0.0/27"  # more hosts than the contract has passes


@dataclass
class Vpn:
    """Runs `vpn` in this process."""

    capsys: pytest.CaptureFixture[str]
    mesh: Path

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        self.capsys.readouterr()
        try:
            status = main([*arguments, "--mesh", str(self.mesh)])
        except SystemExit as end:
            status = int(end.code or 0)
        return (status, *self.capsys.readouterr())

    def told(self, *arguments: str) -> str:
        """What a command that succeeds prints."""
        status, output, errors = self.run(*arguments)
        assert status == 0, errors
        return output

    def data(self, *arguments: str) -> Any:
        """What it prints for machines."""
        return json.loads(self.told(*arguments, "--json"))

    def refused(self, *arguments: str) -> str:
        """What a command says that fails; it prints nothing that a pipe would take for a result."""
        status, output, errors = self.run(*arguments)
        assert (status, output) == (1, ""), (status, output, errors)
        assert errors.startswith("error: ")
        return errors


@pytest.fixture
def outputs() -> dict[str, Any]:
    """The outputs of the dev stack, but for its chain."""
    copy: dict[str, Any] = json.loads(json.dumps(OUTPUTS))
    for name, node in copy["nodes"].items():
        node["members"] = True
        node["publicKey"] = {"node-a": "A", "node-b": "B"}[name] * 42 + "A="
    copy["access"] |= {"memberRange": RANGE}
    return copy


@pytest.fixture
def vpn(outputs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Vpn:
    """The command line with these outputs; its chain does not answer."""
    outputs["access"]["rpcUrl"] = "http://127.0.0.1:9"
    mesh = tmp_path / "mesh.json"
    mesh.write_text(json.dumps(outputs))
    return Vpn(capsys, mesh)


@pytest.fixture
def on_chain(vpn: Vpn, outputs: dict[str, Any], chain: Chain) -> Vpn:
    """The same with a chain."""
    outputs["access"]["rpcUrl"] = chain.url
    vpn.mesh.write_text(json.dumps(outputs))
    return vpn
