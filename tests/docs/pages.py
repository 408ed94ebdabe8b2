"""What the documentation's Markdown says: its code blocks and its tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")] if "_build" not in path.parts
)

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """One fenced block, without the indent of the list it may stand in."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    text = page.read_text()
    for found in _FENCE.finditer(text):
        if not languages or found["language"] in languages:
            line = text.count("\n", 0, found.start()) + 1
            yield Block(page, line, found["language"], textwrap.dedent(found["text"]))


def section(page: Path, heading: str) -> range:
    """The lines under *heading* (without its #), up to the next heading."""
    lines = page.read_text().splitlines()
    code = {
        number
        for block in blocks(page)
        for number in range(block.line, block.line + block.text.count("\n") + 2)
    }
    headings = [
        number
        for number, line in enumerate(lines, start=1)
        if re.match(r"#+ ", line) and number not in code
    ]
    (begin,) = (n for n in headings if lines[n - 1].lstrip("#").strip() == heading)
    after = (n for n in headings if n > begin)
    return range(begin + 1, next(after, len(lines) + 1))


def rows(page: Path, heading: str = "") -> list[list[str]]:
    """
    The cells of every table on *page*, or under *heading*, without heads; code marks are taken off.
    """
    lines = page.read_text().splitlines()
    wanted = section(page, heading) if heading else range(1, len(lines) + 1)
    found: list[list[str]] = []
    for number in wanted:
        line = lines[number - 1]
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if all(set(cell) <= set("-: ") for cell in cells) and any(cells):
            found.pop()  # what stood above the rule was the head
        else:
            found.append([cell.strip("`") for cell in cells])
    return found
