"""
The store fails while a report is built: what the row says then, what the customer gets, who tidies.

Each fault meets the second build of a report whose first is served. The network is a proxy's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from reliable_effects import Backoff
from reliable_effects.outbox.models import Attempt
from reliable_effects.outbox.states import State
from reliable_effects.reports import ask
from reliable_effects.reports.models import Report, ReportVersion, VersionState
from reliable_effects.reports.stores import Stored, Verified
from reliable_effects.reports.stores import store as the_store
from reliable_effects.testing import run_effects
from tests.services import Proxy
from tests.services.proxy import Mode

from .bucket import BUCKET
from .conftest import IS_REAL, asked, built, delivery_of, tidied
from .garbler import Garbler

pytestmark = pytest.mark.django_db(transaction=True)

FEW, ROWS, TEXT = 10, 18_000, "GOOD-MARK" + "x" * 1000  # eighteen megabytes: three parts
MIDWAY = 15_000  # before the upload in parts is begun: that needs more than one
PAUSE = timedelta(minutes=1)
BETWEEN = 17_000  # the first part is there


@pytest.fixture
def network(bucket, settings) -> Iterator[Proxy]:
    """Between the project's store and its server."""
    with Proxy(bucket.port) as proxy:
        use(settings, bucket, proxy.port)
        yield proxy


def use(settings, bucket, port: int, **options) -> None:
    options = {"tries": 1, "connect_timeout": 1, "read_timeout": 5, **options}
    settings.RELIABLE_EFFECTS = {
        **settings.RELIABLE_EFFECTS,
        "REPORT_STORE": {
            "BACKEND": "reliable_effects.reports.s3_store.S3ReportStore",
            "OPTIONS": bucket.options(port, **options),
        },
    }


@pytest.fixture
def strike() -> dict:
    """What is called, once, at which row of a build."""
    return {}


@pytest.fixture
def large(make_report, strike):
    def rows():
        for number in range(ROWS if Report.objects.filter(asked=2).exists() else FEW):
            strike.pop(number, int)()
            yield (number, TEXT)

    # Longer than the test: one run of the delivery, and the next when the fault is over.
    return make_report(rows, keep=1, backoff=Backoff(first=PAUSE, longest=PAUSE))


def served(row) -> int:
    """How many lines a customer reads of what is served, and that each of its bytes is whole."""
    version = row.current
    opened = the_store().open_range(version.key)
    whole = Verified(version.key, opened, Stored(version.size, version.sha256))
    return b"".join(whole).count(b"\r\n")


def fails_as(row, *, told: str) -> None:
    """The second build has failed once: it will be tried again, and says why; the first is served."""
    (run,) = run_effects(record=True)
    row.refresh_from_db()
    attempt = Attempt.objects.get()

    assert run.exception is not None
    assert delivery_of(row).state == State.PENDING
    assert attempt.outcome == Attempt.Outcome.FAILED
    assert told in f"{attempt.exception_type}: {attempt.message}"
    assert (row.current_number, row.asked) == (1, 2)
    assert ReportVersion.objects.get(number=2).state == VersionState.DOOMED


def ends_well(declared, row, bucket) -> None:
    """A retry builds it; what the failure left is gone after the grace."""
    run_effects(until=timedelta(minutes=5))
    row = declared.row({})

    assert delivery_of(row).state == State.SUCCEEDED
    assert (row.current_number, served(row)) == (2, ROWS)
    tidied(timedelta(hours=1, minutes=10))
    ours = [key for key in bucket.objects() if row.identity in key]
    assert ours == [f"tests/{row.current.key}"]
    assert not [key for key in bucket.uploads() if row.identity in key]
    assert list(row.versions.all()) == [row.current]


def built_and_asked_again(declared):
    row = built(declared)
    assert served(row) == FEW
    return asked(declared)


@pytest.mark.fault("the store of reports is away", rows="S1")
@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.CUT])
def test_a_store_that_is_away(large, network, bucket, mode):
    row = built_and_asked_again(large)
    network.mode = Mode.CUT  # connections that are kept open end, too
    network.mode = mode
    fails_as(row, told="Connection")
    network.mode = Mode.OK

    assert served(row) == FEW
    ends_well(large, row, bucket)


