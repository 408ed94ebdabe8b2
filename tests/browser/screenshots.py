"""`make screenshots`: run shots.py, which writes the documentation's pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    shots = Path(__file__).with_name("shots.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", str(shots), *sys.argv[1:]]
    environment = os.environ | {"REQUIRE_SERVICES": "1"}  # a picture that is not taken is a failure
    sys.exit(subprocess.run(command, env=environment, check=False).returncode)
