"""What follows from a look at the chain: who is let in, who is put out, and what is said of it."""

import re
import time
from dataclasses import replace
from statistics import median

import pytest
from access_gate import gate as gate_module
from access_gate.board import Board, boot_id, uptime
from access_gate.members import base64
from access_gate.rpc import ChainError

from tests.gate.world import BOB, MemoryChain, World, held, key
from tests.model.example import ACCESS, KEYS, MESH

NODES = ["node-a"]  # with something for members
BOUND = "its holder bound this key"
SPARE = 300  # seconds of a lease


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let time pass for the gate."""
    monkeypatch.setattr(gate_module, "uptime", lambda: uptime() + seconds)


# --- in and out


def test_who_holds_a_pass_with_a_key_is_in_with_the_address_of_its_number(world: World) -> None:
    world.after(held(7), replace(held(8), key=bytes(32)))
    assert world.members == [["7", base64(key(7)), "10.65.0.7", held(7).owner]]


def test_the_members_hold_for_the_lease_on_this_boot(world: World) -> None:
    world.after(held(7))
    boot, until, generation = world.lease
    assert boot == boot_id()
    assert 0 <= uptime() + ACCESS.lease - int(until) <= 2
    assert re.fullmatch("[0-9a-f]{64}", generation)


def test_every_good_look_renews_the_lease_and_the_same_members_are_the_same_generation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.after(held(7)).lease
    later(monkeypatch, 50)
    second = world.after(held(7)).lease
    assert (second[0], second[2]) == (first[0], first[2])
    assert int(second[1]) - int(first[1]) in (50, 51)
    assert world.after(held(7), held(8)).lease[2] != first[2]


def test_an_admission_is_told_in_full(world: World) -> None:
    block = world.chain.mine(held(7))
    world.turn()
    (line,) = world.lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line.pop("time"))
    assert line == {
        "event": "admitted",
        "token": 7,
        "key": base64(key(7)),
        "address": "10.65.0.7",
        "owner": held(7).owner,
        "nodes": NODES,
        "block": block.hash,
        "reason": BOUND,
    }


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ([], "burned"),
        ([held(7, owner=BOB)], "transferred"),
        ([replace(held(7, owner=BOB), key=bytes(32))], "transferred"),
        ([held(7, suspended=True)], "suspended"),
        ([replace(held(7), key=bytes(32))], "key cleared"),
        ([held(7), held(8, number=7)], "another pass has the same key or number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_lost_the_pass_is_out_at_the_next_look(world: World, now: list, reason: str) -> None:  # type: ignore[type-arg]
    world.after(held(7)).after(*now)
    assert (7, reason) in world.said("revoked")
    assert [line for line in world.members if line[:2] == ["7", base64(key(7))] and line[3] == held(7).owner] == []


def test_a_new_key_takes_the_place_of_the_old_one(world: World) -> None:
    world.after(held(7)).after(held(7, number=70))
    assert [line[1] for line in world.members] == [base64(key(70))]
    assert world.said("revoked") == [(7, "another key")]
    assert world.said("admitted") == [(7, BOUND)] * 2


def test_a_look_that_finds_nothing_new_says_nothing(world: World) -> None:
    for _ in range(3):
        world.after(held(7))
    world.turn()
    assert len(world.lines) == 1


# --- finality: out at the newest block, in at a final one


def test_a_grant_waits_for_its_confirmations_a_revocation_does_not(world: World) -> None:
    world.deliver(finality="2")
    assert world.after().after().after(held(7)).tokens == []
    assert world.after(held(7)).tokens == []
    assert world.after(held(7)).tokens == [7]
    assert world.after().tokens == []


def test_a_chain_shorter_than_its_confirmations_has_nobody_in(world: World) -> None:
    world.deliver(finality="20")
    assert world.after(held(7)).tokens == []
    assert world.turn() == ""


@pytest.mark.parametrize("tag", ["safe", "finalized"])
def test_a_grant_waits_for_a_tag(world: World, tag: str) -> None:
    world.deliver(finality=tag)
    world.chain.tags[tag] = 0
    assert world.after(held(7)).tokens == []
    world.chain.tags[tag] = 1
    world.turn()
    assert world.tokens == [7]


def test_what_was_suspended_or_another_key_at_the_final_block_waits_again(world: World) -> None:
    world.deliver(finality="1")
    world.after(held(7, suspended=True), held(8, number=80)).after(held(7), held(8))
    assert world.tokens == []
    assert world.after(held(7), held(8)).tokens == [7, 8]


def test_a_final_block_after_the_newest_is_not_believed(world: World) -> None:
    world.deliver(finality="safe")
    world.chain.mine(held(7))
    world.chain.tags["safe"] = 1
    world.chain.lies["safe"] = 9
    assert "is said to be safe, but the newest is 1" in world.turn()


def test_nothing_about_the_final_block_delays_a_revocation(world: World) -> None:
    world.deliver(finality="1")
    assert world.after(held(7), held(8)).after(held(7), held(8)).tokens == [7, 8]
    passes = world.chain.passes
    head = world.chain.mine(held(8))
    world.chain.passes = lambda contract, block: passes(contract, block) if block == head else broken()  # type: ignore[method-assign]
    assert world.turn() == "the state is pruned"
    assert world.tokens == [8]


def test_a_final_block_that_goes_back_puts_out_nobody_who_is_in(world: World) -> None:
    world.deliver(finality="safe")
    world.chain.tags["safe"] = 1
    assert world.after(held(7)).tokens == [7]
    world.chain.tags["safe"] = 0
    assert world.after(held(7), held(8)).tokens == [7]
    assert world.said("revoked") == []


def broken() -> None:
    raise ChainError("the state is pruned")


# --- a chain that is not to be believed


def test_a_reorganisation_takes_back_what_it_undoes(world: World) -> None:
    world.after().after(held(7))
    world.chain.rewind(1)
    world.chain.mine(branch="other")
    world.after(branch="other")
    assert world.tokens == []
    assert world.said("revoked") == [(7, "burned")]


def test_a_reorganisation_of_the_same_length_is_seen_by_its_hash(world: World) -> None:
    world.after().after(held(7))
    world.chain.rewind(1)
    assert world.after(branch="other").tokens == []


def test_an_endpoint_that_goes_back_is_refused_also_after_a_restart(world: World) -> None:
    world.after().after(held(7)).after()
    world.chain.rewind(2)
    assert world.turn() == "block 2 is older than block 3, which was seen before"
    world.restart()
    assert world.turn() == "block 2 is older than block 3, which was seen before"
    assert world.tokens == [], "who was put out does not get in by an older block"


def test_a_chain_that_was_made_anew_is_another_and_is_believed(world: World) -> None:
    world.after(held(7)).after(held(7))
    world.chain = MemoryChain("another")
    world.restart()
    assert world.turn() == ""
    assert world.tokens == []
    assert world.after(held(8)).tokens == [8]


def test_an_older_block_of_the_chain_that_took_the_place_of_another_is_refused(world: World) -> None:
    world.after()
    world.chain = MemoryChain("longer")
    world.restart()
    world.after().after(held(7)).after()
    world.chain.rewind(2)
    assert world.turn() == "block 2 is older than block 3, which was seen before"
    assert world.tokens == []


def test_a_number_that_no_block_has_is_not_remembered(world: World) -> None:
    world.after(held(7))
    world.chain.lies["latest"] = 2**63
    assert world.turn() == "eth_call: block not found"
    del world.chain.lies["latest"]
    assert world.turn() == ""


def test_an_answer_about_a_block_is_not_believed_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.after(held(7))
    world.chain.blocks[-1] = (world.chain.blocks[-1][0], [])
    world.turn()
    assert world.tokens == [7]
    later(monkeypatch, 61)
    world.turn()
    assert world.tokens == []


def test_a_full_disk_keeps_nobody_in_and_puts_nobody_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.after(held(7), held(8))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Board, "remember", full)
        later(patch, 100)
        until = world.lease[1]
        assert world.after(held(8)).tokens == [8]
        assert world.lines[-1]["reason"] == "[Errno 28] No space left on device"
        assert int(world.lease[1]) - int(until) in (100, 101)
    assert world.turn() == ""


def test_a_newest_block_that_is_too_old_is_refused(world: World) -> None:
    world.deliver(maxHeadAge=300)
    world.chain.mine(held(7), age=400)
    for _ in range(2):
        assert re.fullmatch(r"the newest block, 1, is of 20\S+Z, not of the last 300 s", world.turn())
    assert [one["event"] for one in world.lines] == ["failed"], "told once"
    assert world.after(held(7), age=200).tokens == [7]


def test_a_newest_block_of_tomorrow_is_refused(world: World) -> None:
    """So it is when the clock is set back: its age would never end a lease."""
    world.deliver(maxHeadAge=300)
    assert world.after(held(7), age=-400).lines[0]["event"] == "failed"


def test_a_chain_without_the_contract_is_refused(world: World) -> None:
    world.chain.deployed_at = 99
    assert world.turn() == f"there is no contract at {ACCESS.contract}"


def test_a_contract_that_was_not_there_at_the_final_block_has_nobody_in(world: World) -> None:
    world.deliver(finality="1")
    world.chain.deployed_at = 2
    assert world.after().after(held(7)).tokens == []
    assert world.after(held(7)).tokens == [7]


# --- a chain that does not answer


def test_members_stay_for_the_lease_and_are_then_put_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    until = world.after(held(7)).lease[1]
    world.chain.broken = "no answer"
    later(monkeypatch, SPARE - 5)
    assert world.turn() == "no answer"
    assert (world.tokens, world.lease[1]) == ([7], until), "a bad look renews no lease"
    later(monkeypatch, SPARE + 5)
    world.turn()
    assert world.tokens == []
    assert world.said("revoked") == [(7, "lease expired")]


def test_who_was_put_out_because_the_lease_ran_out_is_in_again_when_the_chain_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.after(held(7))
    world.chain.broken = "no answer"
    later(monkeypatch, SPARE + 5)
    world.turn()
    world.chain.broken = ""
    world.turn()
    assert world.tokens == [7]
    assert world.said("admitted") == [(7, BOUND)] * 2


def test_a_lease_that_ran_out_while_the_gate_was_away_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.after(held(7))
    world.restart()
    later(monkeypatch, SPARE + 5)
    world.chain.broken = "no answer"
    world.turn()
    assert world.tokens == []
    assert world.said("revoked") == [(7, "lease expired")]


def test_who_changed_the_address_is_told(world: World) -> None:
    world.after(held(7))
    world.deliver(memberRange="10.99.0.0/24")
    world.turn()
    assert world.said("revoked") == [(7, "another address")]
    assert [line[2] for line in world.members] == ["10.99.0.7"]


def test_a_trouble_is_told_once_and_its_end_too(world: World) -> None:
    world.turn()
    world.chain.broken = "no answer"
    for _ in range(3):
        world.turn()
    world.chain.broken = ""
    world.turn()
    assert [(one["event"], one["reason"]) for one in world.lines] == [
        ("failed", "no answer"),
        ("recovered", "no answer"),
    ]


# --- who must not get in


def test_refused_keys_let_nobody_in_and_are_told_once(world: World) -> None:
    node = KEYS.private_key("node-b", MESH.key_generation).public().raw
    refused = {
        1: (node, "the key is a node's"),
        2: (b"\xff" * 32, "the key is no X25519 public key"),
        3: (b"\1" + bytes(31), "the key is no X25519 public key"),
        4: (key(4), "another pass has the same key or number"),
        5: (key(4), "another pass has the same key or number"),
        300: (key(300), "10.65.0.0/24 has no address for this token"),
    }
    passes = [replace(held(token), key=bytes_) for token, (bytes_, _) in refused.items()]
    assert world.after(held(9), *passes).after(held(9), *passes).tokens == [9]
    assert sorted(world.said("refused")) == [(token, reason) for token, (_, reason) in sorted(refused.items())]


def test_a_pass_without_a_key_is_not_worth_a_word(world: World) -> None:
    world.after(replace(held(7), key=bytes(32)), replace(held(8), key=bytes(32)))
    assert (world.tokens, world.lines) == ([], [])


# --- other lives, other settings


def test_a_restart_admits_nobody_twice_and_puts_out_who_lost_the_pass_meanwhile(world: World) -> None:
    world.after(held(7), held(8))
    world.restart()
    world.after(held(8))
    assert world.tokens == [8]
    assert world.said("admitted") == [(7, BOUND), (8, BOUND)]
    assert world.said("revoked") == [(7, "burned")]


def test_a_restart_with_a_cold_cache_reads_all_of_it_again(world: World) -> None:
    world.after(held(7), held(8))
    (world.volume / "members").unlink()
    (world.config / "seen.json").unlink()
    world.restart()
    world.turn()
    assert world.tokens == [7, 8]


@pytest.mark.parametrize("memory", ["", "[]", "{}", '{"genesis": 1, "number": 2}', '{"genesis": "x"}', "\0"])
def test_an_illegible_memory_is_none(world: World, memory: str) -> None:
    (world.config / "seen.json").write_text(memory)
    assert world.after(held(7)).tokens == [7]


@pytest.mark.parametrize("text", ["", "x", "boot 99999999999 g\n7 key 10.65.0.7 0x0\n", "a b c\n", "a 9 g\nx"])
def test_members_of_another_boot_or_of_nobody_are_none(world: World, text: str) -> None:
    (world.volume / "members").write_text(text)
    world.restart()
    assert world.after(held(8)).tokens == [8]
    assert world.said("revoked") == []


def test_without_settings_nobody_is_let_in(world: World) -> None:
    (world.config / "settings.json").unlink()
    world.chain.mine(held(7))
    assert world.turn().startswith("no settings")
    assert not (world.volume / "members").exists()


def test_settings_that_are_being_delivered_change_nothing_yet(world: World) -> None:
    world.after(held(7))
    (world.config / "settings.json").write_text("{")
    assert world.turn() == ""
    assert world.after(held(7), held(8)).tokens == [7, 8]


def test_settings_are_acknowledged_once_a_look_by_them_was_good(world: World) -> None:
    applied, sums = world.config / "applied", world.config / "SHA256SUMS"
    world.chain.broken = "no answer"
    world.turn()
    assert not applied.exists()
    world.chain.broken = ""
    world.turn()
    assert applied.read_text() == sums.read_text()
    world.deliver(lease=60)
    world.turn()
    assert applied.read_text() == sums.read_text()


def test_a_member_whose_key_becomes_a_nodes_is_put_out(world: World) -> None:
    world.after(held(7))
    world.deliver(nodes={"node-a": base64(key(7))})
    world.turn()
    assert world.tokens == []
    assert world.said("revoked") == [(7, "the key is a node's")]


def test_a_narrower_range_puts_out_who_has_no_address_any_more(world: World) -> None:
    world.after(held(7), held(3))
    world.deliver(memberRange="10.65.0.0/29")
    world.turn()
    assert world.tokens == [3]


# --- many


def test_a_look_at_1000_passes_with_10_changes_takes_less_than_1_s(world: World) -> None:
    world.deliver(memberRange="10.65.0.0/20")
    everybody = [held(token) for token in range(1, 1001)]
    world.after(*everybody)
    times = []
    for change in range(5):
        changed = [held(token, number=2000 + 10 * change + token) for token in range(1, 11)]
        world.chain.mine(*changed, *everybody[10:])
        started = time.monotonic()
        world.turn()
        times.append(time.monotonic() - started)
    assert len(world.tokens) == 1000
    assert len(world.said("revoked")) == 50
    assert median(times) < 1
