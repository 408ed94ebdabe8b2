"""
What can go wrong, as facts. What an effect *asks for* (Snooze, Skip, …) is in `effects.outcomes`.

    ReliableEffectsError
    ├── OutsideTransaction      emit(), schedule() … with no transaction open
    ├── InsideTransaction       an idempotent view was called with a transaction open around it
    ├── BadPayload              a payload that cannot be stored, or read back
    ├── BadSubject              emit() was given another thing than the event's subject
    ├── BadSchedule             an argument of schedule() that no job could be made of
    ├── AlreadyScheduled        schedule(on_conflict="raise"), and a job stands under the key
    ├── BadPause                an effect cannot be paused like this
    ├── EmittedTwice            one run of an effect emitted the same event twice
    ├── UnknownEvent            a name that this release does not declare
    ├── UnknownEffect
    ├── DeclaredTwice           two declarations claim one name
    ├── BadMessage              an id or a payload that no message can be known by
    ├── MessageBusy             another transaction is handling the message at this moment
    ├── MessageConflicted       the message was handled, with another payload
    ├── MessageTooEarly         only_newer(exactly_next=True), and others are missing before it
    ├── SentInsideTransaction   ctx.send() with a transaction open
    ├── SendError               a call to a partner that did not succeed; see outgoing.errors
    ├── LeaseLost               the delivery belongs to somebody else by now
    ├── KeyTakenOver            another request holds this request's idempotency key by now
    ├── EffectTimeout           an effect ran longer than its `timeout`
    ├── BlobMissing             a report's blob is not in its store
    ├── BlobExists              a store was given a key that it holds already
    └── BlobCorrupted           what a store holds is not what was written
"""

from __future__ import annotations

from datetime import timedelta


class ReliableEffectsError(Exception):
    """The root: `except ReliableEffectsError` catches everything this app raises on purpose."""


class OutsideTransaction(ReliableEffectsError):
    """emit() or its like was called with no transaction open: row and change could part ways."""

    def __init__(self, name: str, using: str, call: str = "emit") -> None:
        self.name, self.using = name, using
        super().__init__(
            f"{call}({name!r}) needs an open transaction on the database {using!r}."
            " Put it and the change it announces in one"
            f" transaction.atomic({'' if using == 'default' else f'using={using!r}'}) block."
        )


class InsideTransaction(ReliableEffectsError):
    """An idempotent view's key could not be claimed by itself: a transaction is open around it."""

    def __init__(self, view: str, using: str) -> None:
        self.view, self.using = view, using
        super().__init__(
            f"{view} was called inside an open transaction on the database {using!r}, so its"
            " idempotency key could not be claimed before it runs. If it is ATOMIC_REQUESTS, put"
            " @transaction.non_atomic_requests"
            f"{'' if using == 'default' else f'(using={using!r})'} on the whole view; @idempotent"
            " opens a transaction of its own. Else take the atomic() around it away."
        )


class BadPayload(ReliableEffectsError):
    """A payload does not fit its declaration, JSON, or the limit; `path` names the place."""

    def __init__(self, name: str, path: str, problem: str) -> None:
        self.name, self.path, self.problem = name, path, problem
        super().__init__(f"Payload of {name!r}, {path or 'as a whole'}: {problem}")


class BadSubject(ReliableEffectsError):
    """The subject is not an instance the event was declared about, or has no primary key yet."""

    def __init__(self, name: str, problem: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"Subject of {name!r}: {problem}")


class BadSchedule(ReliableEffectsError, ValueError):
    """A job cannot be made of this: `argument` says of what, `problem` why."""

    def __init__(self, name: str, argument: str, problem: str) -> None:
        self.name, self.argument, self.problem = name, argument, problem
        super().__init__(f"Schedule of {name!r}, {argument}= {problem}")


class BadPause(ReliableEffectsError, ValueError):
    """An effect cannot be paused like this; nothing was changed."""

    def __init__(self, effect: str, problem: str) -> None:
        self.effect, self.problem = effect, problem
        super().__init__(f"Pause of {effect!r}: {problem}")


class AlreadyScheduled(ReliableEffectsError):
    """A job stands under this key, and the caller wanted none to."""

    def __init__(self, name: str, key: str) -> None:
        self.name, self.key = name, key
        super().__init__(
            f"A job of {name!r} stands under the key {key!r}."
            " Move it with reschedule(), or say on_conflict='replace' or 'keep'."
        )


