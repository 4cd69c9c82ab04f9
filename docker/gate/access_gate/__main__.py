"""python3 -m access_gate: look at the chain until stopped.

python3 -m access_gate health: succeed if the last look was good and not long ago.
"""

import json
import signal
import sys
import time
from pathlib import Path

from access_gate.board import Board, uptime
from access_gate.gate import Gate

CONFIG = Path("/etc/access-gate")
MEMBERS = Path("/members")
STATE = Path("/run/state.json")
POLL = 0.1  # seconds between two looks for a question
STALE = 120  # seconds; a look takes 40 at most


def main() -> None:
    """Run until stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    board = Board(CONFIG, MEMBERS)
    board.retract()  # said by a life before this one
    try:
        run(board, Gate(board, lambda line: print(line, flush=True)))
    finally:
        board.retract()


def run(board: Board, gate: Gate) -> None:
    """Look, every tick and when asked."""
    while True:
        started = time.monotonic()
        board.withdraw_question()
        complaint = gate.turn()
        STATE.write_text(json.dumps({"uptime": uptime(), "complaint": complaint, "summary": gate.summary()}))
        while time.monotonic() - started < gate.tick and not board.asked:
            time.sleep(POLL)


def health() -> int:
    """Say what the last look found; 0 if all was well."""
    if not STATE.exists():
        print("no look at the chain yet")
        return 1
    state = json.loads(STATE.read_text())
    silence = uptime() - state["uptime"]
    complaint = state["complaint"] or (f"no look at the chain for {silence:.0f} s" if silence > STALE else "")
    print(f"failed: {complaint}" if complaint else f"ok {state['summary']}")
    return 1 if complaint else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["health"]:
        sys.exit(health())
    main()
