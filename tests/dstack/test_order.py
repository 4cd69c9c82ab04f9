"""Which orders are taken: by whom, of what form. And JSON that is there to do harm."""

import json
import time
from http import HTTPStatus
from typing import Any

import pytest
from dstack_node.order import FIELDS, MOST_NUMBER, read, with_key
from dstack_node.refusal import RefusedError
from dstack_node.untrusted import DEEPEST, read_json
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.dstack.keepers import FILES, SIGNER, STRANGER, order, request, signed
from tests.model.example import KEYS
from tests.model.strategies import anything, json_values
from tests.model.test_guest import admitted
from vpn.model import order as stack
from vpn.model.bundle import node_files, proxy_files

LONGEST = 1 << 20


def refusal(body: bytes | str) -> tuple[int, str]:
    text = body.decode() if isinstance(body, bytes) else body
    with pytest.raises(RefusedError) as caught:
        read(text, SIGNER)
    return caught.value.status, str(caught.value)


def refusal_of(**more: Any) -> str:
    status, reason = refusal(request(**more))
    assert status == HTTPStatus.BAD_REQUEST
    return reason


def node(**files: Any) -> dict[str, Any]:
    return {"node": FILES | files}


def test_an_order_is_read_as_it_was_written() -> None:
    found = read(request(7, moment=3).decode(), SIGNER)
    assert {name: getattr(found, name) for name in FIELDS} == order(7, moment=3)
    assert "wg0.conf" not in repr(found)


def test_what_the_stack_signs_is_taken() -> None:
    mesh = admitted()
    node = mesh.node("c")
    found = read(stack.signed(mesh, KEYS, node, 5, 7), bytes.fromhex(KEYS.signer()))
    assert (found.network, found.node, found.epoch) == (mesh.name, "c", mesh.epoch(node))
    assert (found.serial, found.moment) == (5, 7)
    assert found.files == {"node": node_files(mesh, KEYS, node), "relay": proxy_files(mesh, KEYS, node)}


# --- signatures


def test_what_another_signed_is_refused() -> None:
    status, reason = refusal(signed(json.dumps(order()), STRANGER))
    assert (status, reason) == (HTTPStatus.FORBIDDEN, "the order is not signed by this node's operator")