@pytest.mark.fault("the store of reports does not answer", rows="S1")
def test_a_store_that_does_not_answer(large, network, bucket, settings):
    """The timeout of one call, not that of the build."""
    row = built_and_asked_again(large)
    use(settings, bucket, network.port, read_timeout=0.5)
    network.mode = Mode.FREEZE
    fails_as(row, told="Timeout")
    network.mode = Mode.OK
    use(settings, bucket, network.port)

    ends_well(large, row, bucket)


@pytest.mark.fault("the store of reports is slow", rows="S1")
def test_a_store_that_is_slow_is_waited_for(large, network, bucket):
    """Late is not lost: one run."""
    row = built_and_asked_again(large)
    network.delay, network.mode = 0.3, Mode.SLOW

    run_effects()
    network.mode = Mode.OK

    assert not Attempt.objects.exists()
    ends_well(large, row, bucket)


@pytest.mark.fault("the connection drops in the middle of an upload", rows="S2")
def test_a_connection_that_drops_in_the_middle_of_an_upload(large, network, bucket, strike):
    """Its parts could not be aborted either; the row names the key, so the sweep finds them."""
    row = built_and_asked_again(large)
    strike[BETWEEN] = lambda: setattr(network, "mode", Mode.CUT)
    fails_as(row, told="Connection")
    network.mode = Mode.OK
    assert [key for key in bucket.uploads() if row.identity in key]

    ends_well(large, row, bucket)


@pytest.mark.parametrize(
    ("when", "request_line"), [(MIDWAY, b"POST "), (MIDWAY, b"PUT "), (BETWEEN, b"POST ")]
)
def test_an_answer_that_is_lost(  # noqa: PLR0917  # fixtures
    large, network, bucket, settings, strike, when, request_line
):
    """Of the beginning of an upload, of a part, of the end: the next try finds what was done."""
    row = built_and_asked_again(large)
    use(settings, bucket, network.port, tries=3)
    strike[when] = lambda: network.lose_reply_to(request_line)

    run_effects()

    assert not Attempt.objects.exists()
    ends_well(large, row, bucket)


def test_bytes_that_change_on_the_way(large, network, bucket, settings):
    """Found by their MD5: by us where the server does not look."""
    row = built_and_asked_again(large)
    with Garbler(bucket.port, b"GOOD-MARK", b"EVIL-MARK") as garbler:
        use(settings, bucket, garbler.port)
        fails_as(row, told="XAmzContentSHA256Mismatch" if IS_REAL else "BlobCorrupted")
    use(settings, bucket, network.port)

    ends_well(large, row, bucket)


@pytest.mark.fault("the store of reports refuses us", rows="S5")
def test_a_store_that_refuses_us(large, network, bucket):  # noqa: ARG001  # after what `large` uses
    """A key that was withdrawn: 403 stands in the attempt, and people see it."""
    row = built_and_asked_again(large)
    with denied(bucket):
        fails_as(row, told="AccessDenied" if IS_REAL else "403")

    ends_well(large, row, bucket)


@contextmanager
def denied(bucket) -> Iterator[None]:
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*",'
        f'"Action":"s3:PutObject","Resource":"arn:aws:s3:::{BUCKET}/*"}}]}}'
    )
    bucket.client.put_bucket_policy(Bucket=BUCKET, Policy=policy)
    try:
        yield
    finally:
        bucket.client.delete_bucket_policy(Bucket=BUCKET)


def test_a_store_that_is_away_for_good_leaves_what_is_served(make_report, network, bucket):
    """Set aside, with the last error; the last good one stays, and it rests before the next."""

    def rows():
        yield {"a": 1}

    declared = make_report(rows, max_attempts=2, backoff=Backoff(first=PAUSE, longest=PAUSE))
    built(declared)
    row = asked(declared)
    network.mode = Mode.CUT  # as above
    network.mode = Mode.REFUSE
    run_effects(until=timedelta(minutes=5), record=True)
    network.mode = Mode.OK
    row.refresh_from_db()

    assert delivery_of(row).state == State.POISONED
    assert row.current_number == 1
    assert served(row) == 2
    assert not ask(declared, declared.row({}))
    tidied(timedelta(hours=1, minutes=10))
    assert len([key for key in bucket.objects() if row.identity in key]) == 1
