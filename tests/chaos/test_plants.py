"""The plants fit the code, and there is one for each kind of wrong. `make chaos PLANT=all` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.checker import Kind
from tests.chaos.plants import PLANTS, Plant, copy_of_the_code


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_code(tmp_path_factory.mktemp("plants") / "tree")


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_plant_fits_the_code(plant: Plant, tree: Path):
    """Else the run would judge the code as it is, and call its own eyes bad."""
    files = {edit.file for edit in plant.edits}
    before = {file: (tree / "reliable_effects" / file).read_text() for file in files}
    plant.put_into(tree)

    for file, text in before.items():
        path = tree / "reliable_effects" / file
        compile(path.read_text(), file, "exec")
        assert path.read_text() != text
        path.write_text(text)


def test_each_kind_of_wrong_is_planted():
    assert {plant.expected for plant in PLANTS} == set(Kind)
    assert len({plant.name for plant in PLANTS}) == len(PLANTS) >= 20
