"""What every store promises: all or nothing, never overwritten, read back as it was written."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from reliable_effects.exceptions import BlobCorrupted, BlobExists, BlobMissing
from reliable_effects.reports import FileReportStore, Stored
from reliable_effects.reports.disposition import safe_name
from reliable_effects.reports.stores import Verified
from tests.services import Proxy
from tests.services.proxy import Mode
from tests.waiting import eventually

from .bucket import BUCKET
from .conftest import IS_REAL
from .garbler import Garbler

MEGABYTE = 1024 * 1024
_numbers = itertools.count(1)


@pytest.fixture
def key() -> str:
    return f"weekly/ab/{next(_numbers)}.csv"


def put(store, key, *chunks: bytes) -> Stored:
    return store.put(key, chunks, content_type="text/csv")


def read(store, key, start=0) -> bytes:
    return b"".join(store.open_range(key, start))


def megabytes(count):
    for number in range(count):
        yield bytes([number % 251]) * MEGABYTE


class Boom(Exception):
    pass


def broken_off():
    """More than one part, and then no more."""
    yield from megabytes(18)
    raise Boom


@pytest.mark.parametrize("size", [0, 1, 5])
def test_what_was_put_is_read_back(store, key, size):
    """Counted and hashed on the way in, by us."""
    stored = put(store, key, *[b"line\n"] * size)

    assert read(store, key) == b"line\n" * size
    assert (stored.size, stored.sha256) == (5 * size, hashlib.sha256(b"line\n" * size).hexdigest())


def test_a_large_blob_is_read_back_from_anywhere(store, key):
    """More than two parts of S3."""
    stored = store.put(key, megabytes(18), content_type="text/csv")

    assert stored.size == 18 * MEGABYTE
    assert read(store, key, 17 * MEGABYTE) == bytes([17]) * MEGABYTE
    assert b"".join(Verified(key, store.open_range(key), stored)) == b"".join(megabytes(18))


@pytest.mark.parametrize("size", [1, 18])
def test_nothing_is_overwritten(store, key, size):
    """Whoever reads a blob reads one from beginning to end."""
    put(store, key, b"first")

    with pytest.raises(BlobExists):
        store.put(key, megabytes(size), content_type="text/csv")

    assert read(store, key) == b"first"


def test_a_build_that_breaks_off_leaves_nothing(store, key, request):
    """A generator that dies midway: no object, and no parts that somebody pays for."""
    with pytest.raises(Boom):
        store.put(key, broken_off(), content_type="text/csv")

    with pytest.raises(BlobMissing):
        store.open_range(key)
    if "s3" in request.node.name:
        assert f"tests/{key}" not in request.getfixturevalue("bucket").uploads()


def test_what_is_deleted_is_gone_and_twice_is_once(store, key):
    """The sweep may die between the blob and its row."""
    put(store, key, b"text")

    store.delete(key)
    store.delete(key)

    with pytest.raises(BlobMissing):
        store.open_range(key)


@pytest.mark.parametrize(
    "bad",
    ["../../etc/passwd", "/abs", "a//b", "a/./b", "a/%2e%2e/b", "a\0b", "a/ß", "", "A", "a" * 1024],
)
def test_a_key_names_nothing_outside(store, bad):
    """Raw S3 takes all of these."""
    for verb in (
        lambda: put(store, bad, b"text"),
        lambda: store.open_range(bad),
        lambda: store.delete(bad),
    ):
        with pytest.raises(ValueError, match="no key"):
            verb()


def test_of_a_damaged_blob_nobody_gets_all(store, key):
    """A download that breaks off is noticed, one with a wrong number in it is not."""
    stored = put(store, key, b"a" * 600_000)
    damaged = Stored(stored.size, hashlib.sha256(b"other").hexdigest())
    got = bytearray()

    with pytest.raises(BlobCorrupted):  # noqa: PT012  # what came before it counts
        for chunk in Verified(key, store.open_range(key), damaged):
            got += chunk

    assert len(got) < stored.size


# Files


def test_a_killed_process_leaves_no_file_under_the_name(tmp_path, key):
    """kill -9 in the middle of a write; what it left is found by the key, and deleted."""
    script = (
        "import sys, time, pathlib, django\n"
        "django.setup()\n"
        "from reliable_effects.reports.file_store import FileReportStore\n"
        "def chunks():\n"
        "    yield b'x' * 100_000\n"
        "    pathlib.Path(sys.argv[1], 'begun').touch()\n"
        "    time.sleep(60)\n"
        "FileReportStore(location=sys.argv[1]).put(sys.argv[2], chunks(), content_type='text/csv')\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), key])
    try:
        eventually((tmp_path / "begun").exists, within=30)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    store = FileReportStore(location=tmp_path)
    left = [path.name for path in (tmp_path / key).parent.iterdir()]

    with pytest.raises(BlobMissing):
        store.open_range(key)
    store.delete(key)

    assert left == [f"{Path(key).name}.part"]
    assert not (tmp_path / key).parent.exists()


def test_a_file_that_fits_no_more_leaves_nothing(key):
    """A full disk, as /dev/full tells it."""
    folder = Path(f"/dev/shm/effects-{os.getpid()}")
    if not folder.parent.exists():
        pytest.skip("no /dev/shm here")
    store = FileReportStore(location=folder)
    part = (folder / key).with_name(f"{Path(key).name}.part")

    def chunks():
        yield b"x"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.put(key, chunks(), content_type="text/csv")
    assert not part.exists()
    store.delete(key)
    folder.rmdir()


# S3, over HTTP


def test_a_signed_address_is_read_by_anybody_under_a_safe_name(bucket, key):
    """The name in the header is the file's; the key says nothing of it."""
    store = bucket.store()
    put(store, key, b"a,b\n")

    address = store.url(
        key,
        expires=timedelta(minutes=2),
        filename=safe_name('../Ü "x"\r\nSet-Cookie: a=b', "csv"),
        content_type="text/csv; charset=utf-8",
    )

    with urllib.request.urlopen(address) as answer:  # http, to our own server
        assert answer.read() == b"a,b\n"
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert "Set-Cookie" not in answer.headers
        disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename")
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in address
    assert "X-Amz-Expires=120" in address


