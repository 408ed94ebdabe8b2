from __future__ import annotations

from example_project.conformance.events import row_added
from reliable_effects import EffectContext, effect


@effect("conformance.tell", on=row_added)
def tell(row: object, ctx: EffectContext) -> None:
    """Nothing runs it: the cases count what is owed."""