class EmittedTwice(ReliableEffectsError):
    """
    One run of an effect emitted the same event about the same subject twice.

    The child's identity is derived from the parent's, so that a repeated run repeats no event.
    Two children with one identity would be one.
    """

    def __init__(self, event: str, subject: str) -> None:
        self.event, self.subject = event, subject
        super().__init__(
            f"This run has already emitted {event!r} about {subject}."
            " Tell the two apart: emit(…, once='first') and emit(…, once='second')."
        )


class UnknownEvent(ReliableEffectsError, LookupError):
    """No event of this name is declared in this release."""


class UnknownEffect(ReliableEffectsError, LookupError):
    """No effect of this name is declared in this release."""


class DeclaredTwice(ReliableEffectsError):
    """Two declarations claim the same name (or alias), so a row could not say which it means."""

    def __init__(self, kind: str, name: str, places: tuple[str, str]) -> None:
        self.kind, self.name, self.places = kind, name, places
        super().__init__(
            f"The {kind} name {name!r} is claimed in {places[0]} and in {places[1]}."
            " Rows are found by this name: give one of them another."
        )


class BadMessage(ReliableEffectsError, ValueError):
    """No message can be known by this: `part` is "id" or "payload", `problem` says why."""

    def __init__(self, part: str, problem: str) -> None:
        self.part, self.problem = part, problem
        super().__init__(f"The {part} of a message {problem}")


class MessageBusy(ReliableEffectsError):
    """
    Another transaction is handling the message at this moment, and may still roll back.

    So it is no duplicate yet, and must not be acknowledged: answer 503, or let the task be retried.
    """

    def __init__(self, consumer: str, message_id: str) -> None:
        self.consumer, self.message_id = consumer, message_id
        super().__init__(
            f"{consumer!r} is handling the message {message_id!r} at this moment."
            " Do not acknowledge it; let the sender come again in a few seconds."
        )


class MessageConflicted(ReliableEffectsError):
    """The sender gave one id to two different messages. The first was handled, this one was not."""

    def __init__(self, consumer: str, message_id: str) -> None:
        self.consumer, self.message_id = consumer, message_id
        super().__init__(
            f"{consumer!r} has handled the message {message_id!r}, with another payload than this."
            " Nothing was done. Ask the sender which of them is meant."
        )


class MessageTooEarly(ReliableEffectsError):
    """Messages before this one are missing: `version` came, `expected` is next."""

    def __init__(self, model: str, version: int, expected: int) -> None:
        self.model, self.version, self.expected = model, version, expected
        super().__init__(
            f"{model}: version {version} came, and {expected} is next."
            " Let it come again when the others have arrived."
        )


class SentInsideTransaction(ReliableEffectsError):
    """ctx.send() would keep locks while a partner thinks, and its commit would wait for yours."""

    def __init__(self, using: str, *, atomic: bool) -> None:
        self.using = using
        mend = (
            "The effect is declared atomic=True: take that out, or let another effect make the call."
            if atomic
            else "Call it after the transaction.atomic() block."
        )
        super().__init__(f"ctx.send() was called in an open transaction on {using!r}. {mend}")


class LeaseLost(ReliableEffectsError):
    """The claim is over: the lease ended and somebody else may be running this delivery."""

    def __init__(self, delivery_id: int) -> None:
        self.delivery_id = delivery_id
        super().__init__(
            f"The lease of delivery {delivery_id} is over; what this run wrote last was refused."
            " Call ctx.heartbeat() more often, or declare a longer timeout=."
        )


class KeyTakenOver(ReliableEffectsError):
    """The request outlived its lease and another took its key: what it wrote is rolled back."""

    def __init__(self, record_id: int) -> None:
        self.record_id = record_id
        super().__init__(
            f"The lease of idempotency record {record_id} is over and another request has its key;"
            " what this one wrote is rolled back. Declare a longer lease= for this view."
        )


class EffectTimeout(ReliableEffectsError):
    """An effect was still running at the end of its `timeout` (or of `max_runtime`)."""

    def __init__(self, effect: str, limit: timedelta) -> None:
        self.effect, self.limit = effect, limit
        super().__init__(f"{effect!r} was still running after {limit.total_seconds():g} s.")


class BlobMissing(ReliableEffectsError):
    """The store holds nothing under this key."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"The report store holds nothing under {key}. Rebuild the report.")


class BlobExists(ReliableEffectsError):
    """Nothing is ever overwritten: whoever reads a blob reads one, from its beginning to its end."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"The report store holds {key} already, and blobs are never overwritten.")


class BlobCorrupted(ReliableEffectsError):
    """What the store holds differs from what was written; `problem` says in what."""

    def __init__(self, key: str, problem: str) -> None:
        self.key, self.problem = key, problem
        super().__init__(f"The blob {key} is not what was written: {problem}.")
