"""What is asked of who triages a group of failures."""

from __future__ import annotations

from django import forms

from ...conf import settings
from ...outbox.admin.confirming import WhyForm


class NoteForm(WhyForm):
    """Acknowledge: what is known, for whoever is woken next."""

    why = forms.CharField(
        label="Note",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 70}),
        help_text="What is known, and what is being done. Shown with your name on its page, and kept"
        " in its history.",
    )


class FixForm(WhyForm):
    """Mark as fixed: in which release, as attempts are marked with it."""

    field_order = ("release", "why")

    release = forms.CharField(
        max_length=100,
        initial=lambda: settings().release,
        help_text="As RELIABLE_EFFECTS['RELEASE'] names it. A failure in it, or in one that the group"
        " has never seen, brings the group back.",
    )
