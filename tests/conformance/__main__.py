"""
`make conformance`: the 42 cases on each database, and six of them on every variant.

TEST_DATABASES names the databases (all three); --all runs all 42 on every variant, in turn.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import reliable_effects.conformance.cases  # noqa: F401  # enters them
from reliable_effects.conformance import report
from reliable_effects.conformance.run import Outcome, Result
from tests.conformance.stage import SIX, VARIANTS, stage
from tests.services import MariaDB, Missing, Postgres, obtain

_SERVERS = {"postgres": Postgres, "mariadb": MariaDB}


def main() -> int:
    ids = () if "--all" in sys.argv[1:] else SIX
    failed: list[str] = []
    for kind in os.environ.get("TEST_DATABASES", "postgres mariadb sqlite").split():
        print(f"\n===== {kind}", flush=True)
        try:
            server = obtain(_SERVERS[kind]) if kind in _SERVERS else None
        except Missing as missing:
            print(f"NOT TESTED {missing}")
            failed.append(kind)
            continue
        with TemporaryDirectory(prefix="fixture-") as folder:
            if not _run(kind, server.url if server else "", Path(folder), ids):
                failed.append(kind)
        if server:
            server.discard()
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nAll passed.")
    return 1 if failed else 0


def _run(kind: str, url: str, folder: Path, ids: tuple[str, ...]) -> bool:
    with stage(kind, url, folder) as servers:
        print(f"all cases, {VARIANTS[0].name}", flush=True)
        results = servers.run(VARIANTS[0], tell=lambda result: print(report.line(result)))
        print(report.summary(results))
        print(f"\n{', '.join(ids) or 'all cases'} on every variant", flush=True)
        on_each = servers.run_on_each(*ids)
        for variant, found in on_each.items():
            print(f"{variant.name:<22} {sum(_passed(r) for r in found)}/{len(found)}")
            print("".join(f"{report.line(r)}\n" for r in found if not _passed(r)), end="")
    everything = [*results, *(result for found in on_each.values() for result in found)]
    return all(_passed(result) for result in everything)


def _passed(result: Result) -> bool:
    return result.outcome is Outcome.PASSED


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
