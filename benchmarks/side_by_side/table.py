"""The tables of `docs/benchmarks.md`, from the JSON of a run: nobody writes a figure by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .contenders import CONTENDERS
from .figures import Row
from .goals import GOALS, measured_text, stray_of

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_TITLES = {one.name: one.title for one in CONTENDERS} | {"floor": "the floor against itself"}
_BUSY = 1.0  # load of other things, for each core: above that a run says little


def rows_of(result: Mapping[str, Any]) -> list[Row]:
    """The rows of a run as it was written down."""
    return [Row(**{k: v for k, v in row.items() if k != "median"}) for row in result["rows"]]


def write(page: Path, result: Mapping[str, Any]) -> None:
    """
    Put the tables between the page's marks.

    Raises:
        ValueError: the page has no marks.
    """
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{page} has no {BEGIN} and {END}; put them where the tables belong.")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{render(result)}\n{END}{after}")


def render(result: Mapping[str, Any]) -> str:
    rows = rows_of(result)
    stray = stray_of(rows)
    parts = [_about(result), _goals(rows, stray)]
    for work in dict.fromkeys(row.work for row in rows):
        parts.append(_table(work, [row for row in rows if row.work == work]))
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
    lines = [
        f"Commit `{machine['commit']}`, {machine['date']}, size *{result['size']}*.",
        f"Command: `{machine['command']}`.",
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']} GB, Linux"
        f" {machine['kernel']}, Python {machine['python']}.",
        f"PostgreSQL {postgres.get('version', '–')}: {settings}.",  # noqa: RUF001
        f"{versions}.",
        f"Load before: {machine['load_before']}; after: {machine['load_after']} (1, 5, 15 minutes)."
        + (" **The machine was busy with other work: read ratios only.**" if busy else ""),
    ]
    return "\n".join(lines) + "\n"


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
    for goal in GOALS:
        if goal.work in works:
            lines.append(
                f"| {goal.work} | {goal.what} | {goal.bound_text()} |"
                f" {measured_text(goal.measured(rows), goal.unit)} | {goal.verdict(rows, stray)} |"
            )
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
