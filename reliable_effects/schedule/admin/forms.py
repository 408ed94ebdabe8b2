"""What a person is asked before a job is changed."""

from __future__ import annotations

from datetime import datetime

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from ...effects.scheduling import When
from ...effects.wall_clock import WallClock
from ...outbox.admin.confirming import WhyForm


class RescheduleForm(WhyForm):
    """To which time, on which wall."""

    field_order = ("wall", "zone", "follow", "why")

    wall = forms.CharField(
        label="To",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 1}),
    )
    zone = forms.CharField(
        label="Time zone", initial=timezone.get_current_timezone_name, max_length=64
    )
    follow = forms.BooleanField(
        label="Follow that clock",
        required=False,
        help_text="If the zone's rules change before the day, the time there stays as it is.",
    )

    def clean_wall(self) -> datetime:
        try:
            wall = datetime.fromisoformat(self.cleaned_data["wall"])
        except ValueError:
            raise ValidationError("Write it like 2027-03-28T02:30.") from None
        if wall.tzinfo is not None:
            raise ValidationError("Leave the offset out: the time zone says it.")
        return wall

    def clean(self) -> None:
        super().clean()
        wall, zone = self.cleaned_data.get("wall"), self.cleaned_data.get("zone")
        if wall is None or zone is None:
            return
        try:
            self.cleaned_data["at"] = WallClock(wall, zone)
        except ValueError as error:
            self.add_error("zone" if "zone=" in str(error) else "wall", str(error))

    @property
    def at(self) -> When:
        chosen: WallClock = self.cleaned_data["at"]
        return chosen if self.cleaned_data["follow"] else chosen.instant()
