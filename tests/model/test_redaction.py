"""Secrets are taken out however they are written, what is public stays, and a search finds what is left."""

import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpn.model.redaction import REMOVED, Redaction, strings, tokens

PUBLIC = b64encode(b"p" * 31 + b"+").decode()
PRIVATE = b64encode(bytes(range(200, 232))).decode()
PASSWORD = "Abc123Def456Ghi789Jkl012Mno345Pqr678Stu901V"
URL = "https://rpc.example/v3/key"
REDACTION = Redaction.of([PRIVATE, PASSWORD, URL, PUBLIC, "short"], [PUBLIC])


@pytest.mark.parametrize(
    "text",
    [
        f"key is {PRIVATE}",
        f"PrivateKey={PRIVATE}",
        f"a{PASSWORD}b",
        f"postgres://app:{PASSWORD}@db/app",
        f"asked {URL}",
        f'{{"rpcUrl": {json.dumps(URL)}}}',
        f"https://x/?key={quote(PRIVATE, safe='')}",
        f"Basic {b64encode(PASSWORD.encode()).decode()}",
        f"private_key={bytes(range(200, 232)).hex()}",
        f"x{PASSWORD.encode().hex()}x",
        f"/keys/{urlsafe_b64encode(bytes(range(200, 232))).decode()}",
    ],
)
def test_a_known_secret_is_taken_out(text: str) -> None:
    assert REDACTION.left(text), "the search finds it"
    cleaned = REDACTION.clean(text)
    assert REMOVED in cleaned
    assert REDACTION.left(cleaned) == []
    for secret in (PRIVATE, PASSWORD, URL, quote(PRIVATE, safe=""), bytes(range(200, 232)).hex()):
        assert secret not in cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("password=hunter22", f"password={REMOVED}"),
        ("PGPASSWORD: 'hunter22'", f"PGPASSWORD: '{REMOVED}'"),
        ('{"api_key": "0a1b2c3d"}', f'{{"api_key": "{REMOVED}"}}'),
        ('"{\\"secret\\": \\"hunter22\\"}"', f'"{{\\"secret\\": \\"{REMOVED}\\"}}"'),
        ("http://me:hunter22@db:5432/x", f"http://{REMOVED}@db:5432/x"),
        (f"peer {b64encode(b'm' * 31 + b'c').decode()} gone", f"peer {REMOVED} gone"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\nafter", f"{REMOVED}\nafter"),
        ("-----BEGIN PRIVATE KEY-----\nMHcC", REMOVED),
        ("GET / api-key=0a1b2c3d", f"GET / api-key={REMOVED}"),
        ("Authorization: Bearer 0a1b 2c3d\nHost: x", f"Authorization: {REMOVED}\nHost: x"),
        ('["--db-password", "hunter22", "-v"]', f'["--db-password", "{REMOVED}", "-v"]'),
        ("tool --token hunter22 run", f"tool --token {REMOVED} run"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, cleaned: str) -> None:
    assert REDACTION.clean(text) == cleaned
    assert REDACTION.left(cleaned) == []


@pytest.mark.parametrize(
    "text",
    [
        f"peer: {PUBLIC}",
        '{"event": "admitted", "token": 1234567, "address": "10.65.0.1"}',
        "sha256:9f2c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80912",
        "preshared key: (hidden)",
        "OnlyALongCamelCaseNameOfSomething",
        "http://10.66.0.2:8545 does not answer",
    ],
)
def test_what_is_public_or_harmless_stays(text: str) -> None:
    assert REDACTION.clean(text) == text


@given(st.text(max_size=200), st.sampled_from([PRIVATE, PASSWORD, URL]), st.text(max_size=200))
def test_no_surroundings_hide_a_secret(before: str, secret: str, after: str) -> None:
    cleaned = REDACTION.clean(f"{before}{secret}{after}")
    assert secret not in cleaned
    assert REDACTION.left(cleaned) == []


def test_the_search_knows_keys_and_private_keys_that_nobody_told() -> None:
    stranger = b64encode(b"s" * 31 + b"4").decode()
    assert REDACTION.left(f"x {stranger}") == ["a key that is no known public one"]
    assert REDACTION.left("-----BEGIN OPENSSH PRIVATE KEY-----") == ["a private key"]
    assert REDACTION.left(PUBLIC) == []


def test_tokens_of_files_with_secrets() -> None:
    config = f"[Interface]\nPrivateKey = {PRIVATE}\nListenPort = 51820\n# sha 0123456789abcdef0123456789abcdef\n"
    assert tokens(config) == {PRIVATE}


def test_all_text_of_json() -> None:
    assert sorted(strings({"a": ["x", {"b": "y"}], "c": 5, "d": None})) == ["x", "y"]
