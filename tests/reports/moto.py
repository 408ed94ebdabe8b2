"""
A throwaway S3, spoken to over HTTP: moto's server, a process of its own on a free port.

It keeps what it is given and checks neither signatures nor checksums; that a real server does is
not ours to test here. What the network does to a call is made by `Proxy` in between.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from typing import Self

import boto3

from reliable_effects.reports.s3_store import S3ReportStore
from tests.services import free_port
from tests.waiting import eventually

BUCKET = "reports-bucket"


class Moto:
    def start(self) -> Self:
        self.port = free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the server
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=self._log,
            stderr=self._log,
        )
        eventually(self._answers, within=60)
        self.client = self.client_at(self.port)
        self.client.create_bucket(Bucket=BUCKET)
        return self

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=30)
        self._log.close()

    @staticmethod
    def client_at(port: int):
        return boto3.session.Session().client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )

    def options(self, port: int | None = None, **options):
        return {
            "bucket": BUCKET,
            "prefix": "tests",
            "region": "us-east-1",
            "endpoint_url": f"http://127.0.0.1:{port or self.port}",
            "access_key": "key",
            "secret_key": "secret",
            "addressing_style": "path",
            **options,
        }

    def store(self, port: int | None = None, **options) -> S3ReportStore:
        return S3ReportStore(**self.options(port, **options))

    def objects(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET)
        return [each["Key"] for each in found.get("Contents", ())]

    def uploads(self) -> list[str]:
        found = self.client.list_multipart_uploads(Bucket=BUCKET)
        return [each["Key"] for each in found.get("Uploads", ())]

    def _answers(self) -> bool:
        assert self._process.poll() is None, "moto's server has ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


class Garbler:
    """A network that changes bytes on their way to the server: `old` becomes `new`."""

    def __init__(self, target: int, old: bytes, new: bytes) -> None:
        self._target, self._old, self._new = target, old, new
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._run(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes whoever reads it
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()

    def _run(self, what, *arguments) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                self._run(self._pass, client, server, True)
                self._run(self._pass, server, client, False)

    def _pass(self, a: socket.socket, b: socket.socket, garbles: bool) -> None:
        with suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data.replace(self._old, self._new) if garbles else data)
            b.shutdown(socket.SHUT_WR)
