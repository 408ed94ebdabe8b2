"""A version and the one before: for whom may read them, and however large they are."""

from __future__ import annotations

import tracemalloc
import zlib
from datetime import timedelta

import pytest

from reliable_effects.models import ReportDownload
from reliable_effects.reports import CSV, File, JSONLines
from reliable_effects.reports.comparing import BYTES, LINES, Change, beginning, changes
from reliable_effects.reports.formats import zipped
from reliable_effects.reports.models import ReportVersion, VersionState
from tests.admin.conftest import log_in  # noqa: F401  # a fixture

from .conftest import asked, built

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.reports.urls"),
]

LIST = "/admin/reliable_effects/report/"


def comparison(row, number: int = 2) -> str:
    return f"{LIST}{row.pk}/compare/{number}/"


def twice(make_report, first: list, second: list, **options):
    """A report that was built of the one, and then of the other."""
    lists = [second, first]
    declared = make_report(lambda: iter(lists.pop()), **options)
    built(declared)
    return built(declared)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", [CSV(), JSONLines()])
def test_what_changed_is_shown_line_by_line(make_report, log_in, form, packed):  # noqa: F811
    row = twice(
        make_report,
        [{"who": "ann"}, {"who": "bob"}, {"who": "cid"}],
        [{"who": "ann"}, {"who": "<b>eve</b>"}, {"who": "cid"}, {"who": "dan"}],
        format=form,
        gzip=packed,
    )

    page = log_in("view_report").get(comparison(row)).content.decode()

    for told in ("bob", "&lt;b&gt;eve", "dan", "+1", "differs", "All lines were compared"):
        assert told in page
    assert "<b>eve" not in page
    assert "ann" not in page


def test_a_comparison_is_asked_for_and_written_down_as_a_download_is(make_report, log_in):  # noqa: F811
    """Lines of it are on the page."""
    may_read: list[str] = []
    row = twice(
        make_report, [{"a": 1}], [{"a": 2}], allowed=lambda user, **_: user.username in may_read
    )
    client = log_in("view_report")

    refused = client.get(comparison(row))
    none = ReportDownload.objects.count()
    may_read.append("user-0")
    shown = client.get(comparison(row))

    assert (refused.status_code, none, shown.status_code) == (404, 0, 200)
    assert sorted(ReportDownload.objects.values_list("user", "number", "how")) == [
        ("user-0", 1, "compare"),
        ("user-0", 2, "compare"),
    ]


def test_who_may_not_see_reports_compares_none(make_report, log_in):  # noqa: F811
    row = twice(make_report, [{"a": 1}], [{"a": 2}])

    assert log_in().get(comparison(row)).status_code == 403


@pytest.mark.parametrize("number", [1, 3])
def test_there_need_to_be_two(make_report, log_in, number):  # noqa: F811
    row = twice(make_report, [{"a": 1}], [{"a": 2}])

    assert log_in("view_report").get(comparison(row, number)).status_code == 404


def test_what_is_no_text_is_compared_by_its_size(make_report, log_in):  # noqa: F811
    texts = [b"longer", b"text"]
    declared = make_report(
        lambda file: file.write(texts.pop()), format=File("pdf", "application/pdf")
    )
    built(declared)
    row = built(declared)

    page = log_in("view_report").get(comparison(row)).content.decode()

    assert "no lines of text" in page
    assert "differs" in page


def test_a_blob_that_is_gone_is_told(make_report, log_in, tmp_path):  # noqa: F811
    row = twice(make_report, [{"a": 1}], [{"a": 2}])
    (tmp_path / row.versions.get(number=1).key).unlink()

    response = log_in("view_report").get(comparison(row))

    assert response.status_code == 200
    assert "holds nothing under" in response.content.decode()


def test_the_reports_page_links_to_each_comparison(make_report, log_in):  # noqa: F811
    row = twice(make_report, [{"a": 1}], [{"a": 2}])

    page = (
        log_in("view_report", "view_reportversion").get(f"{LIST}{row.pk}/change/").content.decode()
    )

    assert comparison(row, 2) in page
    assert comparison(row, 1) not in page


def test_the_reports_page_says_how_far_a_build_is(make_report, log_in):  # noqa: F811
    """Beside how many rows the last one had."""
    declared = make_report(lambda: iter([{"a": 1}] * 4))
    built(declared)
    row = asked(declared)
    client = log_in("view_report")
    waiting = client.get(f"{LIST}{row.pk}/change/").content.decode()
    ReportVersion.objects.create(
        report=row, number=2, key="k", content_type="", extension="", delivery_id=0, rows=3, size=9,
        state=VersionState.BUILDING,
    )  # fmt: skip

    page = client.get(f"{LIST}{row.pk}/change/").content.decode()

    assert "waits for a worker" in waiting
    assert 'max="4" value="3"' in page
    assert "3 rows" in page


# What is read


def test_no_more_is_read_than_is_compared():
    """Of a gigabyte its beginning, however it is packed."""
    read = []

    def chunks():
        for number in range(1000):
            read.append(number)
            yield b"x" * 999 + b"\n"

    found = beginning(chunks(), packed=False)

    assert (len(found.lines), found.is_all) == (LINES, False)
    assert len(read) == LINES + 1


def test_a_line_without_an_end_is_cut():
    found = beginning([b"x" * 300_000] * 10, packed=False)

    assert [len(line) for line in found.lines] == [BYTES]
    assert not found.is_all


def test_a_blob_that_unpacks_to_a_thousand_times_its_size_fills_no_memory():
    bomb = b"".join(zipped([b"\0" * BYTES] * 200))
    tracemalloc.start()

    found = beginning([bomb], packed=True)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not found.is_all
    assert peak < 12 * BYTES


def test_what_is_not_packed_says_so():
    with pytest.raises(zlib.error):
        beginning([b"plain"], packed=True)


@pytest.mark.parametrize(
    ("text", "lines"), [(b"", []), (b"a", ["a"]), (b"a\r\n", ["a"]), (b"a\n\nb\n", ["a", "", "b"])]
)
def test_lines_are_what_ends_with_a_newline(text, lines):
    found = beginning([text] if text else [], packed=False)

    assert (found.lines, found.is_all) == (lines, True)


def test_changes_name_the_line_in_the_version_that_has_it():
    assert changes(["a", "b", "c"], ["a", "x", "y", "c"]) == [
        Change("-", 2, "b"),
        Change("+", 2, "x"),
        Change("+", 3, "y"),
    ]


def test_two_of_other_lines_altogether_are_compared_in_no_time():
    """The worst there is: five hundred that all differ, and long."""
    import time  # noqa: PLC0415

    begun = time.process_time()
    found = changes([f"a{n}" * 400 for n in range(LINES)], [f"b{n}" * 400 for n in range(LINES)])

    assert time.process_time() - begun < timedelta(seconds=2).total_seconds()
    assert all(len(change.text) <= 301 for change in found)
