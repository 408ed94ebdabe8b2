"""Builds are deliveries; what is served is whole, whoever dies when."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import date, timedelta
from decimal import Decimal
from threading import Barrier, Thread

import pytest
from django.db import connection, transaction
from django.db.models import ProtectedError

from reliable_effects import Poison
from reliable_effects.clock import DbNow, moved
from reliable_effects.exceptions import BadPayload, DeclaredTwice, LeaseLost
from reliable_effects.outbox import remedy
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import State
from reliable_effects.reports import CSV, File, JSONLines, ask, report
from reliable_effects.reports.asking import Standing, last_build
from reliable_effects.reports.models import Report, ReportVersion, VersionState
from reliable_effects.reports.sweeps import PREBUILD, TIDY
from reliable_effects.testing import run_effects

from .conftest import asked, built, delivery_of, swept, usage_rows

pytestmark = pytest.mark.django_db(transaction=True)


def text_of(files, row: Report) -> bytes:
    return b"".join(files.open_range(row.current.key))


def test_what_was_asked_for_is_built_and_served(files, usage):
    """Blob first, then the pointer."""
    row = built(usage, customer=3)

    assert text_of(files, row) == (b"customer,day,used\r\n3,2026-01-01,7\r\n3,2026-01-01,35\r\n")
    assert (row.current_number, row.current.state, row.current.rows) == (1, VersionState.READY, 2)
    assert row.current.size == len(text_of(files, row))


def test_parameters_that_mean_the_same_are_one_report(usage):
    """Whatever their order, and with the default said or not."""
    one = usage.row({"customer": 3, "day": date(2026, 1, 1)})

    assert usage.row({"day": date(2026, 1, 1), "customer": 3}).pk == one.pk
    assert usage.row({"customer": 3}).pk == one.pk
    assert usage.row({"customer": 4}).pk != one.pk


@pytest.mark.parametrize("bad", [{"customer": "3"}, {"customer": True}, {"customer": None}])
def test_a_parameter_of_another_type_is_refused(usage, bad):
    """ "3" and 3 would be two reports."""
    with pytest.raises(BadPayload):
        usage.row(bad)


@pytest.mark.parametrize("bad", [{}, {"customer": 3, "week": 4}])
def test_a_parameter_too_few_or_too_many_is_refused(usage, bad):
    """A name that was mistyped would be the default's report."""
    with pytest.raises(TypeError):
        usage.row(bad)


def test_a_key_holds_no_text_of_a_user(make_report):
    """What they typed is in the parameters."""

    def greeting(name: str):
        yield {"name": name}

    hostile = '../../etc/passwd\0%2e%2e/"\r\n' + "ü" * 1024
    row = built(make_report(greeting), name=hostile.replace("\0", ""))

    assert row.current.key.isascii()
    assert "passwd" not in row.current.key
    assert ".." not in row.current.key


def test_only_one_of_many_who_ask_at_once_is_heard(usage):
    """Two requests that both saw nothing."""
    row = usage.row({"customer": 3})
    also = usage.row({"customer": 3})

    assert [ask(usage, row), ask(usage, also)] == [True, False]
    assert Delivery.objects.count() == 1


