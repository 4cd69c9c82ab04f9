"""What every command takes and gives, said once."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console, RenderableType

WIDTH = 150  # characters, where there is no terminal to ask
StackOption = Annotated[str, typer.Option(help="Stack whose outputs describe the mesh.")]
MeshOption = Annotated[
    str | None, typer.Option("--mesh", metavar="FILE", help="Outputs of the stack as a JSON file; '-': standard input.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of every command that speaks with a chain; the field's annotation is the option."""

    stack: StackOption = "dev"
    mesh: MeshOption = None
    rpc: Annotated[
        str | None,
        typer.Option(metavar="URL|@FILE", help="JSON-RPC endpoint of a real chain; @FILE reads a secret one."),
    ] = None
    contract: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Access-pass contract on that chain.")] = None
    account: Annotated[
        str | None, typer.Option(metavar="N|ADDRESS", help="Account for which the endpoint signs (embedded chain).")
    ] = None
    keystore: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ethereum keystore (Web3 Secret Storage) that signs.")
    ] = None
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Password of the keystore; else it is asked for.")
    ] = None
    as_json: JsonOption = False


@dataclass(frozen=True)
class Answer:
    """What a command found or did."""

    data: Any
    """For machines."""
    text: RenderableType
    """For people."""


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., Answer]], Callable[..., None]]:
    """Make a function a command, of its own name if none is given.

    The command takes all of `Options` beside what the function declares; the function gets them as its first argument.
    """

    def register(function: Callable[..., Answer]) -> Callable[..., None]:
        @wraps(function)
        def run(**arguments: Any) -> None:
            options = Options(**{one.name: arguments.pop(one.name) for one in fields(Options)})
            show(function(options, **arguments), as_json=options.as_json)

        own = list(signature(function).parameters.values())[1:]
        run.__signature__ = Signature([*own, *_parameters()])  # type: ignore[attr-defined]
        app.command(name)(run)
        return run

    return register


def _parameters() -> list[Parameter]:
    hints = get_type_hints(Options, include_extras=True)
    return [
        Parameter(one.name, Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
        for one in fields(Options)
    ]


def show(answer: Answer, *, as_json: bool) -> None:
    """Print an answer to standard output; text that is meant for a file or a pipe unchanged."""
    if as_json:
        print(json.dumps(answer.data, indent=2))
    elif isinstance(answer.text, str):
        sys.stdout.write(answer.text if answer.text.endswith("\n") else f"{answer.text}\n")
    else:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(answer.text)
