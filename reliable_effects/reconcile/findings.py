"""What a row that is owed is found to be."""

from __future__ import annotations

from django.db.models import TextChoices


class Finding(TextChoices):
    """One word for each, in the order in which a person wants to read them."""

    UNACCOUNTED = "unaccounted", "nobody has promised it: its delivery is missing"
    ORPHANED = "orphaned", "its delivery is there, and its event is lost"
    CONTRADICTION = "contradiction", "its delivery succeeded, and it is still owed"
    OWED_AGAIN = "owed again", "skipped as not needed, and owed again"
    POISONED = "poisoned", "set aside for a person"
    UNCERTAIN = "uncertain", "nobody knows yet whether it happened"
    CANCELLED = "cancelled", "a person gave it up"
    SKIPPED = "skipped", "its effect, or its expiry, skipped it"
    WAITING = "waiting", "promised, and waits for a worker or its next try"
    UNDER_WAY = "under way", "a worker is running it"
    DONE_LATE = "done late", "done while we looked"
    UNREADABLE = "unreadable", "debt= or payload= failed for it"


PAST_THE_GRACE = {
    # The column of Coverage that counts it as it stands; what is absent stands nowhere.
    Finding.UNACCOUNTED: "waiting",  # from now on
    Finding.ORPHANED: "waiting",
    Finding.OWED_AGAIN: "waiting",
    Finding.WAITING: "waiting",
    Finding.UNDER_WAY: "waiting",
    Finding.UNREADABLE: "waiting",
    Finding.POISONED: "poisoned",
    Finding.UNCERTAIN: "uncertain",
    Finding.CANCELLED: "given_up",
    Finding.SKIPPED: "given_up",
    Finding.CONTRADICTION: "contradicted",
}
