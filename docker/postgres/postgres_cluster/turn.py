"""Whose turn it is to restart: never two at once, the replicas first, and only while all others are well."""

from typing import Any

LEADER, STREAMING = "leader", "streaming"
RESTART, SWITCH_OVER = "restart", "switchover"


def turn(me: str, members: list[dict[str, Any]], count: int) -> str | None:
    """What a member that waits for a restart may do now: RESTART, SWITCH_OVER or nothing yet.

    `members` are those of Patroni's GET /cluster, `count` is how many there should be. All members judge by the same
    list, and by it only one of them has the turn.
    """
    waiting = sorted((_is_leader(one), one["name"]) for one in members if one.get("pending_restart"))
    if len(members) < count or not all(_is_well(one) for one in members) or not waiting:
        return None
    is_leader, name = waiting[0]
    if name != me:
        return None
    return SWITCH_OVER if is_leader else RESTART


def _is_leader(member: dict[str, Any]) -> bool:
    return bool(member["role"] == LEADER)


def _is_well(member: dict[str, Any]) -> bool:
    return bool(member["state"] == ("running" if _is_leader(member) else STREAMING))
