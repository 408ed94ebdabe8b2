"""
A throwaway S3 that checks what it is told: Ceph's gateway, with one monitor and a store in memory.

`scripts/ceph` unpacks the programs into .ceph; where they are installed, those are taken. It runs
as anybody, on free ports.
"""

from __future__ import annotations

import http.client
import os
import secrets
import subprocess
from pathlib import Path
from typing import Self
from uuid import uuid4

from tests.services.server import Server, free_port

_HERE = Path(__file__).resolve()
_UNPACKED = Path(os.environ.get("CEPH", _HERE.parents[2] / ".ceph")).resolve()

_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}
public addr = 127.0.0.1
ms bind ipv6 = false
keyring = {folder}/keyring
run dir = {folder}
admin socket =
log file =
log to stderr = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
plugin dir = {libraries}/ceph
erasure code dir = {libraries}/ceph/erasure-code
osd class dir = {libraries}/rados-classes
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw enable usage log = false
rgw thread pool size = 32
"""


class Ceph(Server):
    service = "ceph"
    variable = "TEST_CEPH_URL"
    installed_by = "scripts/ceph"
    folders = (f"{_UNPACKED}/usr/bin",)
    ready_within = 120

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        self._programs = Path(self.find("radosgw")).parent
        return super().start()

    def prepare(self) -> None:
        self.access_key, self.secret_key = "tests", secrets.token_hex(20)
        self._fsid, self._mon_port = str(uuid4()), str(free_port())
        # Its commands make files in it, and are run by another than we where we are root.
        (self.folder / "ceph.conf").write_text(
            _CONFIGURATION.format(
                fsid=self._fsid,
                mon_port=self._mon_port,
                port=self.port,
                folder=self.folder,
                libraries=self._libraries(),
            )
        )

    def command(self) -> list[str]:
        return ["/bin/sh", str(_HERE.with_suffix(".sh"))]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self._programs}:{os.environ.get('PATH', os.defpath)}",
            "FSID": self._fsid,
            "MON_PORT": self._mon_port,
            "ACCESS_KEY": self.access_key,
            "SECRET_KEY": self.secret_key,
            **self._where_libraries_are(),
        }

    def answers(self) -> bool:
        """Anonymously: it says that there are no buckets, when it is in touch with its store."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        except http.client.HTTPException:
            return False
        finally:
            connection.close()

    def version(self) -> str:
        command = [str(self._programs / "radosgw"), "--version"]
        environment = os.environ | self._where_libraries_are()
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment
        ).stdout.strip()

    def _libraries(self) -> Path:
        root = self._programs.parents[1]
        return next(path.parent for path in root.glob("usr/lib/*/rados-classes"))

    def _where_libraries_are(self) -> dict[str, str]:
        """Nothing where it is installed: the loader knows."""
        root, libraries = self._programs.parents[1], self._libraries()
        if root == Path("/"):
            return {}
        known = (libraries, libraries / "ceph", root / "lib" / libraries.name)
        return {"LD_LIBRARY_PATH": ":".join(map(str, known))}
