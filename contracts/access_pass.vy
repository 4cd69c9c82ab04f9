# pragma version ~=0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Access pass: an ERC-721 token whose holder may join the VPN with one WireGuard key
@license AGPL-3.0-only, as snekmate is, on which it builds
@notice The holder of a pass binds a WireGuard public key (32 bytes, X25519) to it. A key belongs to one pass at most.
        Whoever gives the pass away, or burns it, loses the key in the same transaction: the next holder binds their own.
        The owner of the contract (the admin) mints, suspends and lifts; the admin cannot bind a key.
@dev `passes` returns the whole set, so that a reader can pin all of it to one block (EIP-1898).
     Functions that move a pass are wrapped, never exported, because each of them must clear the key.
"""
from ethereum.ercs import IERC165
from ethereum.ercs import IERC721
from snekmate.auth import ownable
from snekmate.tokens import erc721
from snekmate.tokens.interfaces import IERC721Metadata
from snekmate.tokens.interfaces import IERC721Enumerable
from snekmate.tokens.interfaces import IERC721Permit
from snekmate.tokens.interfaces import IERC4906
from snekmate.utils.interfaces import IERC5267

implements: IERC165
implements: IERC721
implements: IERC721Metadata
implements: IERC721Enumerable
implements: IERC721Permit
implements: IERC4906
implements: IERC5267

initializes: ownable
initializes: erc721[ownable := ownable]

exports: (
    ownable.owner,
    ownable.transfer_ownership,
    erc721.supportsInterface,
    erc721.name,
    erc721.symbol,
    erc721.tokenURI,
    erc721.balanceOf,
    erc721.ownerOf,
    erc721.getApproved,
    erc721.isApprovedForAll,
    erc721.approve,
    erc721.setApprovalForAll,
    erc721.totalSupply,
    erc721.tokenByIndex,
    erc721.tokenOfOwnerByIndex,
    erc721.permit,
    erc721.nonces,
    erc721.DOMAIN_SEPARATOR,
    erc721.eip712Domain,
)

struct PassRecord:
    token_id: uint256
    owner: address
    key: bytes32
    suspended: bool

event KeyBound:
    token_id: indexed(uint256)
    owner: indexed(address)
    key: bytes32

event KeyCleared:
    token_id: indexed(uint256)
    owner: indexed(address)
    key: bytes32

event Suspended:
    token_id: indexed(uint256)

event Lifted:
    token_id: indexed(uint256)

# Hosts of a /20, the largest member range.
MAX_CAPACITY: constant(uint256) = 4094

CAPACITY: public(immutable(uint256))

key_of: public(HashMap[uint256, bytes32])
pass_of: public(HashMap[bytes32, uint256])
suspended: public(HashMap[uint256, bool])


@deploy
def __init__(capacity: uint256):
    """
    @param capacity How many addresses members have: the highest token ID
    """
    assert 0 < capacity and capacity <= MAX_CAPACITY, "access_pass: capacity is not from 1 to 4094"
    CAPACITY = capacity
    ownable.__init__()
    erc721.__init__("dstack-vpn access pass", "DVPN", "", "dstack-vpn access pass", "1")


@external
def mint(owner: address, token_id: uint256):
    """
    @notice Make a pass. Its number decides the member's address.
    """
    ownable._check_owner()
    assert 0 < token_id and token_id <= CAPACITY, "access_pass: no address for this token ID"
    erc721._safe_mint(owner, token_id, b"")


@external
def bind_key(token_id: uint256, key: bytes32):
    """
    @notice Let the holder of this key in, instead of the one before.
    """
    owner: address = erc721._owner_of(token_id)
    assert msg.sender == owner, "access_pass: only the holder binds a key"
    assert key != empty(bytes32), "access_pass: the key is empty"
    assert self.pass_of[key] == 0, "access_pass: the key is bound already"
    self._clear_key(token_id, owner)
    self.key_of[token_id] = key
    self.pass_of[key] = token_id
    log KeyBound(token_id=token_id, owner=owner, key=key)


@external
def clear_key(token_id: uint256):
    """
    @notice Let nobody in with this pass, until a key is bound again.
    """
    owner: address = erc721._owner_of(token_id)
    assert msg.sender == owner, "access_pass: only the holder clears a key"
    self._clear_key(token_id, owner)


@external
def suspend(token_id: uint256):
    """
    @notice Keep a pass from letting anybody in, whoever holds it, until it is lifted.
    """
    ownable._check_owner()
    erc721._require_minted(token_id)
    self.suspended[token_id] = True
    log Suspended(token_id=token_id)


@external
def lift(token_id: uint256):
    """
    @notice End a suspension.
    """
    ownable._check_owner()
    self.suspended[token_id] = False
    log Lifted(token_id=token_id)


@external
@payable
def transferFrom(owner: address, to: address, token_id: uint256):
    """
    @notice As in ERC-721; the key is cleared.
    """
    self._check_may_move(token_id)
    self._clear_key(token_id, owner)
    erc721._transfer(owner, to, token_id)


@external
@payable
def safeTransferFrom(owner: address, to: address, token_id: uint256, data: Bytes[1_024] = b""):
    """
    @notice As in ERC-721; the key is cleared.
    """
    self._check_may_move(token_id)
    self._clear_key(token_id, owner)
    erc721._safe_transfer(owner, to, token_id, data)


@external
def burn(token_id: uint256):
    """
    @notice Destroy a pass; the key is cleared. A suspension stays with the number.
    """
    self._check_may_move(token_id)
    self._clear_key(token_id, erc721._owner_of(token_id))
    erc721._burn(token_id)


@external
@view
def passes() -> DynArray[PassRecord, MAX_CAPACITY]:
    """
    @notice Every pass there is, in no certain order.
    """
    found: DynArray[PassRecord, MAX_CAPACITY] = []
    for token_id: uint256 in erc721._all_tokens:
        found.append(
            PassRecord(
                token_id=token_id,
                owner=erc721._owners[token_id],
                key=self.key_of[token_id],
                suspended=self.suspended[token_id],
            )
        )
    return found


@internal
def _check_may_move(token_id: uint256):
    assert erc721._is_approved_or_owner(msg.sender, token_id), "erc721: caller is not token owner or approved"


@internal
def _clear_key(token_id: uint256, owner: address):
    key: bytes32 = self.key_of[token_id]
    if key != empty(bytes32):
        self.key_of[token_id] = empty(bytes32)
        self.pass_of[key] = 0
        log KeyCleared(token_id=token_id, owner=owner, key=key)
