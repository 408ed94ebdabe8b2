"""What a person is asked before an effect is paused or resumed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from ...clock import read_clock
from ...conf import settings
from ...outbox.admin.confirming import WhyForm


class ResumeForm(WhyForm):
    """On which databases; asked only where there are several."""

    field_order: Any = ("database", "why")

    database = forms.ChoiceField(required=False, label="On")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["why"].help_text = "Kept in the history of the effect, with your name."
        known = settings().databases
        if len(known) == 1:
            del self.fields["database"]
        else:
            choices = [("", "all databases"), *((alias, alias) for alias in known)]
            self.fields["database"].choices = choices  # type: ignore[attr-defined]  # a ChoiceField

    @property
    def databases(self) -> tuple[str, ...]:
        chosen = self.cleaned_data.get("database")
        return (chosen,) if chosen else settings().databases


class PauseForm(ResumeForm):
    """And until when."""

    field_order = ("until", "database", "why")

    until = forms.DateTimeField(
        required=False,
        label="Until",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone = timezone.get_current_timezone_name()
        told = f"By the clocks of {zone}. Left empty: until a person resumes it."
        self.fields["until"].help_text = told

    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if until is not None and timezone.is_naive(until):
            return timezone.make_aware(until)  # USE_TZ = False
        return until

    def clean(self) -> None:
        super().clean()
        until = self.cleaned_data.get("until")
        if until is None:
            return
        # The clock that says when it is over is the database's.
        if any(until <= read_clock(using) for using in self.databases):
            self.add_error("until", ValidationError("That is over; give a time to come."))
