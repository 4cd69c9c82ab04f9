"""Whose turn it is to restart: never two at once, only while all others are well, and the primary last if it can be."""

from typing import Any

LEADER, STREAMING = "leader", "streaming"
# A replica cannot have less of these than the primary has (PostgreSQL, 26.4.3 Administrator's Overview).
AS_PRIMARY = (
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
)
RESTART, SWITCH_OVER = "restart", "switchover"


def turn(me: str, members: list[dict[str, Any]], count: int) -> str | None:
    """What a member that waits for a restart may do now: RESTART, SWITCH_OVER or nothing yet.

    `members` are those of Patroni's GET /cluster, `count` is how many there should be. All members judge by the same
    list, and by it only one of them has the turn.
    """
    waiting = [one for one in members if one.get("pending_restart")]
    if len(members) < count or not all(_is_well(one) for one in members) or not waiting:
        return None
    leader = next(one for one in members if _is_leader(one))
    if _lowers(leader):
        return RESTART if leader["name"] == me else None
    first = min(waiting, key=lambda one: (_is_leader(one), one["name"]))
    if first["name"] != me:
        return None
    return SWITCH_OVER if _is_leader(first) else RESTART


def _lowers(leader: dict[str, Any]) -> bool:
    """Whether it has to be first, and as primary, because the others cannot have less than it."""
    reasons = leader.get("pending_restart_reason", {})
    changes = [reasons[name] for name in AS_PRIMARY if name in reasons]
    return any(int(change["new_value"]) < int(change["old_value"]) for change in changes)


def _is_leader(member: dict[str, Any]) -> bool:
    return bool(member["role"] == LEADER)


def _is_well(member: dict[str, Any]) -> bool:
    return bool(member["state"] == ("running" if _is_leader(member) else STREAMING))
