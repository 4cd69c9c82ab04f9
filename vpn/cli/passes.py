"""vpn pass: what the admin and the holders do with access passes."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from web3.types import TxReceipt

from vpn.cli.chain import Chain, Pass
from vpn.cli.failure import CliError
from vpn.cli.options import Answer, Options, command
from vpn.cli.session import Session, party
from vpn.model.keys import Key, PublicKey

DEFAULT_CAPACITY = 254  # the hosts of the default member range
SAFE_TRANSFER = "safeTransferFrom(address,address,uint256)"
CLEARED = "the key is cleared: nobody gets in with it until the new holder binds one"

app = typer.Typer(help="Access passes: who holds one joins the mesh.", no_args_is_help=True)

Token = Annotated[int, typer.Argument(min=1, show_default=False, help="Number of the pass.")]
Party = Annotated[str, typer.Argument(show_default=False, help="Address, or number of an embedded chain's account.")]


@command(app)
def mint(
    options: Options,
    holder: Party,
    token: Annotated[int | None, typer.Option(min=1, help="Number; default: the lowest that is free.")] = None,
) -> Answer:
    """Make a pass for somebody (admin)."""
    session = Session(options)
    chain = session.chain
    sender, owner = session.admin(chain), party(chain, holder)
    number = token or _free(chain)
    address = _address(session, number)
    receipt = chain.send(sender, "mint", owner, number)
    text = f"Pass {number} belongs to {owner}."
    if address:
        text += f" Next, its holder: vpn client config {number}"
    return _done(text, receipt, token=number, owner=owner, address=address)


@command(app)
def bind(
    options: Options, token: Token, key: Annotated[str, typer.Argument(help="Public key, base64, as wg(8) prints it.")]
) -> Answer:
    """Let a WireGuard key in with a pass, instead of the one before (holder)."""
    session = Session(options)
    receipt = bind_key(session, token, _key(key))
    return _done(f"Pass {token} lets {key} in.", receipt, token=token, key=key)


@command(app)
def clear(options: Options, token: Token) -> Answer:
    """Let nobody in with a pass until a key is bound again (holder)."""
    session = Session(options)
    receipt = session.chain.send(session.signer(session.chain), "clear_key", token)
    return _done(f"Pass {token} lets nobody in.", receipt, token=token)


@command(app)
def transfer(options: Options, token: Token, to: Party) -> Answer:
    """Give a pass away; its key is cleared (holder)."""
    session = Session(options)
    chain = session.chain
    sender, owner = session.signer(chain), party(chain, to)
    receipt = chain.send(sender, SAFE_TRANSFER, chain.owner_of(token), owner, token)
    return _done(f"Pass {token} belongs to {owner}; {CLEARED}.", receipt, token=token, owner=owner)


@command(app)
def burn(options: Options, token: Token) -> Answer:
    """Destroy a pass (holder)."""
    session = Session(options)
    receipt = session.chain.send(session.signer(session.chain), "burn", token)
    return _done(f"Pass {token} is no more.", receipt, token=token)


@command(app)
def suspend(options: Options, token: Token) -> Answer:
    """Keep a pass from letting anybody in, whoever holds it (admin)."""
    session = Session(options)
    receipt = session.chain.send(session.admin(session.chain), "suspend", token)
    return _done(f"Pass {token} lets nobody in until it is lifted.", receipt, token=token)


@command(app)
def lift(options: Options, token: Token) -> Answer:
    """End a suspension (admin)."""
    session = Session(options)
    receipt = session.chain.send(session.admin(session.chain), "lift", token)
    return _done(f"Pass {token} is not suspended.", receipt, token=token)


@command(app)
def deploy(
    options: Options,
    capacity: Annotated[
        int, typer.Option(min=1, max=4094, help="Highest number of a pass; as many as the member range has hosts.")
    ] = DEFAULT_CAPACITY,
) -> Answer:
    """Put the contract on a real chain; who signs becomes the admin."""
    if options.rpc is None:
        raise CliError("no chain to deploy to: an embedded one has its contract", fix="give --rpc URL")
    session = Session(options)
    chain = Chain(session.url)
    admin = session.signer(chain)
    contract = chain.deploy(admin, capacity)
    text = f"The contract is at {contract}: pulumi config set --path access.contractAddress {contract}"
    return Answer({"contract": contract, "admin": admin, "capacity": capacity}, text)


@command(app, "list")
def listed(options: Options) -> Answer:
    """Show all passes."""
    session = Session(options)
    entries = [_entry(session, one) for one in session.chain.passes().values()]
    return Answer(entries, _table(entries) if entries else "No pass has been minted.")


# --- what commands share


def bind_key(session: Session, token: int, key: PublicKey) -> TxReceipt:
    """Bind a key to a pass, in the name of who signs."""
    return session.chain.send(session.signer(session.chain), "bind_key", token, key.raw)


def _free(chain: Chain) -> int:
    taken, capacity = chain.passes(), chain.capacity()
    number = next((number for number in range(1, capacity + 1) if number not in taken), None)
    if number is None:
        raise CliError(f"all {capacity} passes are minted", fix="burn one, or deploy a contract with more")
    return number


def _key(text: str) -> PublicKey:
    try:
        return PublicKey.parse(text)
    except ValueError:
        raise CliError(f"{text!r} is no public key", fix="give what `wg pubkey` prints: 44 characters") from None


def _address(session: Session, token: int) -> str | None:
    return str(session.mesh.address(token)) if session.knows_mesh else None


def _entry(session: Session, one: Pass) -> dict[str, Any]:
    bound = any(one.key)
    state = "suspended" if one.suspended else "active" if bound else "no key"
    in_range = session.knows_mesh and one.token <= session.mesh.capacity
    return {
        "token": one.token,
        "state": state if in_range or not session.knows_mesh else "no address",
        "address": _address(session, one.token) if in_range else None,
        "key": Key(one.key).base64() if bound else None,
        "owner": one.owner,
    }


def _table(entries: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("pass", "state", "address", "key", "holder"):
        table.add_column(heading, no_wrap=heading not in ("key", "holder"), overflow="fold")
    for entry in entries:
        table.add_row(*("" if value is None else str(value) for value in entry.values()))
    return table


def _done(text: str, receipt: TxReceipt, **data: Any) -> Answer:
    block = {"block": receipt["blockNumber"], "transaction": f"0x{bytes(receipt['transactionHash']).hex()}"}
    return Answer({**data, **block}, text)
