"""vpn doctor: known troubles, what was found of each, and how to mend it."""

from dataclasses import asdict

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from vpn.cli import examine, mesh
from vpn.cli.failure import CliError
from vpn.cli.options import Answer, JsonOption, MeshOption, StackOption, show
from vpn.model.checkup import Finding
from vpn.model.doctor import examine as findings


def doctor(stack: StackOption = "dev", mesh_file: MeshOption = None, *, as_json: JsonOption = False) -> None:
    """Look for known troubles in every container, tunnel and host; exit status 1 if there is one, not for hints."""
    with Console(stderr=True).status("looking from inside every node"):
        found = findings(examine.checkup(mesh.outputs(mesh_file, stack)))
    show(Answer([asdict(one) for one in found], _text(found)), as_json=as_json)
    troubles = [one for one in found if not one.hint]
    if troubles:
        raise CliError(f"{len(troubles)} troubles", fix="mend them from the top: one may cause those below")


def _text(found: list[Finding]) -> RenderableType:
    if not found:
        return "no known trouble"
    table = Table("", "where", "trouble", "found", "fix")
    for one in found:
        table.add_row(
            "[yellow]![/]" if one.hint else "[red]✗[/]",
            *(escape(cell) for cell in (one.place, one.trouble, one.found, one.fix)),
        )
    return table
