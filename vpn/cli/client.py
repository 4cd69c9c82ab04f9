"""vpn client: what a holder of a pass needs on their own machine."""

import io
import os
from pathlib import Path
from typing import Annotated

import segno
import typer

from vpn.cli.failure import CliError
from vpn.cli.options import Answer, Options, command
from vpn.cli.passes import Token, bind_key
from vpn.cli.session import Session
from vpn.model import wgquick
from vpn.model.keys import KEY_BYTES, PrivateKey, clamp

app = typer.Typer(help="A machine that joins the mesh with a pass.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `client` a group while it has one command."""


@command(app)
def config(
    options: Options,
    token: Token,
    host: Annotated[
        str | None,
        typer.Option(help="Name or address of the Docker host, for a device elsewhere; default: the host itself."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Private key to use, as `wg genkey` prints it; default: a new one."),
    ] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Print a QR code for WireGuard's app instead.")] = False,  # noqa: FBT002
) -> Answer:
    """Print a wg-quick file. Its key is made here, is in that file only, and its public half is bound to the pass."""
    session = Session(options)
    address, peers = session.mesh.address(token), session.mesh.peers(host)
    key = _read(key_file) if key_file else PrivateKey(clamp(os.urandom(KEY_BYTES)))
    _ensure_bound(session, token, key)
    text = wgquick.render(key, address, session.mesh.mtu, peers)
    data = {"token": token, "address": str(address), "publicKey": key.public().base64(), "config": text}
    return Answer(data, _code(text) if qr else text)


def _ensure_bound(session: Session, token: int, key: PrivateKey) -> None:
    """A key that is bound already, of a file that is printed again, needs no transaction and nobody who signs."""
    found = session.chain.passes().get(token)
    if found is None:
        raise CliError(f"there is no pass {token}", fix="`vpn pass list` shows all")
    if found.key != key.public().raw:
        bind_key(session, token, key.public())


def _read(file: Path) -> PrivateKey:
    try:
        return PrivateKey.parse(file.read_text().strip())
    except (OSError, ValueError) as error:
        reason = f"--key-file {file}: {error}" if isinstance(error, OSError) else f"--key-file {file} holds no key"
        raise CliError(reason, fix="make one with `umask 077; wg genkey`") from None


def _code(text: str) -> str:
    drawn = io.StringIO()
    segno.make(text, error="L").terminal(drawn, compact=True)
    return drawn.getvalue()