@pytest.mark.fault("four ask for one report at once", rows="S4")
@pytest.mark.skipif(connection.vendor == "sqlite", reason="writers wait for each other anyway")
def test_asking_races_with_asking(usage):
    """Two connections, at the same moment."""
    usage.row({"customer": 3})
    together, won = Barrier(4), []

    def race():
        try:
            row = usage.row({"customer": 3})
            together.wait(10)
            won.append(ask(usage, row))
        finally:
            connection.close()

    threads = [Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(won) == [False, False, False, True]
    assert Delivery.objects.count() == 1


def test_nothing_is_asked_for_while_a_build_is_under_way(usage):
    """One at a time for one report and its parameters; others have their own."""
    row = asked(usage, customer=3)

    assert not ask(usage, row, anyway=True)
    assert ask(usage, usage.row({"customer": 4}))


def test_what_was_rolled_back_was_not_asked_for(usage):
    """The count and the delivery share one fate."""
    row = usage.row({"customer": 3})
    with transaction.atomic():
        assert ask(usage, row)
        transaction.set_rollback(True)

    assert not Delivery.objects.exists()
    assert ask(usage, usage.row({"customer": 3}))


def test_a_failed_build_is_tried_again_and_leaves_the_last_good_one(files, make_report):
    """What is served stays."""
    broken = []

    def rows():
        yield {"a": 1}
        if broken:
            raise ValueError(broken.pop())

    declared = make_report(rows)
    first = built(declared).current
    broken += ["twice", "once"]

    asked(declared)
    runs = run_effects(until=timedelta(minutes=5), record=True)
    row = declared.row({})

    assert [str(run.exception) for run in runs] == ["once", "twice", "None"]
    assert row.current_number == 2
    assert text_of(files, row) == b"a\r\n1\r\n"
    assert ReportVersion.objects.get(pk=first.pk).state == VersionState.READY
    assert ReportVersion.objects.filter(state=VersionState.DOOMED).count() == 2


def test_what_was_given_up_rests_longer_each_time(make_report):
    """Negative caching: an expensive failure is not repeated at each request."""

    def rows():
        raise Poison("no such table")
        yield

    declared = make_report(rows)
    row = asked(declared)
    run_effects(record=True)
    row = declared.row({})

    assert last_build(row).standing is Standing.FAILED
    assert not ask(declared, row)
    with moved(timedelta(minutes=6)):
        assert ask(declared, declared.row({}))
        run_effects(record=True)
        assert not ask(declared, declared.row({}))
    with moved(timedelta(minutes=12)):
        assert not ask(declared, declared.row({}))
        assert ask(declared, declared.row({}), anyway=True)  # a person does not wait


def test_a_poisoned_build_that_is_redriven_goes_on(make_report):
    """The same delivery, and the version is served."""
    broken = [Poison("once")]

    def rows():
        yield {"a": 1}
        if broken:
            raise broken.pop()

    declared = make_report(rows)
    row = asked(declared)
    run_effects(record=True)
    assert delivery_of(row).state == State.POISONED

    remedy.redrive(Delivery.objects.filter(key=row.build_key), by="ops", why="mended")
    run_effects()

    assert declared.row({}).current_number == 1


def test_a_redriven_build_gives_way_to_a_newer_one(make_report):
    """A person redrives what was long overtaken."""
    broken = [Poison("once")]

    def rows():
        yield {"a": 1}
        if broken:
            raise broken.pop()

    declared = make_report(rows)
    old = asked(declared)
    run_effects(record=True)
    assert ask(declared, declared.row({}), anyway=True)
    run_effects()

    remedy.redrive(Delivery.objects.filter(key=old.build_key), by="ops", why="late")
    run_effects()

    assert delivery_of(old).state == State.SKIPPED
    assert declared.row({}).current_number == 2


@pytest.mark.fault("two workers build one report", rows="S4")
def test_a_build_whose_lease_was_lost_is_not_served(files, make_report):
    """A zombie comes back with its blob, and another has built meanwhile."""
    declared, other = None, []

    def rows():
        yield {"a": len(other)}
        if not other:
            other.append(1)
            lose_the_lease()

    def lose_the_lease():
        Delivery.objects.update(lease_expires_at=DbNow() - timedelta(hours=1))
        rescue("default", Turn(since_last=None))

    declared = make_report(rows)
    row = asked(declared)
    (run,) = run_effects(record=True)[:1]
    row = declared.row({})

    assert isinstance(run.exception, LeaseLost) or run.state in (State.PENDING, State.SUCCEEDED)
    run_effects(until=timedelta(minutes=5), record=True)
    row = declared.row({})
    assert text_of(files, row) == b"a\r\n1\r\n"
    assert ReportVersion.objects.filter(state=VersionState.READY).count() == 1


def test_a_crash_leaves_an_orphan_and_never_a_broken_pointer(files, usage, tmp_path):
    """Between blob and pointer: the row names what was left, and the sweep deletes it, one day."""
    row = built(usage, customer=3)
    served = row.current
    key = served.key.replace(".csv", "x.csv")
    files.put(key, [b"whole, and nobody's"], content_type="text/csv")
    orphan = ReportVersion.objects.create(
        report=row, number=2, key=key, content_type="text/csv", extension="csv", delivery_id=0
    )

    swept(TIDY)
    assert b"".join(files.open_range(key))  # younger than the longest build
    with moved(timedelta(days=1, minutes=1)):
        swept(TIDY)
        assert b"".join(files.open_range(key))  # marked; who reads it may go on
        orphan.refresh_from_db()
        assert orphan.state == VersionState.DOOMED
        with moved(timedelta(hours=1, minutes=1)):
            swept(TIDY)

    assert not ReportVersion.objects.filter(pk=orphan.pk).exists()
    assert [path.name for path in tmp_path.rglob("*.csv")] == [served.key.rpartition("/")[2]]
    assert text_of(files, usage.row({"customer": 3}))


def test_what_is_served_cannot_be_deleted(usage):
    """The database holds the pointer."""
    row = built(usage, customer=3)

    with pytest.raises(ProtectedError):
        row.current.delete()


def test_versions_beyond_keep_are_deleted_when_their_readers_are_done(files, make_report, tmp_path):
    """First the mark, then the blob, then the row."""
    declared = make_report(usage_rows, keep=2)
    for _ in range(4):
        row = built(declared, customer=3)

    swept(TIDY)
    assert len(list(tmp_path.rglob("*.csv"))) == 4
    with moved(timedelta(hours=1, minutes=1)):
        swept(TIDY)

    assert len(list(tmp_path.rglob("*.csv"))) == 2
    assert sorted(row.versions.values_list("number", flat=True)) == [3, 4]
    assert text_of(files, row)


def test_a_blob_that_cannot_be_deleted_keeps_no_other(make_report, tmp_path):
    """It goes to the end of the line, and its row stays."""
    declared = make_report(usage_rows, keep=1)
    for _ in range(3):
        row = built(declared, customer=3)
    bad = row.versions.get(number=1)
    (tmp_path / bad.key).unlink()
    (tmp_path / bad.key).mkdir()  # no file: unlink fails

    with moved(timedelta(hours=1, minutes=1)):
        swept(TIDY)

    assert sorted(row.versions.values_list("number", flat=True)) == [1, 3]


def test_a_published_build_whose_completion_was_lost_is_not_built_again(usage):
    """The worker died between the pointer and its delivery's end."""
    row = built(usage, customer=3)
    Delivery.objects.update(state=State.PENDING, look_at=DbNow(), finished_at=None)

    run_effects()

    assert delivery_of(row).state == State.SUCCEEDED
    assert row.versions.count() == 1


def test_parameters_that_fit_no_more_are_set_aside(make_report):
    """The signature changed while a build was waiting; no retry would help."""
    declared = make_report(usage_rows, name="test.changing")
    row = asked(declared, customer=3)
    Report.objects.update(parameters={"client": 3})

    run_effects(record=True)

    assert delivery_of(row).state == State.POISONED
    assert "client" in Attempt.objects.get().message


# On schedule


def test_what_is_due_is_built_ahead_of_time(make_report):
    """For each of what prebuild= yields; and again when its time has come, not before."""
    declared = make_report(
        usage_rows,
        every=timedelta(days=1),
        prebuild=lambda: ({"customer": n} for n in range(3)),
    )

    for _ in range(2):
        swept(PREBUILD)
        run_effects()
    assert Report.objects.filter(current_number=1).count() == 3
    with moved(timedelta(days=1, minutes=1)):
        swept(PREBUILD)
        run_effects()

    assert Report.objects.filter(current_number=2).count() == 3
    assert declared.row({"customer": 2}).current_number == 2


def test_a_build_that_was_lost_with_its_delivery_is_asked_for_again(make_report):
    """A truncated table: the report's own row says what is missing."""
    declared = make_report(usage_rows, every=timedelta(days=1), prebuild=lambda: [{"customer": 1}])
    swept(PREBUILD)
    Delivery.objects.all().delete()

    swept(PREBUILD)
    run_effects()

    assert declared.row({"customer": 1}).current_number == 2


def test_one_prebuild_that_fails_keeps_no_other(make_report):
    """It is the project's code."""

    def failing():
        raise ValueError("no database")

    make_report(usage_rows, every=timedelta(days=1), prebuild=failing)
    make_report(usage_rows, every=timedelta(days=1), prebuild=lambda: [{"customer": 1}])

    swept(PREBUILD)

    assert Delivery.objects.count() == 1


def test_every_needs_to_know_its_parameters(make_report):
    """Else it would build nothing, silently."""
    with pytest.raises(ValueError, match="prebuild="):
        make_report(usage_rows, every=timedelta(days=1))


def test_one_name_is_one_report(make_report):
    """Rows are found by it."""

    def others(customer: int):
        yield {"customer": customer}

    make_report(usage_rows, name="test.twice")

    with pytest.raises(DeclaredTwice):
        report("test.twice", allowed=lambda _user: True, fresh_for=timedelta(1))(others)


# Formats


def test_text_that_would_be_a_formula_is_text(files, make_report):
    """`=HYPERLINK(…)` in a customer's name runs on the desk of who opens the report."""
    hostile = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "plain", "a=b"]

    def rows():
        for text in hostile:
            yield (text, -5, Decimal("-1.5"))

    row = built(make_report(rows, format=CSV(columns=("=head", "b", "c"))))
    lines = list(csv.reader(io.StringIO(text_of(files, row).decode(), newline="")))

    assert [line[0] for line in lines] == [
        "'=head", *(f"'{text}" for text in hostile[:6]), "plain", "a=b",
    ]  # fmt: skip
    assert lines[1][1:] == ["-5", "-1.5"]


