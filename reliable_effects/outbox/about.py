"""
What is about one row: its deliveries, newest first, through the index of (subject, name).

Two queries, bounded both. Keys are compared byte by byte, since some collations take "aB3" for
"Ab3", which is somebody else's.
"""

from __future__ import annotations

from django.db import router
from django.db.models import Model, Q

from ..conf import settings
from ..effects.labels import names_of_subject
from .models import Delivery, DeliveryQuerySet, OutboxEvent

_EVENTS = 1000  # of one subject, the newest


def deliveries_about(subject: Model) -> DeliveryQuerySet:
    """
    Those of the newest events about *subject*, newest first, on the database that it lives on.

    None for a subject that has not been saved.
    """
    using = database_of(subject)
    rows = Delivery.objects.using(using)
    if subject.pk is None:
        return rows.none()
    names = names_of_subject(subject)
    wanted = Q()
    for label, pk in names:
        wanted |= Q(subject_model=label, subject_pk=pk)
    events = OutboxEvent.objects.using(using).filter(wanted).order_by("-pk")
    found = events.values_list("pk", "subject_model", "subject_pk")[:_EVENTS]
    # By ids: with a join the newest of all deliveries might be walked to find those of a few.
    ids = [pk for pk, *name in found if tuple(name) in names]
    return rows.filter(event_id__in=ids).order_by("-pk")


def database_of(subject: Model) -> str:
    """Where events about it are: what was just written may not have reached a replica."""
    written = router.db_for_write(type(subject), instance=subject)
    return written if written in settings().databases else router.db_for_write(Delivery)