def test_a_refused_connection_is_an_error_within_its_tries(bucket, key):
    """A store that is away is a failed attempt, and no wait without end."""
    with Proxy(bucket.port) as proxy:
        store = bucket.store(proxy.port, tries=2, connect_timeout=1)
        proxy.mode = Mode.REFUSE

        with pytest.raises(BotoCoreError):
            put(store, key, b"text")

    assert f"tests/{key}" not in bucket.objects()


def test_a_store_that_never_answers_is_an_error_within_its_timeout(bucket, key):
    """Every wait has a bound."""
    with Proxy(bucket.port) as proxy:
        store = bucket.store(proxy.port, tries=1, read_timeout=0.3)
        proxy.mode = Mode.FREEZE

        with pytest.raises(BotoCoreError):
            put(store, key, b"text")
        proxy.mode = Mode.OK


def test_a_slow_store_is_waited_for(bucket, key):
    """Late is not lost."""
    with Proxy(bucket.port) as proxy:
        store = bucket.store(proxy.port)
        proxy.delay, proxy.mode = 0.3, Mode.SLOW

        put(store, key, b"text")

    assert read(bucket.store(), key) == b"text"


def test_a_lost_answer_is_no_second_blob(bucket, key):
    """It was written, the answer was lost, and the next try met "it is there already": ours."""
    with Proxy(bucket.port) as proxy:
        store = bucket.store(proxy.port, read_timeout=0.5, tries=5)

        def chunks():
            proxy.lose_reply_to(b"PUT ")
            yield b"text"

        store.put(key, chunks(), content_type="text/csv")

    assert read(bucket.store(), key) == b"text"


def test_an_upload_that_is_dropped_midway_leaves_no_object(bucket, key):
    """And what of it the server kept is found by the key and deleted."""
    with Proxy(bucket.port) as proxy:
        store = bucket.store(proxy.port, tries=1)

        def chunks():
            yield from megabytes(17)
            proxy.mode = Mode.CUT
            yield from megabytes(17)

        with pytest.raises(BotoCoreError):
            store.put(key, chunks(), content_type="text/csv")

    left = f"tests/{key}" in bucket.uploads()  # the network was down for the abort, too
    bucket.store().delete(key)

    assert left
    assert f"tests/{key}" not in bucket.uploads()
    assert f"tests/{key}" not in bucket.objects()


@pytest.mark.parametrize("size", [1, 10])
def test_bytes_that_changed_on_the_way_are_found_out(bucket, key, size):
    """moto checks nothing; the MD5 that it tells of what it got is compared. Ceph refuses them."""
    with Garbler(bucket.port, b"GOOD-MARK", b"EVIL-MARK") as network:
        store = bucket.store(network.port, checksums="when_required")

        with pytest.raises(ClientError if IS_REAL else BlobCorrupted):
            store.put(key, [b"GOOD-MARK", *megabytes(size)], content_type="text/csv")

    assert f"tests/{key}" not in bucket.objects()
    assert f"tests/{key}" not in bucket.uploads()


def test_a_store_that_refuses_us_says_so(bucket, key):
    """403 is the server's word, and stands in the attempt."""
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*",'
        f'"Action":"s3:PutObject","Resource":"arn:aws:s3:::{BUCKET}/tests/{key}"}}]}}'
    )
    bucket.client.put_bucket_policy(Bucket=BUCKET, Policy=policy)
    try:
        with pytest.raises(ClientError, match=r"403|AccessDenied"):
            put(bucket.store(), key, b"text")
    finally:
        bucket.client.delete_bucket_policy(Bucket=BUCKET)


def test_a_process_killed_in_the_middle_of_an_upload_leaves_parts_that_are_found(bucket, key):
    """No handler runs then; the row that was written before names the key."""
    script = (
        "import sys, time, json, django\n"
        "django.setup()\n"
        "from reliable_effects.reports.s3_store import S3ReportStore\n"
        "def chunks():\n"
        "    for _ in range(17): yield b'x' * 1024 * 1024\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(60)\n"
        "S3ReportStore(**json.loads(sys.argv[1])).put("
        "sys.argv[2], chunks(), content_type='text/csv')\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(bucket.options()), key], stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"begun\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    left = f"tests/{key}" in bucket.uploads()

    bucket.store().delete(key)

    assert left
    assert f"tests/{key}" not in bucket.uploads()
