"""A bucket of whichever S3 the tests talk to: moto's server each day, Ceph with `make s3-real`."""

from __future__ import annotations

import boto3
from botocore.config import Config

from reliable_effects.reports.s3_store import S3ReportStore

BUCKET = "reports-bucket"


class Bucket:
    """Empty at first, on the server at *port* of this host."""

    def __init__(self, port: int, access_key: str = "key", secret_key: str = "secret") -> None:
        self.port, self.access_key, self.secret_key = port, access_key, secret_key
        # At /name, and not at name.127.0.0.1.
        config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
        self.client = boto3.session.Session().client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=config,
        )
        self.client.create_bucket(Bucket=BUCKET)

    def options(self, port: int | None = None, **options):
        return {
            "bucket": BUCKET,
            "prefix": "tests",
            "region": "us-east-1",
            "endpoint_url": f"http://127.0.0.1:{port or self.port}",
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "addressing_style": "path",
            **options,
        }

    def store(self, port: int | None = None, **options) -> S3ReportStore:
        return S3ReportStore(**self.options(port, **options))

    def objects(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def uploads(self) -> list[str]:
        found = self.client.list_multipart_uploads(Bucket=BUCKET)
        return [each["Key"] for each in found.get("Uploads", ())]
