"""
Payloads in and out of JSON: checked when written, upcast and rebuilt when read.

Dataclasses may hold what JSON cannot say (datetimes, decimals, UUIDs, enums, other dataclasses);
TypedDicts and plain dicts hold JSON's own types only, because nothing would turn them back.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from ..exceptions import BadPayload
from .from_json import from_json, name_of
from .to_json import Misfit, to_json

Json = dict[str, Any]

BLANKED = 0
"""The version of a payload that was blanked; real ones count from 1, so no release reads it."""


@dataclasses.dataclass(slots=True)
class Codec:
    """How one event's payload is written and read. One object, for `type` may be told late."""

    name: str  # of the event, for messages
    type: type | None  # a dataclass, a TypedDict, or None for a plain dict
    version: int
    upcast: Mapping[int, Callable[[Json], Json]]  # from version n to n + 1

    def dump(self, payload: Any, limit: int) -> str:
        """
        *payload* as JSON text of at most *limit* bytes; None is an empty one.

        Raises:
            BadPayload: it names the field and what is wrong with it.
        """
        try:
            plain = self._plain(payload)
            self._build(plain)  # what cannot be read back must not be written
        except Misfit as misfit:
            raise BadPayload(self.name, misfit.place, misfit.problem) from misfit.__cause__
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
        if size > limit:
            problem = f"has {size} bytes of JSON, at most {limit} are kept."
            raise BadPayload(self.name, "", f"{problem} Store an id, not the object.")
        return text

    def load(self, stored: Json, version: int) -> Any:
        """
        The payload as this release declares it, from what *version* of it was stored.

        Raises:
            BadPayload: it is of a later version, a step of `upcast` is missing or fails, or the
                result does not fit.
        """
        try:
            return self._build(self._upcast(stored, version))
        except Misfit as misfit:
            raise BadPayload(self.name, misfit.place, misfit.problem) from misfit.__cause__

    def _plain(self, payload: Any) -> Json:
        is_record = dataclasses.is_dataclass(self.type)
        if payload is None:  # its defaults, where it has any; else the error names what has none
            payload = from_json({}, self.type) if is_record else {}
        given, declared = name_of(type(payload)), name_of(self.type or dict)
        if dataclasses.is_dataclass(payload) and not is_record:
            raise Misfit(
                f"is a {given}, declared is {declared}."
                f" Say Event(…, payload={given}), so that effects get it back."
            )
        if type(payload) is not self.type if is_record else not isinstance(payload, dict):
            raise Misfit(f"is a {given}, declared is {declared}. Pass one of those.")
        plain: Json = to_json(payload, rich=is_record)
        return plain

    def _upcast(self, stored: Json, version: int) -> Json:
        if version <= BLANKED:
            raise Misfit("was blanked: its subject asked to be forgotten.")
        if version > self.version:
            raise Misfit(f"is of version {version}; this release knows {self.version}.")
        for step in range(version, self.version):
            convert = self.upcast.get(step)
            if convert is None:
                raise Misfit(f"is of version {version}; Event(upcast={{{step}: …}}) is missing.")
            try:
                stored = convert(dict(stored))
            except Exception as error:
                raise Misfit(f"upcast[{step}] raised {error!r}.") from error
        return stored

    def _build(self, plain: Json) -> Any:
        if not isinstance(plain, dict):
            raise Misfit(f"is a {name_of(type(plain))}; a dict was declared.")
        return plain if self.type is None else from_json(plain, self.type)
