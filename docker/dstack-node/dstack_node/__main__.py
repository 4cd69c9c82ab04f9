"""python3 -m dstack_node: take the node's key from the guest agent, and have its public key attested."""

import argparse
import re
import sys
from pathlib import Path

from dstack_node.agent import Agent, AgentError
from dstack_node.keys import KeyToolError
from dstack_node.node import Node, attest

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, 2.1; has no '/', which parts a key's path
NONCE = re.compile(r"[0-9a-f]{64}")


def main() -> int:
    """Do it once; 0 if it is done."""
    options = _options()
    node = Node(network=options.network, node=options.node, epoch=options.epoch, nonce=options.nonce)
    try:
        line = attest(node, Agent(options.socket, options.patience), options.folder)
    except (AgentError, KeyToolError, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print(line, flush=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dstack_node", description=__doc__)
    parser.add_argument("--network", type=_label, required=True, help="name of the network")
    parser.add_argument("--node", type=_label, required=True, help="name of the node in it")
    parser.add_argument("--epoch", type=_epoch, required=True, help="generation of the key; another gives another key")
    parser.add_argument("--nonce", type=_nonce, required=True, help="the verifier's; 64 hexadecimal digits")
    parser.add_argument("--folder", type=Path, required=True, help="where key and evidence are left")
    parser.add_argument("--socket", type=Path, default=Path("/var/run/dstack.sock"), help="of the guest agent")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for the guest agent")
    return parser.parse_args()


def _label(text: str) -> str:
    if not LABEL.fullmatch(text):
        raise argparse.ArgumentTypeError("use 1 to 63 of a-z, 0-9 and '-', not '-' at an end (RFC 1123, 2.1)")
    return text


def _epoch(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError("use a whole number that is not negative")
    return int(text)


def _nonce(text: str) -> bytes:
    if not NONCE.fullmatch(text):
        raise argparse.ArgumentTypeError("use 64 lower-case hexadecimal digits")
    return bytes.fromhex(text)


if __name__ == "__main__":
    sys.exit(main())
