"""vpn dstack: what the nodes in confidential VMs have to run, and what they proved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from vpn.cli import mesh
from vpn.cli.failure import CliError
from vpn.cli.options import Answer, JsonOption, MeshOption, StackOption, show

APP_COMPOSE, DOCKER_COMPOSE = "app-compose.json", "docker-compose.yaml"
NONE_FIX = "declare a host of kind dstack and its node in the stack's config, and run `pulumi up`"

app = typer.Typer(no_args_is_help=True, help="Nodes in confidential VMs of DStack.")


@app.command("list")
def list_(stack: StackOption = "dev", mesh_file: MeshOption = None, *, as_json: JsonOption = False) -> None:
    """Show every node in a confidential VM: whether it is let in, and the hash of what it has to run."""
    guests = _guests(mesh_file, stack)
    keys = ("admitted", "epoch", "composeHash")
    data = [{"node": name, **{key: guest[key] for key in keys}} for name, guest in guests.items()]
    table = Table("node", "let in", "epoch", "compose hash")
    for one in data:
        table.add_row(one["node"], "yes" if one["admitted"] else "no", str(one["epoch"]), one["composeHash"])
    show(Answer(data, table), as_json=as_json)


@app.command()
def files(
    node: str,
    folder: Annotated[Path, typer.Argument(help="Where to write them; is made when it is not there.")],
    stack: StackOption = "dev",
    mesh_file: MeshOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write the app-compose.json to deploy, just as it is measured, and beside it its docker-compose.yaml to read."""
    guests = _guests(mesh_file, stack)
    if node not in guests:
        raise CliError(f"{node} is no node in a confidential VM", fix=f"one of {', '.join(guests)}")
    written = {APP_COMPOSE: guests[node]["appCompose"], DOCKER_COMPOSE: guests[node]["dockerCompose"]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (folder / name).write_bytes(text.encode())  # no newline more or less: the bytes are measured
    except OSError as error:
        raise CliError(f"{error}", fix="choose another folder") from None
    data = {"files": [str(folder / name) for name in written], "composeHash": guests[node]["composeHash"]}
    show(Answer(data, f"{data['files'][0]}: compose hash {data['composeHash']}"), as_json=as_json)


def _guests(mesh_file: str | None, stack: str) -> Mapping[str, Any]:
    found = mesh.outputs(mesh_file, stack)
    guests = found.get("guests") if isinstance(found, Mapping) else None
    if not guests:
        raise CliError("there is no node in a confidential VM", fix=NONE_FIX)
    return dict(guests)
