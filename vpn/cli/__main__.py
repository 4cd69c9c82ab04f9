"""python -m vpn.cli, or bin/vpn."""

import sys
from collections.abc import Sequence

import typer

from vpn.cli import client, dstack, passes
from vpn.cli.check import check
from vpn.cli.failure import CliError

app = typer.Typer(
    name="vpn",
    help="Runs a dstack-vpn mesh, and joins one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(passes.app, name="pass")
app.add_typer(client.app, name="client")
app.add_typer(dstack.app, name="dstack")
app.command()(check)


def main(arguments: Sequence[str]) -> int:
    """Run a command; what was to be expected to fail is told without a traceback."""
    try:
        app(list(arguments), prog_name="vpn")
    except CliError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
