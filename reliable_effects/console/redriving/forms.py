"""What a person says when a redrive of many begins, is paused, goes on or is given up."""

from __future__ import annotations

from typing import Any

from django import forms

from ...conf import FASTEST_REDRIVE, settings
from ...outbox.admin.confirming import WhyForm


class RampForm(WhyForm):
    """Why, and how fast."""

    field_order = ("why", "rate", "canary", "halt_percent")

    rate = forms.IntegerField(
        label="Rate",
        min_value=1,
        max_value=FASTEST_REDRIVE,
        help_text="Deliveries released in a minute, at most.",
    )
    canary = forms.IntegerField(
        label="Canary",
        min_value=1,
        max_value=FASTEST_REDRIVE,
        help_text="So many are released first, and have to end before others follow.",
    )
    halt_percent = forms.IntegerField(
        label="Halt at",
        min_value=1,
        max_value=100,
        help_text="Percent of those that ended last; when so many fail, it halts by itself.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        known = settings()
        kwargs["initial"] = {
            "rate": known.redrive_rate,
            "canary": min(known.redrive_canary, known.redrive_rate),
            "halt_percent": known.redrive_halt_percent,
            **kwargs.get("initial", {}),
        }
        super().__init__(*args, **kwargs)
        self.fields["why"].help_text = "Kept with the operation, with your name."

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or {}
        if said.get("canary", 0) > said.get("rate", FASTEST_REDRIVE):
            self.add_error("canary", "The canary is at most the rate.")
        return said

    @property
    def said_rate(self) -> int:
        """What the page reckons with."""
        if self.is_bound and self.is_valid():
            return int(self.cleaned_data["rate"])
        return int(self.initial["rate"])


class StepForm(forms.Form):
    why = forms.CharField(label="Reason", max_length=500)
