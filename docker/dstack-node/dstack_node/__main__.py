"""python3 -m dstack_node serve: keep a node until stopped; python3 -m dstack_node health: how that goes."""

import argparse
import asyncio
import json
import logging
import re
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from dstack_node.files import replace
from dstack_node.keeper import Keeper
from dstack_node.log import Unexpected
from dstack_node.node import Node
from dstack_node.service import Settings, serve

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, 2.1; has no '/', which parts a key's path
SIGNER = re.compile(r"[0-9a-f]{64}")
STATE = "state.json"
STALE = 30  # seconds


def main() -> int:
    """Do what the arguments say; 0 if it went well."""
    options = _parser().parse_args()
    if options.command == "health":
        return health(options.run / STATE)
    settings = Settings(
        node=Node(network=options.network, node=options.node),
        signer=options.signer,
        listen=options.listen,
        socket=options.socket,
        config=options.config,
        state=options.state,
    )
    logging.basicConfig(handlers=[Unexpected()])
    try:
        asyncio.run(serve(settings, lambda keeper: report(keeper, options.run / STATE)))
    except OSError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


# --- arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dstack_node", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_serve(commands.add_parser("serve", help="keep a node until stopped"))
    _add_run(commands.add_parser("health", help="say how that goes"))
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", type=_label, required=True, help="name of the network")
    parser.add_argument("--node", type=_label, required=True, help="name of the node in it")
    parser.add_argument(
        "--signer", type=_signer, required=True, help="the operator's Ed25519 public key, 64 hex digits"
    )
    parser.add_argument("--listen", type=_address, default="0.0.0.0:51821", help="IPv4 address and port")
    parser.add_argument("--socket", type=Path, default=Path("/var/run/dstack.sock"), help="of the guest agent")
    parser.add_argument("--config", type=Path, default=Path("/config"), help="has the folders node and relay")
    parser.add_argument("--state", type=Path, default=Path("/state"), help="where the last order is kept")
    _add_run(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, default=Path("/run"), help="where it is left how it goes")


def _label(text: str) -> str:
    if not LABEL.fullmatch(text):
        raise argparse.ArgumentTypeError("use 1 to 63 of a-z, 0-9 and '-', not '-' at an end (RFC 1123, 2.1)")
    return text


def _signer(text: str) -> bytes:
    if not SIGNER.fullmatch(text):
        raise argparse.ArgumentTypeError("use 64 lower-case hexadecimal digits")
    return bytes.fromhex(text)


def _address(text: str) -> tuple[IPv4Address, int]:
    host, _, port = text.rpartition(":")
    try:
        return IPv4Address(host), int(port)
    except ValueError:
        raise argparse.ArgumentTypeError("use an IPv4 address and a port, as in 0.0.0.0:51821") from None


# --- health


def report(keeper: Keeper, path: Path) -> None:
    """Leave for `health` how it goes."""
    how = {"serial": keeper.serial, "missing": keeper.missing(), "complaint": keeper.complaint}
    replace(path, json.dumps({"uptime": uptime(), **how}).encode())


def uptime() -> float:
    """Seconds since this machine started (proc(5))."""
    return float(Path("/proc/uptime").read_text().split()[0])


def health(path: Path) -> int:
    """Say how it goes; 0 if it serves, and everything that was ordered is applied."""
    if not path.exists():
        print("not started yet")
        return 1
    state = json.loads(path.read_text())
    complaint = _complaint(state)
    well = f"ok: order {state['serial']} is applied" if state["serial"] else "ok: waits for its first order"
    print(f"failed: {complaint}" if complaint else well)
    return 1 if complaint else 0


def _complaint(state: dict[str, Any]) -> str:
    silence = uptime() - state["uptime"]
    if silence > STALE:
        return f"no sign of life for {silence:.0f} s"
    waiting = f"waiting for: {', '.join(state['missing'])}" if state["missing"] else ""
    return state["complaint"] or waiting


if __name__ == "__main__":
    sys.exit(main())
