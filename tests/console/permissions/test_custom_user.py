"""The same tables hold for a project whose users have no `username`, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_BOUND = 500  # seconds: it makes databases of its own


@pytest.mark.timeout(_BOUND + 20)
def test_permissions_hold_with_a_user_model_of_the_project_s_own():
    """AUTH_USER_MODEL cannot be changed in a process that has begun."""
    mine = {
        key: value for key, value in os.environ.items() if not key.startswith(("TEST_", "PYTEST_"))
    }
    settings = "tests.console.permissions.settings_of_members"
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--ds={settings}",
        "-k", "not back-office", str(HERE / "test_matrix.py"), str(HERE / "test_hostile.py"),
    ]  # fmt: skip

    run = subprocess.run(  # this file's own neighbours
        command, cwd=HERE.parents[2], env=mine | {"TEST_DATABASE": "sqlite"},
        capture_output=True, text=True, timeout=_BOUND, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert " passed" in run.stdout
