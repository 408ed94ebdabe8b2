"""The groups that docs/reference/permissions.md advises: whoever follows it can do what tests do."""

from __future__ import annotations

import re

from tests.docs.pages import DOCS, rows


def group(name: str) -> frozenset[str]:
    """The permissions of *name*, those of the group that it builds on included."""
    told = {row[0]: row[2] for row in rows(DOCS / "reference" / "permissions.md", "Groups")}
    own = frozenset(re.findall(r"\w+_\w+", told[name]))
    builds_on = re.match(r"(\w+)'s", told[name])
    return own | group(builds_on[1]) if builds_on else own
