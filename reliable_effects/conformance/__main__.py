"""`python -m reliable_effects.conformance URL`: 0 all offered cases pass, 1 some fail, 2 no server."""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from . import cases as _cases
from . import report
from .case import CASES, Case, Options
from .client import BadAddress, Client
from .run import Result, Unreachable, run

__all__ = ["main"]
_ = _cases  # importing it enters them


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    asked = parser.parse_args(arguments)
    options = Options(
        header=asked.header,
        media_type=asked.media_type,
        is_quoted=asked.quoted,
        ttl=asked.ttl,
        store_down=asked.store_down,
        patience=asked.patience,
    )
    # With --json standard output is for a program, so people read the other one.
    people = sys.stderr if asked.json else sys.stdout

    def tell(result: Result) -> None:
        print(report.line(result), file=people, flush=True)

    try:
        chosen = _chosen(asked.only)
        client = Client(asked.url.rstrip("/"), asked.timeout)
        results = run(client, chosen, options, tell)
    except (BadAddress, UnknownCase, Unreachable) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(report.summary(results), file=people)
    if asked.json:
        print(json.dumps(report.as_json(asked.url, results), indent=2))
    return 1 if report.has_failed(results) else 0


class UnknownCase(Exception):
    """--only names a case that there is not."""


def _chosen(only: str) -> list[Case]:
    ordered = sorted(CASES, key=lambda case: case.id)
    names = [name.strip().upper() for name in only.split(",") if name.strip()]
    if unknown := sorted(set(names) - {case.id for case in ordered}):
        raise UnknownCase(f"There is no case {', '.join(unknown)}: they are I01 to I42.")
    return [case for case in ordered if not names or case.id in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reliable_effects.conformance",
        description="Run the conformance cases of idempotency keys against a fixture server.",
    )
    parser.add_argument("url", help="where the fixture routes are, as http://127.0.0.1:8000")
    parser.add_argument("--header", default="Idempotency-Key", help="the name of the key's header")
    parser.add_argument("--only", default="", metavar="IDS", help="as I02,I21; all where left out")
    parser.add_argument("--json", action="store_true", help="all results as JSON, lines on stderr")
    parser.add_argument("--quoted", action="store_true", help="quote every key: a strict server")
    parser.add_argument(
        "--media-type", default="text/plain", metavar="TYPE", help="of bodies, as application/json"
    )
    parser.add_argument("--ttl", type=float, metavar="SECONDS", help="how long /echo knows a key")
    parser.add_argument(
        "--store-down", default="", metavar="URL", help="the same server, its store out of reach"
    )
    parser.add_argument(
        "--timeout", type=float, default=20, metavar="SECONDS", help="for one answer (20)"
    )
    parser.add_argument(
        "--patience", type=float, default=30, metavar="SECONDS", help="for a lease to end (30)"
    )
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
