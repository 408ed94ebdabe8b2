"""
HTTP as a suspicious client needs it: any header value, any spelling, and the answer byte for byte.

One connection a request: which worker process answers is then up to the server each time, and a
worker that dies takes one answer with it.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

Header = tuple[str, str | bytes]

_ABSENT = (404, 405, 501)  # what servers say where they have no such route


class BadAddress(Exception):
    """The URL given is none that can be called."""


class Dropped(Exception):
    """The connection ended before there was an answer."""

    def __init__(self, request: str, error: Exception) -> None:
        super().__init__(f"{request}: no answer ({type(error).__name__}: {error})")


class NotOffered(Exception):
    """The server has no such route, so there is nothing to test there."""

    def __init__(self, route: str) -> None:
        self.route = route
        super().__init__(f"{route} is not offered")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """All values of *name* in one, as HTTP joins them; None where there is none."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None

    @property
    def content_type(self) -> str:
        return self.header("Content-Type") or ""

    @property
    def cookies(self) -> str:
        """The value of the Cookie header that sends back what was set."""
        return "; ".join(
            value.partition(";")[0] for key, value in self.headers if key.lower() == "set-cookie"
        )


def parse(url: str) -> SplitResult:
    """
    Raises:
        BadAddress: it is not http://host[:port][/prefix].
    """
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError as error:
        raise BadAddress(f"{url!r}: {error}.") from error
    if not is_good or parts.query or parts.fragment:
        raise BadAddress(f"{url!r} is no address of a server. Use http://127.0.0.1:8000.")
    return parts


@dataclass
class Client:
    """
    Sends requests to one server, below the path of its *url*.

    A first 404, 405 or 501 of a route means that it is not offered; *known* holds the routes that
    have answered otherwise, and is shared by clients of one server.
    """

    url: str
    timeout: float = 20  # seconds without a byte; the longest handler sleeps 3
    known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._parts = parse(self.url)

    def below(self, prefix: str) -> Client:
        """A client of the same server whose routes begin with *prefix*."""
        return Client(self.url.rstrip("/") + prefix, self.timeout, self.known)

    def send(
        self, method: str, target: str, body: bytes = b"", headers: Iterable[Header] = ()
    ) -> Answer:
        """
        Raises:
            Dropped: the connection was refused, cut, or silent for too long.
            NotOffered: the server has no such route.
        """
        answer = self.exchange(method, target, body, headers)
        route = f"{method} /{target.strip('/').partition('?')[0].partition('/')[0]}"
        # Who asks /status/404 gets what was asked for.
        if answer.status not in _ABSENT or route == "POST /status":
            self.known.add(route)
        elif route not in self.known:
            raise NotOffered(route)
        return answer

    def exchange(
        self, method: str, target: str, body: bytes = b"", headers: Iterable[Header] = ()
    ) -> Answer:
        """As `send`, but 404, 405 and 501 are answers like any other."""
        connection = self._connection()
        try:
            path = self._parts.path.rstrip("/") + target
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if body or method in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", str(len(body)))
            connection.putheader("Connection", "close")
            connection.endheaders(body or None)
            response = connection.getresponse()
            return Answer(response.status, tuple(response.getheaders()), response.read())
        except (OSError, http.client.HTTPException) as error:
            raise Dropped(f"{method} {target}", error) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=self.timeout, context=context)
        return http.client.HTTPConnection(host, port, timeout=self.timeout)
