"""The code of the release before: the last commit that had one migration less."""

from __future__ import annotations

import subprocess
from pathlib import Path

from example_project.processes import ROOT

_MIGRATIONS = "reliable_effects/migrations"


def unpack(into: Path) -> Path | None:
    """Its package and the shop of then, below *into*; None where there is no history to ask."""
    newest = max(path.name for path in (ROOT / _MIGRATIONS).glob("0*.py"))
    added = _git("log", "--diff-filter=A", "--format=%H", "-1", "--", f"{_MIGRATIONS}/{newest}")
    if not added:
        return None
    before = f"{added}^"
    parts = ("reliable_effects", "example_project", "tests")
    archive = subprocess.run(
        ["git", "archive", before, *parts], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        return None  # a clone without its history
    into.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", into], input=archive.stdout, check=True)
    # How a run is set up is of today; so is the effect that kills.
    subprocess.run(["cp", "-r", ROOT / "tests" / "chaos", into / "tests"], check=True)
    return into


def _git(*arguments: str) -> str:
    ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout.strip()
