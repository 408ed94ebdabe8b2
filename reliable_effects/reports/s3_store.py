"""
Blobs in a bucket of S3, or of what speaks its language. The one module that knows boto3.

A part at a time in the calling thread, so memory stays at two parts whatever the size. Every call
has a timeout and a bounded number of tries; an upload that breaks off leaves no object, and its
parts are aborted. A killed process leaves parts: `delete` finds them by the key, and the bucket
should have a rule that aborts what is older than a day.
"""

from __future__ import annotations

import os
import re
import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from hashlib import md5
from itertools import chain
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ..exceptions import BlobCorrupted, BlobExists, BlobMissing
from .disposition import attachment
from .stores import Counted, Opened, Stored, checked_key

_QUICK, _PATIENT = 3.0, 120.0  # seconds of one call
_PART = 8 * 1024 * 1024  # bytes; S3 takes 5 MiB at least
_MOST_PARTS = 10_000  # of one upload, as S3 counts: 80 GB
_MD5 = re.compile(r"[0-9a-f]{32}")
_MISSING = ("404", "NoSuchKey", "NotFound")
_TAKEN = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict")


class S3ReportStore:
    """
    `OPTIONS: {"bucket": "reports", …}`. Credentials are found as boto3 finds them, unless given.

    prefix: what keys begin with; give each environment its own. endpoint_url: of another server than
    AWS's; public_endpoint_url: what browsers call it, where that differs. connect_timeout,
    read_timeout: seconds of one call. tries: of one call, the first included. checksums: "when_required"
    where the server refuses the CRC that boto3 adds, as many but AWS do; None chooses by
    endpoint_url. no_overwrite: False where the server answers If-None-Match with an error.
    extra: arguments of each upload, as {"ServerSideEncryption": "aws:kms"}.
    """

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str = "reports",
        region: str | None = None,
        endpoint_url: str | None = None,
        public_endpoint_url: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        addressing_style: str = "auto",
        connect_timeout: float = 5,
        read_timeout: float = 30,
        tries: int = 4,
        checksums: str | None = None,
        no_overwrite: bool = True,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.bucket, self.prefix = bucket, checked_key(prefix)
        self.endpoint_url = endpoint_url
        self.public_endpoint_url = public_endpoint_url or endpoint_url
        self._once = {"IfNoneMatch": "*"} if no_overwrite else {}
        self._extra = dict(extra or {})
        # With a key of KMS or of the customer's an ETag is no MD5.
        self._tells_md5 = not (
            "SSECustomerKey" in self._extra
            or str(self._extra.get("ServerSideEncryption", "")).startswith("aws:kms")
        )
        checksums = checksums or ("when_required" if endpoint_url else "when_supported")
        self._known_to_boto = {
            "region_name": region,
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
        }
        self._config = Config(
            signature_version="s3v4",
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": tries},
            s3={"addressing_style": addressing_style},
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
        )
        # The sweep deletes, and the relay waits for it in the same thread; the next turn tries again.
        self._quick = self._config.merge(
            Config(
                connect_timeout=min(connect_timeout, _QUICK),
                read_timeout=min(read_timeout, _QUICK),
                retries={"mode": "standard", "total_max_attempts": 1},
            )
        )
        # A server may put the parts together before it answers: a gigabyte is copied then.
        self._patient = self._config.merge(Config(read_timeout=max(read_timeout, _PATIENT)))
        self._clients: dict[tuple[int, str | None, int], Any] = {}
        self._lock = threading.Lock()

    def put(self, key: str, chunks: Iterable[bytes], *, content_type: str) -> Stored:
        counted = Counted(chunks)
        parts = _parts(counted)
        first = next(parts, b"")
        further = next(parts, None)
        mark = uuid4().hex  # in the object's metadata: ours, where an answer was lost
        whole = {
            **self._named(key),
            **self._extra,
            "ContentType": content_type,
            "Metadata": {"put": mark},
        }
        if further is None:
            etag = self._put_at_once(key, first, whole, mark)
        else:
            etag = self._put_in_parts(key, chain((first, further), parts), whole, mark)
        head = self._client().head_object(**self._named(key))
        if head["ContentLength"] != counted.size or head["Metadata"].get("put") != mark:
            self.delete(key)
            raise BlobCorrupted(key, f"{head['ContentLength']} bytes of {counted.size} arrived")
        return counted.stored(etag)

    def open_range(self, key: str, start: int = 0) -> Opened:
        named = self._named(key)
        if start:
            named["Range"] = f"bytes={start}-"
        try:
            body = self._client().get_object(**named)["Body"]
        except ClientError as error:
            if _code(error) in _MISSING:
                raise BlobMissing(key) from error
            raise
        return Opened(body.read, body.close)

    def url(self, key: str, *, expires: timedelta, filename: str, content_type: str) -> str:
        asked = {
            **self._named(key),
            "ResponseContentDisposition": attachment(filename),
            "ResponseContentType": content_type,
            "ResponseCacheControl": "private, no-store",
        }
        address: str = self._client(self.public_endpoint_url).generate_presigned_url(
            "get_object", Params=asked, ExpiresIn=max(1, int(expires.total_seconds()))
        )
        return address

    def exists(self, key: str) -> bool:
        return self._is_there(key, self._client(config=self._quick))

    def _is_there(self, key: str, client: Any) -> bool:
        try:
            client.head_object(**self._named(key))
        except ClientError as error:
            if _code(error) not in _MISSING:
                raise
            client.head_bucket(Bucket=self.bucket)  # a HEAD tells not which of the two is missing
            return False
        return True

    def delete(self, key: str) -> None:
        client, named = self._client(config=self._quick), self._named(key)
        self._abort_all(client, named)
        client.delete_object(**named)

    def _abort_all(self, client: Any, named: Mapping[str, str], but: str = "") -> None:
        uploads = client.list_multipart_uploads(Bucket=self.bucket, Prefix=named["Key"])
        for upload in uploads.get("Uploads", ()):
            if upload["Key"] == named["Key"] and upload["UploadId"] != but:
                client.abort_multipart_upload(**named, UploadId=upload["UploadId"])

    def _put_at_once(self, key: str, body: bytes, whole: Mapping[str, Any], mark: str) -> str:
        try:
            answer = self._client().put_object(
                **whole, **self._once, Body=body, ContentMD5=_base64_md5(body)
            )
        except (ClientError, BotoCoreError) as error:
            return self._ours_after_all(key, error, mark)
        self._compare(key, answer["ETag"], body)
        return _bare(answer["ETag"])

    def _put_in_parts(
        self, key: str, parts: Iterable[bytes], whole: Mapping[str, Any], mark: str
    ) -> str:
        client, named = self._client(), self._named(key)
        begun = client.create_multipart_upload(**whole)
        upload = {**named, "UploadId": begun["UploadId"]}
        done: list[dict[str, Any]] = []
        customer_key = {n: v for n, v in self._extra.items() if n.startswith("SSECustomer")}
        try:
            if begun["ResponseMetadata"].get("RetryAttempts"):
                # A try whose answer was lost has begun another one, that nobody knows the id of.
                self._abort_all(client, named, but=begun["UploadId"])
            for number, part in enumerate(parts, 1):
                if number > _MOST_PARTS:
                    raise ValueError(f"A report has more than {_MOST_PARTS * _PART} bytes.")  # noqa: TRY301  # aborted below
                answer = client.upload_part(
                    **upload,
                    **customer_key,
                    PartNumber=number,
                    Body=part,
                    ContentMD5=_base64_md5(part),
                )
                self._compare(key, answer["ETag"], part)
                done.append({"PartNumber": number, "ETag": answer["ETag"]})
            # Some servers (Ceph 16) keep the condition for whole objects only, and overwrite here.
            # AWS answers 403 where the key is free and we may not list: then the condition is all.
            with suppress(ClientError):
                if self._is_there(key, client):
                    raise BlobExists(key)  # noqa: TRY301  # aborted below
            try:
                answer = self._client(config=self._patient).complete_multipart_upload(
                    **upload, **self._once, MultipartUpload={"Parts": done}
                )
            except (ClientError, BotoCoreError) as error:
                return self._ours_after_all(key, error, mark)
        except BaseException:  # a timeout, or a row that could not be read: no parts stay behind
            with suppress(ClientError, BotoCoreError):
                client.abort_multipart_upload(**upload)
            raise
        return _bare(answer["ETag"])

    def _ours_after_all(self, key: str, error: ClientError | BotoCoreError, mark: str) -> str:
        """Where an answer was lost, what is there says whether it had been done."""
        try:
            head = self._client(config=self._quick).head_object(**self._named(key))
        except (ClientError, BotoCoreError):
            raise error from None
        if head["Metadata"].get("put") == mark:
            return _bare(head["ETag"])
        if _code(error) in _TAKEN:
            raise BlobExists(key) from error
        raise error

    def _compare(self, key: str, etag: str, body: bytes) -> None:
        """Servers tell the MD5 of what they got. Not all check the one that we sent."""
        told = _bare(etag)
        if self._tells_md5 and _MD5.fullmatch(told) and told != _md5(body).hex():
            self.delete(key)
            raise BlobCorrupted(key, "the server got other bytes than were sent")

    def _named(self, key: str) -> dict[str, Any]:
        return {"Bucket": self.bucket, "Key": f"{self.prefix}/{checked_key(key)}"}

    def _client(self, endpoint_url: str | None = None, config: Config | None = None) -> Any:
        """One for each process: a fork must not share its parent's connections."""
        config = config or self._config
        which = (os.getpid(), endpoint_url or self.endpoint_url, id(config))
        with self._lock:  # a session is no thread's to share while it makes a client
            if which not in self._clients:
                self._clients[which] = boto3.session.Session().client(
                    "s3", endpoint_url=which[1], config=config, **self._known_to_boto
                )
            return self._clients[which]


def _parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Of `_PART` bytes each, but the last."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= _PART:
            yield bytes(memoryview(buffer)[:_PART])
            del buffer[:_PART]
    if buffer:
        yield bytes(buffer)


def _md5(body: bytes) -> bytes:
    return md5(body, usedforsecurity=False).digest()


def _base64_md5(body: bytes) -> str:
    return b64encode(_md5(body)).decode()


def _bare(etag: str) -> str:
    return etag.strip('"')


def _code(error: ClientError | BotoCoreError) -> str:
    response = error.response if isinstance(error, ClientError) else {}
    return str(response.get("Error", {}).get("Code", ""))
