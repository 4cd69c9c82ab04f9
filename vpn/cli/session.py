"""What a command works with, found when it is needed: the mesh, the chain, and who signs."""

import getpass
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eth_account import Account
from web3 import Web3
from web3.middleware import SignAndSendRawMiddlewareBuilder

from vpn.cli import mesh
from vpn.cli.chain import Chain
from vpn.cli.failure import CliError
from vpn.cli.options import Options

ADMIN = "0"  # the embedded chain's first account made the contract
SIGNER_FIX = "name who signs: --account N on the embedded chain, --keystore FILE on a real one"
RPC_FIX = "give --rpc URL; --rpc @FILE if it is secret"


@dataclass(frozen=True)
class Session:
    """One command's view of the world."""

    options: Options

    @cached_property
    def mesh(self) -> mesh.Mesh:
        """The mesh, as the stack tells it."""
        return mesh.read(self.options.mesh, self.options.stack)

    @property
    def knows_mesh(self) -> bool:
        """Whether the mesh need be, or may as well be, looked at: with endpoint and contract named it need not."""
        return self.options.mesh is not None or not (self.options.rpc and self.options.contract)

    @cached_property
    def url(self) -> str:
        """The endpoint. Raises CliError when it is known to nobody."""
        given = self.options.rpc
        if given and given.startswith("@"):
            return _text(Path(given[1:]), "--rpc")
        url = given or self.mesh.rpc_url
        if url is None:
            raise CliError("the endpoint of a real chain is a secret that the stack does not tell", fix=RPC_FIX)
        return url

    @cached_property
    def chain(self) -> Chain:
        """The chain with the contract."""
        return Chain(self.url, address(self.options.contract or self.mesh.contract))

    @property
    def embedded(self) -> bool:
        """Whether the chain is the stack's own."""
        return self.options.rpc is None and self.mesh.rpc_url is not None

    def admin(self, chain: Chain) -> str:
        """Who signs what only the admin may; the embedded chain's is known."""
        named = self.options.account or self.options.keystore
        return self.signer(chain, default="" if named or not self.embedded else ADMIN)

    def signer(self, chain: Chain, default: str = "") -> str:
        """Address of who signs. A keystore's key stays in this process."""
        if self.options.keystore:
            return self._unlock(chain, self.options.keystore)
        account = self.options.account or default
        if not account:
            raise CliError("nobody is named to sign", fix=SIGNER_FIX)
        signer = party(chain, account)
        if signer not in chain.accounts():
            raise CliError(f"{chain.place} does not sign for {signer}", fix=SIGNER_FIX)
        return signer

    def _unlock(self, chain: Chain, keystore: Path) -> str:
        text = _text(keystore, "--keystore")
        try:
            account = Account.from_key(Account.decrypt(text, self._password(keystore)))
        except (ValueError, TypeError, KeyError):
            raise CliError(f"the password does not open {keystore}, or it is no keystore") from None
        chain.web3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
        return str(account.address)

    def _password(self, keystore: Path) -> str:
        if self.options.password_file:
            return _text(self.options.password_file, "--password-file")
        if not sys.stdin.isatty():
            raise CliError(f"no terminal to ask for the password of {keystore}", fix="use --password-file FILE")
        return getpass.getpass(f"Password of {keystore}: ")


def party(chain: Chain, named: str) -> str:
    """Somebody's address: written out, or the number of an account of the embedded chain."""
    if not named.isdecimal():
        return address(named)
    known = chain.accounts()
    if int(named) >= len(known):
        raise CliError(f"{chain.place} has {len(known)} accounts, and none with number {named}", fix=SIGNER_FIX)
    return str(known[int(named)])


def address(text: str) -> str:
    """An address with its checksum (EIP-55). Mixed case is taken for one, and must be right."""
    if not Web3.is_address(text) or (not _one_case(text[2:]) and not Web3.is_checksum_address(text)):
        raise CliError(f"{text} is no address", fix="write 0x and 40 hexadecimal digits; mixed case is a checksum")
    return str(Web3.to_checksum_address(text))


def _one_case(digits: str) -> bool:
    return digits in (digits.lower(), digits.upper())


def _text(file: Path, option: str) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as error:
        raise CliError(f"{option}: {error}") from None
