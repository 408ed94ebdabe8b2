"""
`make chaos`: everything under load and under fire, and then an account of every effect.

Ends with 0 when all is sound and came to rest. `--plant` puts a bug into a copy of the code first;
then 0 means that the checker caught it.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from example_project.processes import NotReady
from tests.chaos import faults, old_release, plants, telling
from tests.chaos.run import run
from tests.chaos.stage import Stage
from tests.faults.evidence import commit
from tests.services import Missing
from tests.services.disk import Disk, NoDisk, small_disk


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.list:
        for name in faults.all_names():
            print(f"{name:<22}{faults.rows_of(name)}")
        for plant in plants.PLANTS:
            print(f"PLANT={plant.name:<34}{plant.expected}")
        return 0
    if options.plant:
        return plants.main(options.plant, database=options.database, broker=options.broker)
    seed = options.seed or time.time_ns() % 100_000
    chosen = set(filter(None, options.faults.split(",")))
    if unknown := chosen - set(faults.all_names()):
        print(f"There is no fault {', '.join(sorted(unknown))}. There are: "
              f"{', '.join(faults.all_names())}.")  # fmt: skip
        return 2
    try:
        return _run(options, seed, chosen)
    except (Missing, NotReady) as error:
        print(f"NOT TESTED: {error}")
        return 1
    except KeyboardInterrupt:
        print("\nStopped before there was anything to judge.")
        return 130


def _run(options: argparse.Namespace, seed: int, chosen: set[str]) -> int:
    with ExitStack() as stack:
        folder = Path(options.folder or stack.enter_context(_folder()))
        disk = _disk(stack, chosen)
        old = None
        if options.broker != "none" and (not chosen or "old_release" in chosen):
            old = old_release.unpack(folder / "old")
        _say(f"starting {options.database}, {options.broker}, partners, web, two workers, beat")
        stage = Stage(
            folder, database=options.database, broker=options.broker, disk=disk, old_release=old
        )
        with stage:
            offered = faults.offered(stage, chosen)
            _say(f"{len(offered)} kinds of faults, {options.seconds:.0f} s, SEED={seed}")
            if missing := (chosen or set(faults.all_names())) - {f.name for f in offered}:
                _say(f"not here: {', '.join(sorted(missing))}")
            outcome = run(
                stage, offered, seconds=options.seconds, seed=seed, pace=options.pace,
                is_doubtful=options.soon, say=_say,
            )  # fmt: skip
        is_sound = outcome.judgement.is_sound and outcome.came_to_rest
        for line in telling.told(outcome):
            print(line)
        facts = telling.as_json(
            outcome, seed=seed, database=options.database, broker=options.broker, commit=commit()
        )
        if options.json:
            Path(options.json).write_text(json.dumps(facts, indent=1) + "\n")
        if is_sound:
            print(f"  Sound. SEED={seed}")
            return 0
        kept = Path(tempfile.mkdtemp(prefix="effects-chaos-"))
        for path in [*folder.glob("*.jsonl"), *folder.glob("partners.sqlite3*"), stage.logs]:
            path.rename(kept / path.name)
        print(f"  {'NOT SOUND' if outcome.came_to_rest else 'NOT AT REST'}. SEED={seed}")
        print(f"  The journal, the ledger and the logs are in {kept}.")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="of load and blows")
    parser.add_argument("--seed", type=int, default=0, help="of the blows and the customers")
    parser.add_argument("--faults", default="", help="names with commas between; all, if none")
    parser.add_argument("--database", choices=("postgres", "mariadb", "sqlite"), default="postgres")
    parser.add_argument("--broker", choices=("rabbitmq", "redis", "none"), default="redis")
    parser.add_argument("--plant", default="", help='bugs to put in first, or "all"')
    parser.add_argument(
        "--pace", type=float, default=0.8, help="seconds between a customer's orders"
    )
    parser.add_argument("--soon", action="store_true", help="do not wait for what does not come")
    parser.add_argument("--json", default="", help="a file for the figures")
    parser.add_argument("--folder", default="", help="for all files of the run; it must be empty")
    parser.add_argument("--list", action="store_true", help="the faults and the plants")
    return parser


def _disk(stack: ExitStack, chosen: set[str]) -> Disk | None:
    if chosen and "fill_disk" not in chosen:
        return None
    try:
        return stack.enter_context(small_disk())
    except NoDisk as error:
        _say(f"{error}")
        return None


@contextmanager
def _folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="effects-chaos-", ignore_cleanup_errors=True) as name:
        yield name


def _say(what: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
