"""Every snippet in the documentation is Python that could be pasted."""

from __future__ import annotations

import ast

import pytest

from .pages import PAGES, blocks

SNIPPETS = [block for page in PAGES for block in blocks(page, "python")]


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_a_snippet_compiles(block):
    """A missing bracket costs each reader a minute."""
    ast.parse(block.text, filename=str(block))


def test_there_are_snippets():
    """A pattern that finds nothing would find no mistake either."""
    assert len(SNIPPETS) > 10
