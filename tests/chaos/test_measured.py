"""The documents tell the figures that were measured, and no others."""

from __future__ import annotations

from tests.chaos import faults
from tests.chaos.measured import _KINDS, figures, table
from tests.chaos.plants import PLANTS
from tests.docs.pages import DOCS, ROOT, rows

PAGE = DOCS / "explanation" / "chaos.md"


def test_the_page_tells_the_figures_of_the_long_run():
    assert [tuple(row) for row in rows(PAGE, "What a long run saw")] == table()


def test_each_fault_is_counted_once():
    """Else the table would show more blows than there were, or fewer."""
    counted = [name for names in _KINDS.values() for name in names]

    assert sorted(counted) == sorted(faults.all_names())


def test_the_readme_tells_the_same():
    told = figures()
    readme = (ROOT / "README.md").read_text()

    assert f"{told['done']:,} effects" in readme
    assert f"{sum(told['faults'].values())} blows" in readme
    assert f"`{told['commit']}`" in readme


def test_the_page_lists_every_plant_with_what_catches_it():
    listed = [(name, caught) for name, caught, *_ in rows(PAGE, "Who judges the judge")]

    assert listed == [(plant.name, str(plant.expected)) for plant in PLANTS]
