"""What Prometheus derives from what nodes tell, and of what it warns (Prometheus 2.53, Recording and alerting rules).

Ages are differences of two times of one node's clock, so that it may differ from that of the monitoring.
"""

from typing import Any

from vpn.model.status import stale_after

PASS_STALE = 60  # seconds; the agent passes every five
NOT_APPLIED = 30  # seconds; a node applies what came within 15, and says so while new keys wait for their moment
NO_PRIMARY = 30  # seconds; a cluster that loses its primary is without for less
LEAST_SILENCE = 30  # seconds without another look of a node
DENIED_RATE = 1  # packets a second
CRITICAL, WARNING, INFO = "critical", "warning", "info"
# The far end says nothing of itself; that it is down is told already.
PEER_IS_UP = 'unless on (peer) label_replace(up{job="nodes"} == 0, "peer", "$1", "node", "(.*)")'


def rules(interval: int, *, has_database: bool) -> dict[str, Any]:
    """All groups of rules. `interval`: seconds between two samples."""
    alerts = [*_of_nodes(interval), *_of_links(interval), *_of_access(interval)]
    groups = [{"name": "recorded", "rules": _recorded(interval)}, {"name": "mesh", "rules": alerts}]
    return {"groups": [*groups, *([{"name": "postgres", "rules": _of_database()}] if has_database else [])]}


def _recorded(interval: int) -> list[dict[str, str]]:
    """Ages; and when a member came or went, told only while all nodes speak that did a moment before."""
    ago = f"offset {2 * interval}s"
    all_speak = f"and on () (count(vpn_members) == count(vpn_members {ago}))"
    now, before = "max by (token) (vpn_member)", f"max by (token) (vpn_member {ago})"
    age = "vpn_look_timestamp_seconds - on (node) group_right () vpn_peer_last_handshake_timestamp_seconds"
    return [
        {"record": "vpn:peer_handshake_age_seconds", "expr": age},
        {"record": "vpn:member_admitted_timestamp_seconds", "expr": f"({now} unless {before} {all_speak}) * time()"},
        {"record": "vpn:member_revoked_timestamp_seconds", "expr": f"({before} unless {now} {all_speak}) * time()"},
    ]


def _of_nodes(interval: int) -> list[dict[str, Any]]:
    silence = f"changes(vpn_look_timestamp_seconds[{max(LEAST_SILENCE, 6 * interval)}s]) == 0"
    stuck = f"vpn_look_timestamp_seconds - vpn_pass_timestamp_seconds > {PASS_STALE}"
    return [
        _alert(
            "NodeDown",
            f'up{{job="nodes"}} == 0 or {silence}',
            2 * interval,
            CRITICAL,
            "Node {{ $labels.node }} on host {{ $labels.host }} does not say how it is.",
            "`docker ps` on its host says whether it runs, `pulumi up` brings it back.",
        ),
        _alert(
            "ConfigNotApplied",
            f"(vpn_config_applied == 0 unless vpn_keys_wait == 1) or {stuck}",
            NOT_APPLIED,
            CRITICAL,
            "Node {{ $labels.node }} is not as its config says.",
            "`docker exec <node> health` says why.",
        ),
        _alert(
            "PolicyDrops",
            f"rate(vpn_denied_packets_total[1m]) > {DENIED_RATE}",
            60,
            INFO,
            "Node {{ $labels.node }} drops {{ $value | humanize }} packets a second that no rule lets pass.",
            "`vpn check` says whether the rules do what they shall.",
        ),
    ]


def _of_links(interval: int) -> list[dict[str, Any]]:
    stale = stale_after(interval)  # every look of a node pings its peers
    return [
        _alert(
            "LinkDown",
            f"vpn_peer_up == 0 {PEER_IS_UP}",
            4 * interval,
            CRITICAL,
            "From node {{ $labels.node }} nothing gets through to {{ $labels.peer }}.",
            "Does UDP get in at the published port, or TCP at the relay's?",
        ),
        _alert(
            "HandshakeStale",
            f"vpn:peer_handshake_age_seconds > {stale} {PEER_IS_UP}",
            interval,
            WARNING,
            "The last handshake of {{ $labels.node }} with {{ $labels.peer }} was {{ $value | humanizeDuration }} ago.",
            "As long as this lasts there is no tunnel between them.",
        ),
    ]


def _of_access(interval: int) -> list[dict[str, Any]]:
    return [
        _alert(
            "MemberLeaseExpired",
            "vpn_member_lease_valid == 0",
            interval,
            CRITICAL,
            "Node {{ $labels.node }} has put out all members: the access gate's word no longer holds.",
            "`docker exec <name>-gate health` says why.",
        )
    ]


def _of_database() -> list[dict[str, Any]]:
    return [
        _alert(
            "PostgresNoPrimary",
            "absent(patroni_primary == 1)",
            NO_PRIMARY,
            CRITICAL,
            "The PostgreSQL cluster has no primary.",
            "`docker exec <name>-postgres-<node> member health` says why.",
        )
    ]


def _alert(name: str, expression: str, seconds: int, severity: str, summary: str, fix: str) -> dict[str, Any]:  # noqa: PLR0913, PLR0917 (as in a rule)
    return {
        "alert": name,
        "expr": expression,
        "for": f"{seconds}s",
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "fix": fix},
    }
