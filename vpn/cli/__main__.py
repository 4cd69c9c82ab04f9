"""python -m vpn.cli, or bin/vpn."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

import typer

from vpn.cli import dstack
from vpn.cli.bundle import bundle
from vpn.cli.check import check
from vpn.cli.doctor import doctor
from vpn.cli.failure import CliError
from vpn.cli.graph import graph
from vpn.cli.logs import logs
from vpn.cli.status import status

ON_CHAIN = {"pass": "vpn.cli.passes", "client": "vpn.cli.client"}  # whose library takes a second to load
OFF_CHAIN: Mapping[str, Callable[..., None]] = {
    "status": status,
    "graph": graph,
    "check": check,
    "doctor": doctor,
    "logs": logs,
    "bundle": bundle,
}


def program(first: str) -> typer.Typer:
    """All commands; when the first argument is one of those that need no chain, those alone."""
    app = typer.Typer(
        name="vpn",
        help="Runs a dstack-vpn mesh, and joins one.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    if first not in OFF_CHAIN:
        for name, module in ON_CHAIN.items():
            app.add_typer(import_module(module).app, name=name)
    app.add_typer(dstack.app, name="dstack")
    for name, command in OFF_CHAIN.items():
        app.command(name)(command)
    return app


def main(arguments: Sequence[str]) -> int:
    """Run a command; what was to be expected to fail is told without a traceback."""
    try:
        program(arguments[0] if arguments else "")(list(arguments), prog_name="vpn")
    except CliError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
