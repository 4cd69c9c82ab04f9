"""The model is plain Python: it can be used, and tested, without Pulumi."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.model.stack_files import PROJECT
from vpn import components

MODULES = sorted((PROJECT / "vpn" / "model").glob("*.py"))
ALLOWED = {"vpn.model", "cryptography", "nacl.bindings", *sys.stdlib_module_names}
PUBLIC = [
    ("vpn.model.access", ["ACCESS_KEYS", "Access"]),
    ("vpn.model.addresses", ["assign", "host", "host_count", "host_number", "subnet"]),
    ("vpn.model.app_compose", ["AppCompose"]),
    ("vpn.model.attestation", ["AdmissionPolicy", "AttestationError", "Binding", "Evidence", "Expected", "Image"]),
    ("vpn.model.bundle", ["archive", "gate_files", "node_files"]),
    ("vpn.model.checkup", ["Checkup", "Finding", "Probe", "Stopped"]),
    ("vpn.model.config", ["KEYS", "NODE_KEYS", "WORKLOAD_KEYS", "parse"]),
    ("vpn.model.diagram", ["Diagram", "Edge", "Vertex", "dot", "mermaid", "of", "svg"]),
    ("vpn.model.doctor", ["CHECKS", "examine"]),
    ("vpn.model.facts", ["Facts", "HostFacts"]),
    ("vpn.model.firewall", ["render"]),
    ("vpn.model.gate", ["render"]),
    ("vpn.model.keys", ["Key", "KeyRing", "PresharedKey", "PrivateKey", "PublicKey", "clamp"]),
    ("vpn.model.names", ["render"]),
    ("vpn.model.paths", ["render"]),
    ("vpn.model.problems", ["ConfigError", "Problem"]),
    ("vpn.model.relay", ["render"]),
    ("vpn.model.redaction", ["Redaction"]),
    ("vpn.model.report", ["NodeReport", "parse"]),
    ("vpn.model.status", ["Status", "View"]),
    ("vpn.model.topology", ["Node", "Topology", "Workload", "node_at", "proxy_name"]),
    ("vpn.model.transport", ["RelayedLink", "TransportReader"]),
    ("vpn.model.wgconf", ["render"]),
    ("vpn.model.wgquick", ["MemberPeer", "render"]),
    ("vpn.attestation", ["admit", "check_quote"]),
    ("vpn.components", components.__all__),
    ("vpn.outputs", ["access", "containers", "nodes", "workloads"]),
    ("vpn.settings", ["load"]),
]
WITHOUT_PULUMI = """
import sys
sys.modules["pulumi"] = sys.modules["pulumi_docker"] = sys.modules["pulumi_random"] = None
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides where it leads"
            yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_of_the_model_imports_only_the_model_and_the_standard_library(path: Path) -> None:
    names = set(imported(ast.parse(path.read_text())))
    assert {name for name in names if not any(name == one or name.startswith(f"{one}.") for one in ALLOWED)} == set()


def test_the_model_is_imported_without_pulumi() -> None:
    names = [f"vpn.model.{path.stem}".removesuffix(".__init__") for path in MODULES]
    subprocess.run([sys.executable, "-c", WITHOUT_PULUMI, *names], check=True, cwd=PROJECT)


@pytest.mark.parametrize(("module", "names"), PUBLIC)
def test_public_names(module: str, names: list[str]) -> None:
    assert [name for name in names if not hasattr(import_module(module), name)] == []


def test_every_component_and_its_args_are_public() -> None:
    assert components.__all__ == sorted(components.__all__)
    assert {f"{name}Args" for name in components.__all__ if not name.endswith("Args")} < set(components.__all__)
