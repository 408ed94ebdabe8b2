"""
Install the peers of requirements.txt into the environment that runs this, each by itself.

One that cannot be had (an older Python, another Django, no network) does not keep the others away:
pip's last word about it is printed, and the tables say that it was not run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_LIST = Path(__file__).with_name("requirements.txt")
_FIRST = "django~="  # what the others have to live with


def main() -> int:
    lines = [line.strip() for line in _LIST.read_text().splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    django = [line for line in wanted if line.startswith(_FIRST)]
    for requirement in sorted(wanted, key=lambda line: not line.startswith(_FIRST)):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, requirement, *django], capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["pip said nothing"]
            print(f"{requirement} cannot be had here: {said[-1]}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
