"""Compiles the contract into access_pass.json, which the chain's image and all clients use.

python contracts/build.py
"""

import json
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("access_pass.vy")
ARTIFACT = SOURCE.with_suffix(".json")


def compiled() -> str:
    """ABI and creation code as JSON, always the same for the same source, compiler and library."""
    vyper = Path(sys.executable).with_name("vyper")
    command = [str(vyper), "-f", "abi,bytecode", SOURCE.name]
    done = subprocess.run(command, cwd=SOURCE.parent, check=True, capture_output=True, text=True)
    abi, bytecode = done.stdout.splitlines()
    entries = ",\n  ".join(json.dumps(entry) for entry in json.loads(abi))
    return f'{{"abi": [\n  {entries}\n],\n"bytecode": "{bytecode}"}}\n'


if __name__ == "__main__":
    ARTIFACT.write_text(compiled())
