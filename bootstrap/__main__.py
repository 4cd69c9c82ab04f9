"""python3 -m bootstrap: bring the mesh up on a bare machine, take it down, or run a command in its environment."""

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from bootstrap import access_proof, lifecycle, proof
from bootstrap.console import say, step
from bootstrap.environment import prepare
from bootstrap.failure import BootstrapError
from bootstrap.paths import CHECKOUT
from bootstrap.stack import Stack

OLDEST_PYTHON = (3, 11)


def up(options: argparse.Namespace) -> int:
    """Prepare the machine, bring the stack up, prove that it works."""
    stack = Stack(name=options.stack, env=prepare())
    lifecycle.prepare(stack)
    status = stack.up()
    if status == 0:
        with step("Proof") as current:
            outputs = stack.outputs()
            proof.show(outputs, stack.env)
            access_proof.show(outputs, stack.env)
            current.result = "done"
    return status


def preview(options: argparse.Namespace) -> int:
    """Show what `up` would change, and change nothing."""
    stack = Stack(name=options.stack, env=prepare())
    lifecycle.prepare(stack)
    return stack.preview()


def down(options: argparse.Namespace) -> int:
    """Destroy what `up` made; caches and the Docker engine stay."""
    return lifecycle.destroy(Stack(name=options.stack, env=prepare()))


def run(options: argparse.Namespace) -> NoReturn:
    """Run a command in the prepared environment."""
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    prepared = prepare(docker=not options.no_docker)
    path = shutil.which(program[0], path=prepared["PATH"]) if program else None
    if path is None:
        raise BootstrapError("there is no such command", command=program, fix="python3 -m bootstrap run -- COMMAND")
    os.chdir(CHECKOUT)
    os.execve(path, program, prepared)  # noqa: S606 (the command is the user's own)


def env(_: argparse.Namespace) -> int:
    """Print what a shell needs: eval "$(python3 -m bootstrap env)"."""
    prepared = prepare()
    for name in sorted(name for name in prepared if prepared[name] != os.environ.get(name)):
        print(f"export {name}={shlex.quote(prepared[name])}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    root = argparse.ArgumentParser(prog="python3 -m bootstrap", description=__doc__)
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    for action in (up, preview, down, run, env):
        command = commands.add_parser(action.__name__, help=action.__doc__, description=action.__doc__)
        command.set_defaults(action=action)
        if action in (up, preview, down):
            command.add_argument("--stack", default="dev", help="name of the stack (default: dev)")
        if action is run:
            command.add_argument("--no-docker", action="store_true", help="only the Python environment is needed")
            command.add_argument("program", nargs=argparse.REMAINDER, metavar="-- CMD", help="the command to run")
    return root


def main(arguments: Sequence[str]) -> int:
    """Run a command; what was to be expected to fail is told without a traceback."""
    options = parser().parse_args(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # in order with stderr, also in a log
    try:
        return int(options.action(options))
    except BootstrapError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; run the same command again, it goes on from what is done")
        return 130


if __name__ == "__main__":
    if sys.version_info < OLDEST_PYTHON:
        sys.exit("dstack-vpn needs Python 3.11 or newer")
    sys.exit(main(sys.argv[1:]))
