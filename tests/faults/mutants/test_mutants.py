"""Mutants do not rot: each guard is where it was, and its tests are there."""

from __future__ import annotations

from pathlib import Path

import pytest

import reliable_effects
from tests.faults.mutants.catalogue import MUTANTS
from tests.faults.mutants.mutant import Edit, GuardMoved, Mutant

PACKAGE = Path(reliable_effects.__file__).parent
TESTS = Path(__file__).parents[2]


def test_each_mutant_has_a_name_of_its_own():
    """Its name is what the table of proofs says."""
    names = [mutant.name for mutant in MUTANTS]

    assert len(set(names)) == len(names) >= 20


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_still_fits_the_code_and_names_tests_that_exist(mutant):
    """Whoever moves a guard takes its mutant along."""
    changed = mutant.mutated(PACKAGE)

    for file, text in changed.items():
        compile(text, file, "exec")
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert (TESTS / file).is_file(), test
        assert not name or f"def {name}(" in (TESTS / file).read_text(), test


def test_a_guard_that_has_moved_is_named(tmp_path):
    """A mutant that changes nothing would pass for one that is noticed by nobody, or by luck."""
    (tmp_path / "claim.py").write_text("twice, twice")
    lost = Mutant(name="lost", breaks="", edits=(Edit("claim.py", "twice", ""),), tests=())

    with pytest.raises(GuardMoved, match=r"lost: the guard has moved.* 2 times in claim\.py"):
        lost.mutated(tmp_path)
