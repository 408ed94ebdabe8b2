"""A Chromium without a window, for Playwright to connect to; each connection makes its own pages."""

from __future__ import annotations

import shutil

from tests.services.server import Missing, Server

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class NoChromium(Missing):
    def __init__(self) -> None:
        Exception.__init__(
            self,
            "chromium was not found. `make services` gets it on Debian and Ubuntu; elsewhere install"
            " it with your package manager.",
        )


class Chromium(Server):
    service = "chromium"
    variable = "TEST_CHROMIUM_URL"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            self._program(),
            "--headless",
            "--no-sandbox",  # it refuses to run as root with one, and sees pages of ours alone
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",  # containers have 64 MB of it
            "--disable-background-networking",
            "--hide-scrollbars",
            f"--user-data-dir={self.folder}/profile",
            f"--remote-debugging-port={self.port}",
            "about:blank",
        ]

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.folder)}

    def answers(self) -> bool:
        with self.connect() as connection:
            connection.sendall(b"GET /json/version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return connection.recv(1024).startswith(b"HTTP/1.1 200")

    @staticmethod
    def _program() -> str:
        for program in _PROGRAMS:
            if found := shutil.which(program):
                return found
        raise NoChromium