def test_rows_may_be_json_lines_and_packed(files, make_report):
    """With no time in the gzip: the same rows are the same bytes."""

    def rows():
        yield {"day": date(2026, 1, 1), "sum": Decimal("1.10")}

    declared = make_report(rows, format=JSONLines(), gzip=True)
    one, two = built(declared).current, built(declared).current

    assert json.loads(gzip.decompress(text_of(files, declared.row({})))) == {
        "day": "2026-01-01",
        "sum": "1.10",
    }
    assert one.key.endswith(".jsonl.gz")
    assert one.sha256 == two.sha256
    assert one.pk != two.pk


def test_a_function_may_write_a_file(files, make_report):
    """A zip needs to seek; a text wrapper closes what it is around."""

    def write(file, name: str):
        with io.TextIOWrapper(file, encoding="utf-8") as text:
            text.write(f"hello {name}")
            text.seek(0)
            text.write("J")

    row = built(make_report(write, format=File("txt", "text/plain")), name="you")

    assert text_of(files, row) == b"Jello you"
    assert row.current.content_type == "text/plain"


def test_how_far_a_build_is_can_be_seen(make_report, monkeypatch):
    """And each note is a heartbeat."""
    seen = []

    def rows():
        for number in range(3):
            yield {"n": number}
            seen.append(
                (
                    ReportVersion.objects.values_list("rows", flat=True).get(),
                    Delivery.objects.values_list("lease_expires_at", flat=True).get(),
                )
            )

    monkeypatch.setattr("reliable_effects.reports.build._PULSE", 0.0)
    built(make_report(rows))

    assert [rows for rows, _ in seen] == [1, 2, 3]
    assert len({lease for _, lease in seen}) == 3
