"""What comes late does not overwrite what is newer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import transaction

from reliable_effects.exceptions import MessageTooEarly
from reliable_effects.inbox import consume_once, only_newer
from reliable_effects.inbox.models import InboxMessage
from tests.shop.models import Parcel

pytestmark = pytest.mark.django_db


@pytest.fixture
def parcel() -> Parcel:
    return Parcel.objects.create()


def tell(parcel: Parcel, version, status="", **options) -> bool:
    rows = Parcel.objects.filter(pk=parcel.pk)
    found = only_newer(rows, version=version, field="told_version", status=status, **options)
    parcel.refresh_from_db()
    return found


def test_the_newest_stays_in_whatever_order_they_come(parcel):
    found = [tell(parcel, version, f"s{version}") for version in (2, 1, 3, 3, 2)]

    assert found == [True, False, True, False, False]
    assert (parcel.status, parcel.told_version) == ("s3", 3)


def test_the_first_may_be_any(parcel):
    """A row that was told nothing holds no version."""
    assert parcel.told_version is None
    assert tell(parcel, 0)
    assert parcel.told_version == 0


def test_where_every_step_is_needed_none_is_left_out(parcel):
    assert tell(parcel, 1, exactly_next=True)
    with pytest.raises(MessageTooEarly) as early:
        tell(parcel, 3, exactly_next=True)
    assert tell(parcel, 2, exactly_next=True)
    assert tell(parcel, 3, exactly_next=True)
    assert not tell(parcel, 2, exactly_next=True)

    assert (early.value.version, early.value.expected) == (3, 2)


def test_the_first_step_is_the_first(parcel):
    with pytest.raises(MessageTooEarly):
        tell(parcel, 2, exactly_next=True)

    assert parcel.told_version is None


def test_what_came_too_early_is_handled_when_it_comes_again(parcel):
    """The claim is rolled back with it, so its next delivery is no duplicate."""

    @consume_once("parcels")
    def on_parcel(message_id, payload):
        return tell(parcel, payload, exactly_next=True)

    with pytest.raises(MessageTooEarly):
        on_parcel("evt_2", 2)
    assert not InboxMessage.objects.exists()

    assert on_parcel("evt_1", 1)
    assert on_parcel("evt_2", 2)


@pytest.mark.parametrize("exactly_next", [True, False])
def test_a_row_that_is_not_there_is_not_stale(exactly_next):
    """A message may overtake the commit of its own row: dropped, it would be lost."""
    with pytest.raises(Parcel.DoesNotExist, match=r"shop\.Parcel"):
        only_newer(
            Parcel.objects.filter(pk=0),
            version=1,
            field="told_version",
            exactly_next=exactly_next,
        )


@pytest.mark.parametrize("version", [datetime(2026, 1, 1, tzinfo=UTC), "7", 7.0, True, None])
def test_a_version_is_a_number_that_somebody_counts(parcel, version):
    """Two clocks differ, and one goes back."""
    with pytest.raises(TypeError, match="whole number"):
        tell(parcel, version)


def test_it_is_one_statement(parcel, django_assert_num_queries):
    """Nothing is read, decided and then written."""
    rows = Parcel.objects.filter(pk=parcel.pk)

    with django_assert_num_queries(1):
        only_newer(rows, version=1, field="told_version")


def test_it_needs_no_transaction_and_minds_none(parcel):
    with transaction.atomic():
        assert tell(parcel, 1)
    assert not tell(parcel, 1)
