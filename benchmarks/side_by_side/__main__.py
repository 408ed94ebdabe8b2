"""
`make bench`: all works, all contenders; `python -m benchmarks.side_by_side [work …]` some of them.

--size says how much of everything, --only who takes part, --json where the result goes, --table that
it goes into docs/benchmarks.md too. --render FILE makes the tables of a result that is there already,
or of several that measured different works on one commit and machine; --contenders writes how each
of them is set up, without a run.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import expected, machine, table
from .bench import SIZES, Bench
from .contenders import CONTENDERS, contender
from .figures import Row
from .goals import GOALS, measured_text, stray_of
from .servers import Servers
from .works import WORKS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
_QUICK = ("request", "drain", "latency")
_QUICK_ONLY = ("raw_sql", "ours", "ours_redis", "celery_redis")


def main(arguments: list[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    # So that servers and workers end with us when a timeout ends us.
    signal.signal(signal.SIGTERM, _interrupt)
    if asked.contenders:
        table.write_contenders(PAGE)
        return 0
    if asked.render is not None:
        table.write(PAGE, table.merged([json.loads(file.read_text()) for file in asked.render]))
        return 0
    names = asked.only or (_QUICK_ONLY if asked.quick else [one.name for one in CONTENDERS])
    works = asked.works or (_QUICK if asked.quick else WORKS)
    result = measure(works, names, "quick" if asked.quick else asked.size)
    if asked.json is not None:
        asked.json.write_text(json.dumps(result, indent=1))
    if asked.table:
        table.write(PAGE, result)
    rows = table.rows_of(result)
    tell_goals(rows)
    for worse in expected.regressions(rows, expected.read()):
        print(f"WORSE THAN IT WAS  {worse}")  # noqa: T201
    if asked.expect:
        expected.write(rows)
    return 0


def measure(works: Any, names: Any, size: str) -> dict[str, Any]:
    """Run *works* with the contenders of those *names*; the result as it is written down."""
    command = f"python -m benchmarks.side_by_side {' '.join(sys.argv[1:])}".strip()
    about = machine.about(command)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        servers = Servers(stack)
        bench = Bench(servers, folder, SIZES[size], [contender(name) for name in names])
        bench.tell(f"commit {about['commit']}, load {about['load_before']}, size {size}")
        for name in works:
            began = time.monotonic()
            bench.tell(f"\n{name}")
            WORKS[name](bench)
            bench.tell(f"  ({time.monotonic() - began:.0f} s)")
        about |= machine.after(servers, bench.contenders)
    return {
        "machine": about,
        "size": size,
        "rows": [row.as_json() for row in bench.rows],
        "not_run": bench.not_run,
    }


def tell_goals(rows: list[Row]) -> None:
    stray = stray_of(rows)
    works = {row.work for row in rows}
    print(f"\nGoals; noise {100 * stray:.0f} %")  # noqa: T201  # a command talks to its caller
    for goal in GOALS:
        if goal.work in works and (value := goal.measured(rows)) is not None:
            print(  # noqa: T201
                f"  {goal.verdict(rows, stray):26} {goal.what}: {measured_text(value, goal.unit)}"
                f" ({goal.bound_text()})"
            )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _work(name: str) -> str:
    """Not by `choices`, which on Python 3.11 refuse that none is named."""
    if name not in WORKS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(WORKS)}")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side_by_side")
    parser.add_argument("works", nargs="*", metavar="work", type=_work, help=", ".join(WORKS))
    parser.add_argument("--quick", action="store_true", help="under three minutes, for CI")
    parser.add_argument("--size", choices=[*SIZES], default="usual")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in CONTENDERS])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--table", action="store_true", help="write docs/benchmarks.md")
    parser.add_argument(
        "--render", type=Path, nargs="+", metavar="FILE", help="only the tables of results"
    )
    parser.add_argument("--expect", action="store_true", help="later runs are compared with this")
    parser.add_argument("--contenders", action="store_true", help="only how each is set up")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
