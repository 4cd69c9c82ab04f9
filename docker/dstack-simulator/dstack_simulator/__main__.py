"""python3 -m dstack_simulator: be the guest agent of one guest until stopped."""

import argparse
import signal
import sys
from pathlib import Path

from dstack_simulator.certificates import Authority
from dstack_simulator.collateral import collateral
from dstack_simulator.guest import APP_ID, Guest
from dstack_simulator.server import Server

ROOT, COLLATERAL = "root.der", "collateral.json"


def main() -> None:
    """Say whom to trust, then answer."""
    options = _options()
    authority = Authority(options.seed.encode())
    if options.trust:
        (options.trust / ROOT).write_bytes(authority.root_der)
        (options.trust / COLLATERAL).write_text(collateral(authority))
    guest = Guest(authority, options.app_compose.read_bytes(), options.app_id, options.instance)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(options.socket, guest) as server:
        print(f"simulates app {options.app_id.hex()}, compose hash {guest.compose_hash.hex()}", flush=True)
        server.serve_forever()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dstack_simulator", description=__doc__)
    parser.add_argument("--socket", type=Path, default=Path("/var/run/dstack.sock"), help="unix socket to listen on")
    parser.add_argument("--app-compose", type=Path, required=True, help="the app-compose.json that the guest runs")
    parser.add_argument("--app-id", type=_app_id, required=True, help="40 hexadecimal digits")
    parser.add_argument("--instance", default="1", help="tells apart the instances of one app")
    parser.add_argument("--seed", required=True, help="all keys come from it; no secret, because nothing here is")
    parser.add_argument("--trust", type=Path, help=f"folder to write {ROOT} and {COLLATERAL} into")
    return parser.parse_args()


def _app_id(text: str) -> bytes:
    raw = bytes.fromhex(text)
    if len(raw) != APP_ID:
        raise argparse.ArgumentTypeError(f"an app ID has {APP_ID} bytes, not {len(raw)}")
    return raw


if __name__ == "__main__":
    main()
