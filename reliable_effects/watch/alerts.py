"""
The sweep "alerts": ask every rule, remember what was found, and tell it once.

Told when it begins, again each `alert_repeat` while it lasts (so that nobody finds two million rows
after three months), and when it is over. A channel that fails is owed the telling and gets it at a
later turn; it stops neither the others nor the sweep. Two sweeps at once tell once: a guarded
UPDATE decides who. A teller that dies in between tells again: better twice than never.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet

from ..clock import DbNow
from ..conf import settings
from ..outbox.heartbeat import Swept, Turn
from ..outbox.sweeps import add
from . import status
from .channels import CHANNELS, channels_in_use
from .models import Alert
from .rules import Finding, ask, could_not_ask, rules
from .status import ALERTS

logger = logging.getLogger("reliable_effects")

_UNASKED = "rule"  # where a rule raised, and could not say

_OVER_AFTER = timedelta(minutes=5)  # unseen: what comes and goes is one trouble, not thirty
_FORGOTTEN_AFTER = timedelta(days=1)  # where no release asks that rule any more
_TELLING = timedelta(seconds=30)  # longer than all channels may take; then another may tell
_TELL_AT_MOST = 50  # a turn; the rest at the next


def register() -> None:
    """Let the sweeps' timer know of ours."""
    add(ALERTS, lambda: settings().alert_period, evaluate)


def evaluate(using: str, _turn: Turn | None = None) -> Swept:
    """One sweep of *using*: seen are findings, done are alerts told."""
    facts = status.of(using)
    if facts.problem:
        return Swept(truncated=True)  # nothing can be kept there; other databases tell of it
    # First what an earlier turn found, and did not come to tell: a rule may take us along.
    swept = Swept(done=_tell(using, with_lasting=False))
    for name in rules:
        findings = ask(name, facts)
        if findings is None:
            # Nor is what it found before over. What keeps it from being asked is an alert itself.
            _note(using, _UNASKED, Finding(name, could_not_ask(name, using)))
            continue
        swept.seen += len(findings)
        for finding in findings:
            _note(using, name, finding)
        _end(using, Q(rule=name), _OVER_AFTER)
    _end(using, Q(rule=_UNASKED), _OVER_AFTER)
    _end(using, ~Q(rule__in=[*rules, _UNASKED]), _FORGOTTEN_AFTER)
    swept.done += _tell(using)
    return swept


# What is wrong


def _note(using: str, rule: str, finding: Finding) -> None:
    subject = finding.subject[:200]
    rows = Alert.objects.using(using).filter(rule=rule, subject=subject)
    now = {"last_seen_at": DbNow(), "text": finding.text, "level": finding.level}
    if rows.filter(resolved_at=None).update(**now):
        return
    begun = now | {"first_seen_at": DbNow(), "last_told_at": None, "untold": ""}
    if rows.exclude(resolved_at=None).update(resolved_at=None, count=F("count") + 1, **begun):
        return
    try:
        with transaction.atomic(using=using):
            Alert.objects.using(using).create(
                rule=rule, subject=subject, first_seen_at=DbNow(), **now
            )
    except IntegrityError:
        pass  # another sweep was first


def _end(using: str, which: Q, unseen_for: timedelta) -> None:
    # What lies ahead was written before the database's clock was put back.
    unseen = Q(last_seen_at__lt=DbNow() - unseen_for) | Q(last_seen_at__gt=DbNow() + unseen_for)
    Alert.objects.using(using).filter(which, unseen, resolved_at=None).update(
        resolved_at=DbNow(), last_told_at=None, untold=""
    )


# Who has to be told


def _tell(using: str, *, with_lasting: bool = True) -> int:
    """Tell what is to be told now, over every channel that is owed it; how many alerts."""
    alerts = _claim(using, with_lasting=with_lasting)
    left: dict[int, set[str]] = {alert.pk: set(alert.owed) for alert in alerts}
    in_use = channels_in_use()
    for name in sorted({channel for owed in left.values() for channel in owed}):
        of_name = [alert for alert in alerts if name in left[alert.pk]]
        if name in in_use and not _over(name, using, of_name):
            continue
        for owed in left.values():
            owed.discard(name)  # told, or not in use any more
    by_owed: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for pk, owed in left.items():
        by_owed[tuple(sorted(owed))].append(pk)
    for owed_still, pks in by_owed.items():
        Alert.objects.using(using).filter(pk__in=pks).update(untold=",".join(owed_still))
    return len(alerts)


def _claim(using: str, *, with_lasting: bool = True) -> list[Alert]:
    """
    Those that are ours to tell: each by one UPDATE, which a sweep beside us finds done.

    What lasts is told again only where the rules have just been asked whether it does.
    """
    rows = Alert.objects.using(using)
    untold = rows.filter(last_told_at=None)
    lasting = rows.filter(resolved_at=None, last_told_at__lte=DbNow() - settings().alert_repeat)
    if not with_lasting:
        lasting = lasting.none()
    owed = rows.exclude(untold="").filter(last_tried_at__lte=DbNow() - _TELLING)
    every = ",".join(channels_in_use())
    won: list[int] = []
    for due, channels in ((untold, every), (lasting, every), (owed, None)):
        # By the last try: else the first fifty that a channel refuses would starve the others.
        oldest = due.order_by(F("last_tried_at").asc(nulls_first=True), "pk")
        for pk in oldest.values_list("pk", flat=True)[: _TELL_AT_MOST - len(won)]:
            won += [pk] if _is_ours(due.filter(pk=pk), channels) else []
    return list(rows.filter(pk__in=won).order_by("-level", "rule", "subject"))


def _is_ours(due: QuerySet[Alert], channels: str | None) -> bool:
    # To try an owed channel again is no telling: the day until the next one goes on.
    to_all = {} if channels is None else {"untold": channels, "last_told_at": DbNow()}
    return due.update(last_tried_at=DbNow(), **to_all) == 1


def _over(name: str, using: str, alerts: Sequence[Alert]) -> bool:
    try:
        CHANNELS[name](using, alerts)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other channels are there
        logger.warning("the channel %s failed (%s); it is tried again", name, error)
        return False
    return True
