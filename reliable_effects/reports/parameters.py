"""
The parameters of a report: typed by its function's signature, and spelt in one way only.

Two calls that mean the same are one report, whatever the order of their arguments; two that do not
never share a blob. What a user typed is in the parameters, and never in a key.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from ..conf import settings
from ..effects.payloads import Codec
from ..exceptions import BadPayload

_PLAIN = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

_OURS = ("user", "serve")


class Parameters:
    """What one report's function takes, from its annotations."""

    def __init__(self, report: str, function: Callable[..., Any], *, skipped: int) -> None:
        """
        *skipped*: how many arguments in front are not the caller's (the file to write to).

        Raises:
            TypeError: a parameter has no annotation, or is *args or **kwargs.
        """
        self.report, self._function, self._skipped = report, function, skipped
        self.names = []
        for parameter in self._declared():
            if parameter.kind not in _PLAIN or parameter.annotation is parameter.empty:
                raise TypeError(
                    f"Report {report!r}: its parameter {parameter.name!r} has no type of its own."
                    f" Write `{parameter.name}: int`, or str, date, UUID …"
                )
            if parameter.name in _OURS:
                raise TypeError(
                    f"Report {report!r}: its parameter {parameter.name!r} would be taken for ours"
                    f" in allowed(user, …) or report_response(…, serve=…). Call it something else."
                )
            self.names.append(parameter.name)
        self.required = [p.name for p in self._declared() if p.default is p.empty]
        self._codec: Codec | None = None

    def canonical(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """
        *given* with its defaults, checked, in JSON's own types.

        Raises:
            TypeError: a parameter is missing, or none of this report's.
            BadPayload: a value is not of its declared type.
        """
        stray, missing = set(given) - set(self.names), set(self.required) - set(given)
        if stray or missing:
            wrong = f"{min(stray)!r} is none of" if stray else f"{min(missing)!r} is missing in"
            raise TypeError(f"Report {self.report!r}: {wrong} ({', '.join(self.names)}).")
        codec = self._ready()
        assert codec.type is not None  # noqa: S101  # see _ready
        plain: dict[str, Any] = json.loads(
            codec.dump(codec.type(**given), settings().payload_limit)
        )
        return plain

    def restored(self, canonical: Any) -> dict[str, Any]:
        """
        The arguments of the function, from what a row holds.

        Raises:
            BadPayload: they do not fit the signature that the function has by now.
        """
        if isinstance(canonical, Mapping) and (stray := set(canonical) - set(self.names)):
            raise BadPayload(self.report, min(stray), "is no parameter any more")
        record = self._ready().load(canonical, 1)
        return {name: getattr(record, name) for name in self.names}

    def _ready(self) -> Codec:
        # On first use: an annotation may name what is defined below the report.
        if self._codec is None:
            hints = typing.get_type_hints(self._function)
            fields: list[Any] = []
            for parameter in self._declared():
                default = parameter.default
                has_none = default is parameter.empty
                extra = () if has_none else (dataclasses.field(default=default),)
                fields.append((parameter.name, hints[parameter.name], *extra))
            record = dataclasses.make_dataclass(
                "Parameters", fields, kw_only=True, namespace={"__module__": __name__}
            )
            self._codec = Codec(self.report, record, 1, {})
        return self._codec

    def _declared(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self._function).parameters.values())[self._skipped :]


def identity_of(report: str, schema: int, canonical: Mapping[str, Any]) -> str:
    """64 hex digits: the same for the same report, schema and parameters, on every host and day."""
    told = [report, schema, canonical]  # JSON, so that no two parts can be read as one
    text = json.dumps(told, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()
