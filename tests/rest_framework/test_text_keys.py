"""Keys that are texts differ in case: `aB3` and `Ab3` may be two customers' documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from reliable_effects.outbox.models import OutboxEvent
from reliable_effects.rest_framework import subjects

from .conftest import event_about

pytestmark = pytest.mark.django_db(transaction=True)  # it makes a table
EXACT = {"db_collation": "utf8mb4_bin"} if connection.vendor == "mysql" else {}


@pytest.fixture
def paper() -> Iterator[Any]:
    with isolate_apps("tests.shop"):

        class Paper(models.Model):
            id = models.CharField(primary_key=True, max_length=20, **EXACT)
            owner = models.CharField(max_length=20)

            class Meta:
                app_label = "shop"

    with connection.schema_editor() as editor:
        editor.create_model(Paper)
    yield Paper
    with connection.schema_editor() as editor:
        editor.delete_model(Paper)


@pytest.mark.parametrize("few", [1000, 0])
def test_a_list_tells_keys_apart_that_differ_in_case_only(paper, few, monkeypatch):
    """Where the rows are named one by one, and where there are too many to name."""
    monkeypatch.setattr(subjects, "_FEW", few)
    for pk, owner in [("aB3", "ada"), ("Ab3", "bob"), ("AB3", "bob")]:
        event_about(paper.objects.create(pk=pk, owner=owner))

    found = subjects.about(OutboxEvent.objects.all(), paper.objects.filter(owner="ada"))

    assert list(found.values_list("subject_pk", flat=True)) == ["aB3"]