@given(st.integers(0, 511), st.integers(1, 1 << 7))
def test_no_bit_of_a_signature_may_be_another(place: int, flip: int) -> None:
    raw = json.loads(request())
    signature = bytearray.fromhex(raw["signature"])
    signature[place // 8] ^= flip
    assert refusal(json.dumps(raw | {"signature": signature.hex()}))[0] == HTTPStatus.FORBIDDEN


@given(st.data())
def test_no_character_of_an_order_may_be_another(data: st.DataObject) -> None:
    raw = json.loads(request())
    place = data.draw(st.integers(0, len(raw["order"]) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda one: one != raw["order"][place]))
    changed = raw["order"][:place] + other + raw["order"][place + 1 :]
    assert refusal(json.dumps(raw | {"order": changed}))[0] == HTTPStatus.FORBIDDEN


def test_a_signature_for_another_purpose_is_none() -> None:
    text = json.dumps(order())
    whole = STRANGER.sign(text.encode()).signature.hex()
    assert refusal(json.dumps({"order": text, "signature": whole}))[0] == HTTPStatus.FORBIDDEN


# --- form


@given(json_values)
def test_a_request_of_another_form_is_refused(value: Any) -> None:
    assert refusal(json.dumps(value))[0] == HTTPStatus.BAD_REQUEST


@given(st.text() | st.builds(lambda deep: "[" * deep, st.integers(0, 2000)))
def test_garbage_is_refused(text: str) -> None:
    assert refusal(text)[0] == HTTPStatus.BAD_REQUEST
    with pytest.raises(RefusedError):
        read(signed(text.encode(errors="replace").decode()).decode(), SIGNER)


@given(json_values)
def test_an_order_that_is_signed_still_needs_its_form(value: Any) -> None:
    assert refusal(signed(json.dumps(value)))[0] == HTTPStatus.BAD_REQUEST


@given(st.sampled_from(sorted(FIELDS)), anything)
def test_a_field_is_what_it_has_to_be_or_all_is_refused(name: str, value: Any) -> None:
    try:
        found = read(request(**{name: value}).decode(), SIGNER)
    except RefusedError:
        return
    assert type(value) is FIELDS[name]
    assert getattr(found, name) == value


@pytest.mark.parametrize("name", ["epoch", "serial", "moment"])
def test_numbers_are_whole_and_not_too_large(name: str) -> None:
    assert "of the wrong type" in refusal_of(**{name: True})
    assert "of the wrong type" in refusal_of(**{name: 1.0})
    for wrong in (-1, MOST_NUMBER):
        assert refusal_of(**{name: wrong}) == f"the order is malformed: these numbers are out of range: {name}"


@pytest.mark.parametrize("files", [{}, {"relay": {"settings.json": ""}}, node() | {"gate": {}}, node() | {"../x": {}}])
def test_only_the_node_and_its_relay_have_folders(files: dict[str, Any]) -> None:
    assert "files are for node and, if there is one, relay" in refusal_of(files=files)


@pytest.mark.parametrize("relay", [{}, {"settings.json": "", "x": ""}, {"x": ""}])
def test_a_relay_has_its_settings_and_nothing_else(relay: dict[str, str]) -> None:
    assert "relay has just one file" in refusal_of(files=node() | {"relay": relay})


TAKEN = ["asked", "applied", "switch-at", "report", "tell", "SHA256SUMS"]
NAMES = ["", ".", "..", ".x", "../x", "a/b", "/x", "a\\b", "a\n", "a\0b", "A", "-x", "\u00e4", "x" * 101]


@pytest.mark.parametrize("name", [*NAMES, *TAKEN, ".wg0.conf.new"])
def test_a_name_that_is_no_plain_one_or_the_exchange_s_is_refused(name: str) -> None:
    assert "node cannot have a file" in refusal_of(files=node(**{name: ""}))


@given(st.text(max_size=12))
def test_a_file_with_a_name_that_is_taken_stays_in_its_folder(name: str) -> None:
    try:
        read(request(files=node(**{name: ""})).decode(), SIGNER)
    except RefusedError:
        return
    assert name.isascii()
    assert name[0].isalnum()
    assert not set(name) & set("/\\\0\n ")


@pytest.mark.parametrize("content", [1, None, [], {}, "\ud800"])
def test_a_file_is_text(content: Any) -> None:
    assert "malformed" in refusal_of(files=node(hosts=content))
    assert "malformed" in refusal_of(files={"node": content})


# --- WireGuard


@pytest.mark.parametrize("config", ["", "[Peer]\n", "[Interface]\n[Interface]\n", "# [Interface]\n"])
def test_the_configuration_has_one_place_for_the_key(config: str) -> None:
    assert "needs just one line" in refusal_of(files=node(**{"wg0.conf": config}))


@pytest.mark.parametrize("line", ["PrivateKey = x", "privatekey=x", "\t Private Key = x\r"])
def test_a_private_key_is_not_for_the_operator_to_give(line: str) -> None:
    assert "has a PrivateKey" in refusal_of(files=node(**{"wg0.conf": f"[Interface]\n{line}\n"}))


def test_the_key_stands_after_the_line_of_the_interface() -> None:
    assert with_key("# x\n[Interface]\nFwMark = 0\n", "k") == "# x\n[Interface]\nPrivateKey = k\nFwMark = 0\n"
    assert with_key("[Interface]", "k") == "[Interface]\nPrivateKey = k"


# --- JSON


@given(json_values)
def test_json_is_read_as_it_is(value: Any) -> None:
    text = json.dumps(value)
    assume("Infinity" not in text)  # which is Python's, not JSON's
    assert read_json(text) == value


@given(st.text(alphabet='[]{}"\\,a'))
def test_brackets_in_a_string_nest_nothing(text: str) -> None:
    assert read_json(json.dumps([text])) == [text]


def test_what_is_nested_too_deep_or_named_twice_is_refused() -> None:
    deepest = "[" * DEEPEST + "]" * DEEPEST
    assert read_json(deepest) == json.loads(deepest)
    for wrong, reason in [(f"[{deepest}]", "deeper"), ('{"a":1,"a":1}', "twice"), ("NaN", "no JSON")]:
        with pytest.raises(ValueError, match=reason):
            read_json(wrong)


@pytest.mark.parametrize("text", ["[", '"', '\\"', '"\\', "[]", '{"":', "9", '"[' + "\\"])
def test_long_garbage_takes_no_long_time(text: str) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"deeper|line 1"):
        read_json("{" + text * (LONGEST // len(text)))
    assert time.monotonic() - started < 5
