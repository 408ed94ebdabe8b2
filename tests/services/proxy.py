"""
A TCP proxy that fails on purpose: what a client sees when the network or the far side is ill.

It runs in a thread of its own. A change of mode is in force when the assignment returns, for
open connections too.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, TypeVar

T = TypeVar("T")

_GOODBYES = (b"X\0\0\0\4", b"\1\0\0\0\1")  # of PostgreSQL's and MariaDB's clients: unanswered


class Mode(StrEnum):
    OK = "ok"
    REFUSE = "refuse"  # nobody listens; open connections go on
    FREEZE = "freeze"  # connections are accepted, nothing moves; what was sent arrives on OK
    DROP_REPLIES = "drop_replies"  # requests arrive, answers are thrown away
    CUT = "cut"  # open connections are reset, new ones as soon as they are accepted
    SLOW = "slow"  # each answer comes `delay` seconds late


class Proxy:
    """`with Proxy(server.port) as proxy`: connect to `proxy.port`, then set `proxy.mode`."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.5  # seconds
        self.port = 0
        self._mode = Mode.OK
        self._lose_reply_to = b""
        self.round_trips = 0  # that clients began since `cut_at` was called
        self.was_cut = b""  # what the client had said
        self._cut_at = 0
        self._is_applied = False
        self._links: set[_Link] = set()
        self._moving = asyncio.Event()
        self._moving.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._run(self._switch(Mode(mode)))

    def lose_reply_to(self, request: bytes) -> None:
        """
        Once: let through the next data that contains *request*, and cut when its answer comes.

        The far side has then done what was asked, and the client cannot know: a COMMIT in doubt.
        """
        self._lose_reply_to = request

    def cut_at(self, number: int, *, is_applied: bool) -> None:
        """
        Once: cut at the *number*th round trip from now on (0: only count them).

        Its request has been carried out when the connection is cut, or never arrives. A round trip
        begins with what a client says after it was last answered; a goodbye is none.
        """
        self.round_trips, self._cut_at, self._is_applied = 0, number, is_applied
        self.was_cut = b""

    def _begins_to_fail(self, link: _Link, data: bytes) -> bool:
        """Count what *link*'s client says; whether it is to be cut because of it."""
        if not link.was_answered or data in _GOODBYES:
            return False
        link.was_answered = False
        self.round_trips += 1
        if self.round_trips != self._cut_at:
            return False
        self.was_cut = data
        return True

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        """No new clients; asyncio forgets to close one that it has just accepted, if told at once."""
        for listening in self._listener.sockets:
            self._loop.remove_reader(listening.fileno())
        await asyncio.sleep(0)
        self._listener.close()

    async def _switch(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.REFUSE:
            await self._stop_listening()
        elif not self._listener.is_serving():
            await self._listen()
        if mode is Mode.CUT:
            for link in self._links:
                link.cut()
        if mode is Mode.FREEZE:
            self._moving.clear()
        else:
            self._moving.set()

    async def _close(self) -> None:
        await self._stop_listening()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for link in self._links:
                link.cut()
                link.task.cancel()
            await asyncio.wait(others, timeout=0.05)
        await asyncio.sleep(0)  # what was aborted lets go of its socket in the next turn

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(asyncio.current_task(), writer)
        self._links.add(link)
        try:
            await self._moving.wait()
            if self._mode is Mode.CUT:
                return
            far_reader, link.far = await asyncio.open_connection("127.0.0.1", self.target)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._requests(link, reader))
                both.create_task(self._replies(link, far_reader))
        except* (OSError, asyncio.CancelledError):
            pass  # the far side is down, or we are closing
        finally:
            link.cut()
            self._links.discard(link)

    async def _requests(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            await self._moving.wait()
            if self._lose_reply_to and self._lose_reply_to in data:
                self._lose_reply_to = b""
                link.is_doomed = True
            if self._begins_to_fail(link, data):
                if not self._is_applied:
                    link.cut()
                    return
                link.is_doomed = True
            link.far.write(data)
            await link.far.drain()
        link.far.close()

    async def _replies(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            await self._moving.wait()
            if link.is_doomed:
                link.cut()
                return
            if self._mode is Mode.SLOW:
                await asyncio.sleep(self.delay)
            if self._mode is not Mode.DROP_REPLIES:
                link.was_answered = True
                link.near.write(data)
                await link.near.drain()
        link.near.close()


@dataclass(eq=False)
class _Link:
    """A client's connection and the one we opened for it."""

    task: asyncio.Task[None]
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    is_doomed: bool = False
    was_answered: bool = True  # its next words begin a round trip

    def cut(self) -> None:
        """Reset both at once: the peers see ECONNRESET, not an orderly end."""
        for writer in filter(None, (self.near, self.far)):
            if not writer.is_closing():
                linger_not = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger_not
                )
            # Also where it is closing: one that has more to say to who does not listen never ends.
            writer.transport.abort()
