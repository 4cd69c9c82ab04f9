"""app-compose.json: the bytes are always the same, and every field is in the hash."""

import json
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any, get_args, get_type_hints

import pytest
from dstack_sdk import get_compose_hash
from hypothesis import given
from hypothesis import strategies as st

from vpn.model.app_compose import AppCompose

NODE = AppCompose(
    name="vpn-node-a",
    docker_compose_file="services:\n  node:\n    image: 'n\u00f6de'\n",
    init_script="modprobe wireguard\n",
    gateway_enabled=True,
    allowed_envs=("NONCE",),
    ports=(443,),
)
TEXT = (
    '{"allowed_envs":["NONCE"],"docker_compose_file":"services:\\n  node:\\n    image: \'n\u00f6de\'\\n",'
    '"gateway_enabled":true,"init_script":"modprobe wireguard\\n","key_provider":"kms","key_provider_id":"",'
    '"manifest_version":2,"name":"vpn-node-a","no_instance_id":false,'
    '"port_policy":{"ports":[{"port":443,"pp":false}],"restrict_mode":true},"public_logs":false,'
    '"public_sysinfo":false,"public_tcbinfo":false,"runner":"docker-compose","secure_time":true,"storage_fs":"ext4"}'
)
HASH = "0b56227077fd027ccd803f7c2c0dd9a75e1032cfa015bf86420a0c8f415976b8"
OTHER: dict[str, Any] = {
    "name": "vpn-node-b",
    "docker_compose_file": "services: {}\n",
    "init_script": "",
    "key_provider": "local",
    "key_provider_id": "3059",
    "gateway_enabled": False,
    "public_logs": True,
    "public_sysinfo": True,
    "public_tcbinfo": True,
    "no_instance_id": True,
    "allowed_envs": (),
    "storage_fs": "zfs",
    "ports": (443, 51820),
    "restrict_mode": False,
}
HINTS = get_type_hints(AppCompose)

texts = st.text(max_size=8)
composes = st.builds(
    AppCompose,
    name=texts,
    docker_compose_file=texts,
    init_script=texts,
    key_provider=st.sampled_from(get_args(HINTS["key_provider"])),
    key_provider_id=texts,
    gateway_enabled=st.booleans(),
    public_logs=st.booleans(),
    public_sysinfo=st.booleans(),
    public_tcbinfo=st.booleans(),
    no_instance_id=st.booleans(),
    allowed_envs=st.lists(texts, max_size=3).map(tuple),
    storage_fs=st.sampled_from(get_args(HINTS["storage_fs"])),
    ports=st.lists(st.integers(1, 65535), max_size=3).map(tuple),
    restrict_mode=st.booleans(),
)


def test_the_text_never_changes_from_one_release_to_the_next() -> None:
    assert NODE.text() == TEXT
    assert NODE.compose_hash() == HASH


@given(composes)
def test_the_hash_is_that_of_the_very_bytes_and_of_dstacks_sdk(compose: AppCompose) -> None:
    assert compose.compose_hash() == sha256(compose.text().encode()).hexdigest()
    assert compose.compose_hash() == get_compose_hash(json.loads(compose.text()))


@given(composes, composes)
def test_two_have_one_text_just_when_they_are_equal(one: AppCompose, other: AppCompose) -> None:
    assert replace(one).text() == one.text()
    assert (one.text() == other.text()) == (one == other)
    assert (one.compose_hash() == other.compose_hash()) == (one == other)


@given(composes, composes, st.data())
def test_every_field_is_in_the_hash(one: AppCompose, other: AppCompose, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([field.name for field in fields(AppCompose)]))
    changed = replace(one, **{name: getattr(other, name)})
    assert (changed.compose_hash() == one.compose_hash()) == (changed == one)


@pytest.mark.parametrize("name", [field.name for field in fields(AppCompose)])
def test_another_value_of_a_field_gives_another_hash(name: str) -> None:
    assert replace(NODE, **{name: OTHER[name]}).compose_hash() != HASH


@given(composes)
def test_nothing_is_null_and_nothing_follows_the_object(compose: AppCompose) -> None:
    assert None not in json.loads(compose.text()).values()
    assert (compose.text()[0], compose.text()[-1]) == ("{", "}")
