"""
What moto does not check and a real server does: signatures, when they end, checksums, the clock.

Runs with `make s3-real`, against Ceph's gateway.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from datetime import timedelta
from hashlib import md5

import pytest
from botocore.exceptions import ClientError

from reliable_effects.exceptions import BlobMissing
from tests.services.wrong_clock import set_clock, shifted
from tests.waiting import eventually

from .bucket import BUCKET

KEY = "weekly/ab/real.csv"


@pytest.fixture
def store(bucket):
    made = bucket.store()
    yield made
    made.delete(KEY)


@pytest.fixture
def address(store) -> str:
    """Signed for a minute, of a blob that is there."""
    store.put(KEY, [b"a,b\n"], content_type="text/csv")
    return signed(store, timedelta(minutes=1))


def signed(store, expires: timedelta) -> str:
    return store.url(KEY, expires=expires, filename="a.csv", content_type="text/csv")


def status_of(address: str, method: str = "GET") -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method=method)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def refused(status: int, code: str = ""):
    return pytest.raises(ClientError, match=rf"\(({code or status})")


def test_a_signed_address_is_good_for_what_it_says(address):
    assert status_of(address) == 200


def test_a_signed_address_ends(store, address):
    """Whoever finds it in a history tomorrow reads nothing."""
    short = signed(store, timedelta(seconds=1))

    assert eventually(lambda: status_of(short) == 403, within=10)
    assert status_of(address) == 200


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("real.csv", "other.csv"),
        ("X-Amz-Expires=60", "X-Amz-Expires=604800"),
        ("text%2Fcsv", "text%2Fhtml"),
        ("attachment", "inline"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
    ],
)
def test_a_signed_address_that_was_changed_is_refused(address, old, new):
    """Another blob, a longer life, a page that a browser would run."""
    assert old in address

    assert status_of(address.replace(old, new, 1)) == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_a_signed_address_only_reads(store, address, method):
    assert status_of(address, method) in (403, 405)
    assert b"".join(store.open_range(KEY)) == b"a,b\n"


def test_without_a_signature_nothing_is_read(address):
    assert status_of(address.partition("?")[0]) == 403


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"secret_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"access_key": "nobody"}, "InvalidAccessKeyId"),
        ({"bucket": "no-such-bucket"}, "NoSuchBucket"),
    ],
)
def test_who_is_not_let_in_learns_why(bucket, wrong, code):
    """And the error stands in the attempt of the build."""
    with refused(403, code):
        bucket.store(tries=1, **wrong).put(KEY, [b"text"], content_type="text/csv")


def said_by_a_worker(script: str, options, clock, off: timedelta) -> str:
    """What *script* prints in a process whose clock is *off*; it has `store` and `key`."""
    set_clock(clock, off)
    begin = (
        "import sys, json, django\n"
        "from datetime import timedelta\n"
        "from botocore.exceptions import ClientError\n"
        "django.setup()\n"
        "from reliable_effects.reports.s3_store import S3ReportStore\n"
        "store, key = S3ReportStore(**json.loads(sys.argv[1])), sys.argv[2]\n"
    )
    return subprocess.run(
        [sys.executable, "-c", begin + script, json.dumps(options), KEY],
        env=os.environ | shifted(clock),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_worker_whose_clock_is_wrong_is_refused(bucket, store, tmp_path, hours):
    """A signature is good for a quarter of an hour; the attempt says what to look at."""
    script = (
        "try: store.put(key, [b'text'], content_type='text/csv')\n"
        "except ClientError as error: print(error)\n"
    )

    told = said_by_a_worker(
        script, bucket.options(tries=1), tmp_path / "clock", timedelta(hours=hours)
    )

    assert "RequestTimeTooSkewed" in told
    with pytest.raises(BlobMissing):
        store.open_range(KEY)


@pytest.mark.parametrize(("hours", "status"), [(-1, 403), (0, 200), (1, 200)])
def test_an_address_ends_by_the_clock_that_signed_it(bucket, store, tmp_path, hours, status):
    """One that is behind signs what has ended; one ahead (Ceph 16, not AWS) what lives too long."""
    store.put(KEY, [b"a,b\n"], content_type="text/csv")
    script = (
        "print(store.url(key, expires=timedelta(minutes=2), filename='a.csv',"
        " content_type='text/csv'))\n"
    )

    told = said_by_a_worker(script, bucket.options(), tmp_path / "clock", timedelta(hours=hours))

    assert status_of(told) == status


def test_a_wrong_checksum_is_refused(bucket, store):
    """What was sent is not what arrived, says the server, and keeps nothing."""
    wrong = base64.b64encode(md5(b"other").digest()).decode()

    with refused(400, "BadDigest|InvalidDigest"):
        bucket.client.put_object(Bucket=BUCKET, Key=f"tests/{KEY}", Body=b"text", ContentMD5=wrong)

    with pytest.raises(BlobMissing):
        store.open_range(KEY)


def test_a_wrong_checksum_of_a_part_is_refused(bucket):
    named = {"Bucket": BUCKET, "Key": f"tests/{KEY}"}
    upload = {**named, "UploadId": bucket.client.create_multipart_upload(**named)["UploadId"]}
    wrong = base64.b64encode(md5(b"other").digest()).decode()
    try:
        with refused(400, "BadDigest|InvalidDigest"):
            bucket.client.upload_part(**upload, PartNumber=1, Body=b"text", ContentMD5=wrong)
    finally:
        bucket.client.abort_multipart_upload(**upload)


def test_of_many_who_write_one_key_one_wins(bucket):
    """At the same moment, with the condition that the store sends."""
    together, ends = threading.Barrier(4), []

    def write(number: int) -> None:
        together.wait(10)
        try:
            bucket.client.put_object(
                Bucket=BUCKET, Key=f"tests/{KEY}", Body=b"%d" % number, IfNoneMatch="*"
            )
        except ClientError as error:
            ends.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
        else:
            ends.append(200)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    bucket.store().delete(KEY)

    assert ends.count(200) == 1
    assert set(ends) <= {200, 409, 412}
    assert len(ends) == 4


@pytest.mark.parametrize("checksums", ["when_required", "when_supported"])
def test_both_ways_of_checksums_are_taken(bucket, checksums):
    """Many servers refuse the CRC that boto3 adds where it may."""
    store = bucket.store(checksums=checksums)
    store.delete(KEY)

    stored = store.put(KEY, [b"x" * 1024 * 1024] * 9, content_type="text/csv")

    assert stored.size == 9 * 1024 * 1024
    assert sum(map(len, store.open_range(KEY))) == stored.size
    store.delete(KEY)
