"""
A throwaway S3, spoken to over HTTP: moto's server, a process of its own on a free port.

It keeps what it is given and checks neither signatures, nor when they end, nor checksums: that a
real server does is seen in test_real_s3.py. What the network does is made by `Proxy` in between.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import Self

from tests.services import free_port
from tests.waiting import eventually

from .bucket import Bucket


class Moto:
    bucket: Bucket

    def start(self) -> Self:
        self.port = free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the server
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=self._log,
            stderr=self._log,
        )
        eventually(self._answers, within=60)
        self.bucket = Bucket(self.port)
        return self

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=30)
        self._log.close()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "moto's server has ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False
