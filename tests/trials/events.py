from __future__ import annotations

from reliable_effects import Event

from .models import Reminder, TrialExpiry

trial_expired: Event[TrialExpiry, dict[str, str]] = Event(
    "trials.trial_expired", subject="trials.TrialExpiry"
)
reminded: Event[Reminder, dict[str, str]] = Event("trials.reminded", subject="trials.Reminder")
