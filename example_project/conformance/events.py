from __future__ import annotations

from reliable_effects import Event

row_added: Event = Event("conformance.row_added", subject="conformance.Row")
