"""One look at the chain after another, and what follows from each.

Out goes who is none any more at the newest block; in comes only who also was at a final one. Who stays does so on a
lease that every good look renews. When the chain cannot be read, or not be believed, the lease runs out.
"""

import json
import time
from collections.abc import Callable, Mapping

from access_gate.board import Board, uptime
from access_gate.members import Member, Verdict, judge, why_gone
from access_gate.rpc import Block, Chain, ChainError, Pass
from access_gate.settings import Settings, SettingsError

TAGS = ("latest", "safe", "finalized")
GENESIS = "0x0"
READ_AGAIN = 60  # seconds; so long a wrong answer about a block can last when there is no other block

Passes = list[Pass]


class Gate:
    """The state between two looks; all of it can be lost."""

    def __init__(self, board: Board, log: Callable[[str], None], connect: Callable[[str], Chain] = Chain) -> None:
        self._board = board
        self._log = log
        self._connect = connect
        self._settings: Settings | None = None
        self._checksums = b""
        self._chain: Chain | None = None
        self._genesis = ""
        self._seen = board.seen()
        self._judged: tuple[Block, Block | None] | None = None
        self._judged_at = 0.0
        self._refused: Mapping[int, str] = {}
        self._members, self._until = board.published()
        self._complaint = ""
        self._seconds = 0.0

    def turn(self) -> str:
        """Look once. Returns what is wrong, empty if nothing is."""
        try:
            self._let_lease_run_out()
            self._look()
            complaint = ""
        except (ChainError, SettingsError, OSError) as error:
            complaint = str(error)
        if complaint != self._complaint:
            self._say("failed" if complaint else "recovered", reason=complaint or self._complaint)
        self._complaint = complaint
        return complaint

    @property
    def tick(self) -> int:
        """Seconds between two looks."""
        return self._settings.tick if self._settings else 1

    def summary(self) -> str:
        """How many are in, at which block, and how long it took to find out."""
        block = self._judged[0].number if self._judged else "none"
        return f"{len(self._members)} members at block {block}, judged in {self._seconds:.3f} s"

    def _look(self) -> None:
        settings, chain = self._use_settings()
        head = self._newest(settings, chain)
        final = self._final(settings, chain, head)
        if (head, final) != self._judged or uptime() - self._judged_at > READ_AGAIN:
            started = time.monotonic()
            self._judge(settings, chain, head, final)
            self._judged, self._seconds = (head, final), time.monotonic() - started
            self._judged_at = uptime()
        self._board.publish(self._members.values(), uptime() + settings.lease)
        self._until = uptime() + settings.lease
        # Last, because members are in memory, and this on a disk that may be full.
        self._board.remember(self._seen)
        self._board.acknowledge(self._checksums)

    def _use_settings(self) -> tuple[Settings, Chain]:
        """While new ones are being delivered, those before them go on."""
        try:
            settings, self._checksums = self._board.settings()
        except SettingsError:
            if self._settings is None:
                raise
            settings = self._settings
        if settings != self._settings or self._chain is None:
            if self._chain:
                self._chain.close()
            self._settings, self._chain, self._judged = settings, self._connect(settings.rpc_url), None
        return settings, self._chain

    # --- which blocks

    def _newest(self, settings: Settings, chain: Chain) -> Block:
        """The newest block, if it is to be believed: none before one that was seen, none that is too old."""
        head = chain.block("latest")
        if self._judged is None or head != self._judged[0]:
            self._genesis = chain.block(GENESIS).hash
        seen = self._seen.get("number", -1) if self._seen.get("genesis") == self._genesis else -1
        if head.number < seen:
            raise ChainError(f"block {head.number} is older than block {seen}, which was seen before")
        # Before its time is as wrong: a clock that was set back would make a lease without end.
        if settings.max_head_age and abs(time.time() - head.timestamp) > settings.max_head_age:
            when = _iso(head.timestamp)
            raise ChainError(
                f"the newest block, {head.number}, is of {when}, not of the last {settings.max_head_age} s"
            )
        return head

    def _final(self, settings: Settings, chain: Chain, head: Block) -> Block | None:
        """The newest block that counts as final; None when the chain is too short to have one."""
        if settings.finality in ("latest", "0"):
            return head
        which = settings.finality
        if which not in TAGS:
            if int(which) > head.number:
                return None
            which = hex(head.number - int(which))
        final = chain.block(which)
        if final.number > head.number:
            raise ChainError(f"block {final.number} is said to be {settings.finality}, but the newest is {head.number}")
        return final

    # --- who is in

    def _judge(self, settings: Settings, chain: Chain, head: Block, final: Block | None) -> None:
        now = chain.passes(settings.contract, head)
        if now is None:
            raise ChainError(f"there is no contract at {settings.contract}")
        self._seen = {"genesis": self._genesis, "number": head.number}  # it was read: the block exists
        at_best = judge(now, now, settings)
        staying = {token: one for token, one in self._members.items() if at_best.members.get(token) == one}
        self._settle(staying, at_best, now, head)  # at once: nothing about the final block may delay it
        verdict = at_best if final == head else judge(now, self._final_passes(settings, chain, final), settings)
        # Who is in stays also when an endpoint that is behind tells of an earlier final block.
        self._settle({**verdict.members, **staying}, verdict, now, head)

    def _final_passes(self, settings: Settings, chain: Chain, final: Block | None) -> Passes:
        return (chain.passes(settings.contract, final) or []) if final else []

    def _settle(self, wanted: Mapping[int, Member], verdict: Verdict, now: Passes, head: Block) -> None:
        """Have just these members from now on; the lease stays as it is. What is done has been told."""
        passes = {one.token: one for one in now}
        for token, reason in verdict.refused.items():
            if self._refused.get(token) != reason:
                self._say("refused", token=token, block=head.hash, reason=reason)
        self._refused = verdict.refused
        gone = [one for token, one in self._members.items() if wanted.get(token) != one]
        come = [one for token, one in wanted.items() if self._members.get(token) != one]
        for one in gone:
            self._audit("revoked", one, head.hash, verdict.refused.get(one.token) or why_gone(one, passes))
        for one in come:
            self._audit("admitted", one, head.hash, "its holder bound this key")
        if gone:
            self._board.publish(wanted.values(), self._until)
        self._members = dict(wanted)

    def _let_lease_run_out(self) -> None:
        if uptime() < self._until or not self._members:
            return
        for one in self._members.values():
            self._audit("revoked", one, "", "lease expired")
        self._board.publish((), self._until)
        self._members, self._judged = {}, None

    # --- what it says

    def _audit(self, event: str, one: Member, block: str, reason: str) -> None:
        nodes = sorted(self._settings.admitting) if self._settings else []
        details = {"token": one.token, "key": one.key, "address": one.address, "owner": one.owner}
        self._say(event, **details, nodes=nodes, block=block, reason=reason)

    def _say(self, event: str, **details: object) -> None:
        self._log(json.dumps({"time": _iso(time.time()), "event": event, **details}))


def _iso(seconds: float) -> str:
    """A time since 1970 as RFC 3339 has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
