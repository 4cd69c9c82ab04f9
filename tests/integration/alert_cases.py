"""What alerts are to do with series of samples, one in five seconds, as promtool's unit tests (promtool-test-rules)."""

from collections.abc import Iterable
from typing import Any

STEP = "5s"
UP = 'up{{job="nodes",node="{}",host="local"}}'
LOOK, PASS = 'vpn_look_timestamp_seconds{node="a"}', 'vpn_pass_timestamp_seconds{node="a"}'
APPLIED, WAIT = 'vpn_config_applied{node="a"}', 'vpn_keys_wait{node="a"}'
PEER, HANDSHAKE = (f'vpn_peer_{name}{{node="a",peer="b"}}' for name in ("up", "last_handshake_timestamp_seconds"))
BOTH_UP = {UP.format("a"): "1x80", UP.format("b"): "1x80"}
TICKING = "0+5x80"
AWAY = "1x10 0x60"  # from second 55 on

# Name, samples, and whether it fires at some seconds.
CASES: tuple[tuple[str, dict[str, str], dict[int, int]], ...] = (
    ("NodeDown", {UP.format("a"): AWAY}, {50: 0, 60: 0, 70: 1}),
    ("NodeDown", BOTH_UP | {LOOK: "0+5x10 50x60"}, {50: 0, 75: 0, 100: 1}),
    ("NodeDown", BOTH_UP | {LOOK: TICKING}, {30: 0, 300: 0}),
    ("LinkDown", BOTH_UP | {PEER: AWAY}, {50: 0, 70: 0, 80: 1}),
    ("LinkDown", {UP.format("a"): "1x80", UP.format("b"): AWAY, PEER: AWAY}, {50: 0, 80: 0, 300: 0}),
    ("HandshakeStale", BOTH_UP | {LOOK: TICKING, HANDSHAKE: "100x80"}, {270: 0, 280: 0, 295: 1}),
    ("HandshakeStale", BOTH_UP | {LOOK: TICKING, HANDSHAKE: "0+5x80"}, {300: 0}),
    ("HandshakeStale", {UP.format("b"): AWAY, LOOK: TICKING, HANDSHAKE: "0x80"}, {300: 0}),
    ("HandshakeStale", BOTH_UP | {LOOK: TICKING}, {300: 0}),  # never connected is no age
    ("MemberLeaseExpired", {'vpn_member_lease_valid{node="a"}': AWAY}, {50: 0, 65: 1}),
    ("ConfigNotApplied", {APPLIED: AWAY}, {50: 0, 80: 0, 90: 1}),
    ("ConfigNotApplied", {APPLIED: "1x10 0x13 1x60", WAIT: "0x10 1x12 0x60"}, {90: 0, 115: 0, 130: 0}),
    ("ConfigNotApplied", {APPLIED: AWAY, WAIT: "0x10 1x12 0x60"}, {115: 0, 145: 0, 155: 1}),
    ("ConfigNotApplied", {LOOK: TICKING, PASS: "0+5x10 50x60"}, {110: 0, 150: 1}),
    ("PolicyDrops", {'vpn_denied_packets_total{node="a"}': "0+50x60"}, {60: 0, 150: 1}),
    ("PolicyDrops", {'vpn_denied_packets_total{node="a"}': "0+1x60"}, {150: 0}),
    ("PostgresNoPrimary", {'patroni_primary{name="a"}': AWAY, 'patroni_primary{name="b"}': "0x80"}, {80: 0, 90: 1}),
    ("PostgresNoPrimary", {'patroni_primary{name="a"}': AWAY, 'patroni_primary{name="b"}': "0x10 1x60"}, {300: 0}),
)
MEMBER, MEMBERS = 'vpn_member{{node="{}",token="7"}}', 'vpn_members{{node="{}"}}'
ADMITTED, REVOKED = (f"last_over_time(vpn:member_{what}_timestamp_seconds[1h])" for what in ("admitted", "revoked"))
# Members come and go on two nodes at once; that a node says no more is no revocation.
COUNTS = {MEMBERS.format("a"): "0x80", MEMBERS.format("b"): "0x80"}
EVENTS: tuple[tuple[str, dict[str, str], dict[int, float | None]], ...] = (
    (ADMITTED, COUNTS | {MEMBER.format("a"): "_x10 1x60", MEMBER.format("b"): "_x11 1x60"}, {45: None, 100: 55}),
    (REVOKED, COUNTS | {MEMBER.format("a"): "1x10 stale", MEMBER.format("b"): "1x11 stale"}, {50: None, 100: 65}),
    (REVOKED, {MEMBERS.format("a"): "0x10 stale", MEMBER.format("a"): "1x10 stale"}, {100: None}),
)


def document(rules: str) -> dict[str, Any]:
    """The file that promtool reads; `rules` is the name of another, beside it."""
    tests = [*_alerts(), *(_test(expression, series, wanted.items()) for expression, series, wanted in EVENTS)]
    return {"rule_files": [rules], "evaluation_interval": STEP, "tests": tests}


def _alerts() -> Iterable[dict[str, Any]]:
    for name, series, wanted in CASES:
        expression = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
        yield _test(expression, series, wanted.items())


def _test(expression: str, series: dict[str, str], wanted: Iterable[tuple[int, float | None]]) -> dict[str, Any]:
    return {
        "interval": STEP,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [_expected(expression, at, value) for at, value in wanted],
    }


def _expected(expression: str, at: int, value: float | None) -> dict[str, Any]:
    labels = '{token="7"}' if "last_over_time" in expression else "{}"
    samples = [] if value is None else [{"labels": labels, "value": value}]
    return {"expr": f"max by (token) ({expression})", "eval_time": f"{at}s", "exp_samples": samples}
