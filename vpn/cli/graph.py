"""vpn graph: the mesh as it is now, as a picture."""

from dataclasses import asdict
from enum import Enum
from typing import Annotated

import typer
from rich.console import Console

from vpn.cli import look, mesh
from vpn.cli.options import Answer, JsonOption, MeshOption, StackOption, show
from vpn.model import diagram
from vpn.model.status import View


class Format(Enum):
    """What the picture is for."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


RENDER = {Format.MERMAID: diagram.mermaid, Format.DOT: diagram.dot, Format.SVG: diagram.svg}
FormatOption = Annotated[
    Format, typer.Option("--format", help="mermaid for documents, dot for Graphviz, svg for browsers.")
]


def graph(
    stack: StackOption = "dev",
    mesh_file: MeshOption = None,
    format_: FormatOption = Format.MERMAID,
    *,
    as_json: JsonOption = False,
) -> None:
    """Draw nodes and tunnels: red what is down, grey what nobody tells of, dashed what goes over TCP."""
    with Console(stderr=True).status("looking"):
        outputs = mesh.outputs(mesh_file, stack)
        status = View(outputs, look.facts(outputs)).status()
        found = diagram.of(outputs["nodes"], status)
    show(Answer(asdict(found), RENDER[format_](found)), as_json=as_json)
