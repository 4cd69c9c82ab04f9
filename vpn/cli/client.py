"""vpn client: what a holder of a pass needs on their own machine."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
def config(  # noqa: PLR0913 (its options)
    options: Options,
    token: Token,
    *,
    host: Annotated[
        str | None,
        typer.Option(help="Name or address of the Docker host, for a device elsewhere; default: the host itself."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Private key to use, as `wg genkey` prints it; default: a new one."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the file here, readable by you only, instead of printing."
        ),
    ] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Print a QR code for WireGuard's app instead.")] = False,
    dns: Annotated[
        bool, typer.Option("--dns", help="Let the device ask the nodes for names, the mesh's and others.")
    ] = False,
) -> Answer:
    """Print a wg-quick file. Its key is made here, is in that file only, and its public half is bound to the pass."""
    session = Session(options)
    address, peers = session.mesh.address(token), session.mesh.peers(host)
    resolvers = (*(str(peer.allowed[0].network_address) for peer in peers), session.mesh.domain) if dns else ()
    key = _read(key_file) if key_file else PrivateKey(clamp(os.urandom(KEY_BYTES)))
    text = wgquick.render(key, address, session.mesh.mtu, peers, resolvers)
    shown = _code(text) if qr else text  # all that can fail comes before the binding, or the key would be lost
    data = {"token": token, "address": str(address), "publicKey": key.public().base64(), "config": text}
    if output is None:
        _ensure_bound(session, token, key)
        return Answer(data, shown)
    with _written(output, text):
        _ensure_bound(session, token, key)
    return Answer({**data, "config": str(output)}, shown if qr else f"Next: wg-quick up {output.resolve()}")


@contextmanager
def _written(file: Path, text: str) -> Iterator[None]:
    """Have a new file with a secret, unless what is done meanwhile fails."""
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(text)
    except OSError as error:
        raise CliError(f"--output {file}: {error.strerror}", fix="name a file that is not there yet") from None
    try:
        yield
    except CliError:
        file.unlink()
        raise


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
    try:
        segno.make(text, error="L").terminal(drawn, compact=True)
    except segno.DataOverflowError:
        raise CliError("so many nodes are too much for a QR code", fix="leave --qr out, and import the file") from None
    return drawn.getvalue()
