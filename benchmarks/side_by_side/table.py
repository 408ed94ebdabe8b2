"""The tables of `docs/benchmarks.md`, from the JSON of a run: nobody writes a figure by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .contenders import CONTENDERS, Kind
from .figures import Row
from .goals import GOALS, measured_text, stray_of

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_CONTENDERS = "<!-- contenders: begin -->", "<!-- contenders: end -->"
_TITLES = {one.name: one.title for one in CONTENDERS} | {"floor": "the floor against itself"}
_KINDS = {
    Kind.OURS: "[durable](explanation/guarantees.md)",
    Kind.DURABLE: "durable: rows in the same transaction",
    Kind.RELAY: "durable as far as the broker",
    Kind.MESSAGE: "a message after the commit: lost with the process or the broker",
    Kind.LIMIT: "the limit",
}
_BUSY = 1.0  # load of other things, for each core: above that a run says little


def rows_of(result: Mapping[str, Any]) -> list[Row]:
    """The rows of a run as it was written down."""
    return [Row(**{k: v for k, v in row.items() if k != "median"}) for row in result["rows"]]


def merged(results: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """
    Runs of different works as one. Each goal is a ratio within one work, so it stays within a run.

    Raises:
        ValueError: they are of several commits or machines, or measured one work twice.
    """
    first = results[0]
    machines = [result["machine"] for result in results]
    for name in ("commit", "cpu", "cores", "python", "kernel"):
        if len(found := {str(machine[name]) for machine in machines}) > 1:
            raise ValueError(f"These results differ in {name}: {', '.join(sorted(found))}.")
    works = [work for result in results for work in {row["work"] for row in result["rows"]}]
    if twice := sorted({work for work in works if works.count(work) > 1}):
        raise ValueError(f"These works were measured twice: {', '.join(twice)}.")
    machine = {
        **first["machine"],
        "command": "; ".join(machine["command"] for machine in machines),
        "load_after": machines[-1]["load_after"],
        "versions": {k: v for each in machines for k, v in sorted(each["versions"].items())},
    }
    for each in machines:
        machine.setdefault("postgres", each.get("postgres", {}))
    return {
        "machine": machine,
        "size": " and ".join(dict.fromkeys(result["size"] for result in results)),
        "rows": [row for result in results for row in result["rows"]],
        "not_run": {what: why for result in results for what, why in result["not_run"].items()},
    }


def write(page: Path, result: Mapping[str, Any]) -> None:
    """
    Put the tables between the page's marks.

    Raises:
        ValueError: the page has no marks.
    """
    page.write_text(_between(page, page.read_text(), (BEGIN, END), render(result)))
    write_contenders(page)


def write_contenders(page: Path) -> None:
    """Put how each contender is set up between its marks, where the page has them."""
    text = page.read_text()
    if _CONTENDERS[0] in text:
        page.write_text(_between(page, text, _CONTENDERS, contenders()))


def _between(page: Path, text: str, marks: tuple[str, str], new: str) -> str:
    begin, end = marks
    if begin not in text or end not in text:
        raise ValueError(f"{page} has no {begin} and {end}; put them where the tables belong.")
    before, after = text.partition(begin)[0], text.partition(end)[2]
    return f"{before}{begin}\n\n{new}\n{end}{after}"


def contenders() -> str:
    """How each is set up, and where its docs advise so, as the code has it."""
    lines = ["| contender | set up | kind |", "|---|---|---|"]
    lines += [f"| {one.title} | {one.how} | {_KINDS[one.kind]} |" for one in CONTENDERS]
    return "\n".join(lines) + "\n"


def render(result: Mapping[str, Any]) -> str:
    rows = rows_of(result)
    stray = stray_of(rows)
    works = dict.fromkeys(row.work for row in rows)
    tables = [_table(work, [row for row in rows if row.work == work]) for work in works]
    parts = [_about(result), _goals(rows, stray), *tables]
    if result["not_run"]:
        lines = [f"- {what}: {why}" for what, why in sorted(result["not_run"].items())]
        parts.append("### Not run\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _about(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    postgres = machine.get("postgres", {})
    settings = ", ".join(f"{k} {v}" for k, v in postgres.items() if k != "version")
    busy = float(machine["load_before"].split()[0]) > _BUSY * machine["cores"]
    made_on = (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']} GB, Linux"
        f" {machine['kernel']}, Python {machine['python']}."
    )
    load = (
        f"Load before: {machine['load_before']}; after: {machine['load_after']} (1, 5, 15 minutes)."
    )
    lines = [
        f"Commit `{machine['commit']}`, {machine['date']}, size *{result['size']}*.",
        f"Command: {_commands(machine['command'])}.",
        made_on,
        f"PostgreSQL {postgres['version']}: {settings}." if postgres else "",
        f"{versions}.",
        load,
        "**The machine was busy with other work: read ratios only.**" if busy else "",
    ]
    lines = [line for line in lines if line]
    return "\n".join(lines) + "\n"


def _commands(said: str) -> str:
    """Without where the result went: that is nobody else's place."""
    return ", ".join(f"`{re.sub(' --json [^ ;]+', '', one)}`" for one in said.split("; "))


def _goals(rows: list[Row], stray: float) -> str:
    works = {row.work for row in rows}
    lines = [
        "### Goals",
        "",
        f"Noise of this run: {100 * stray:.0f} %; nine in ten floors strayed no further from themselves.",
        "",
        "| work | what | goal | measured | verdict |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {goal.work} | {goal.what} | {goal.bound_text()} |"
        f" {measured_text(goal.measured(rows), goal.unit)} | {goal.verdict(rows, stray)} |"
        for goal in GOALS
        if goal.work in works
    ]
    return "\n".join(lines) + "\n"


def _table(work: str, rows: Iterable[Row]) -> str:
    lines = [
        f"### {work.replace('_', ' ').capitalize()}",
        "",
        "| measure | contender | median | p99 | spread | n | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        p99 = f"{row.p99:.2f}" if row.p99 is not None else ""
        lines.append(
            f"| {row.measure} | {_TITLES.get(row.contender, row.contender)} |"
            f" {_number(row.median)} {row.unit} | {p99} |"
            f" {_number(min(row.values))} to {_number(max(row.values))} | {row.n:,} | {row.note} |"
        )
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"  # noqa: PLR2004  # three digits
