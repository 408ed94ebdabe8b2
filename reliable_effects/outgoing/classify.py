"""
What an answer, or none, means: the one table that decides whether a call may be sent again.

Pure: what was seen and what was known before in, what is known now and what comes next out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import assert_never

from .answers import Answer, Exchanged, Lost, Unsent
from .models import Known


class Next(Enum):
    RETURN = "give the answer to the effect"
    RETRY = "another attempt with the same key"
    GIVE_UP = "no attempt can do"
    CHANGED = "the key stands for another request"
    ASK = "verify, else a person"


@dataclass(frozen=True, slots=True)
class Verdict:
    known: Known
    next: Next
    why: str


_SENT = (Known.UNKNOWN, Known.IN_PROGRESS, Known.DONE)


def may_have_happened(known: Known | str | None) -> bool:
    """Whether a send with that outcome may have been carried out; None: there was none."""
    return known in _SENT


def classify(seen: Exchanged, before: Known | None, *, keyed: bool) -> Verdict:
    """
    *before* is what was known of the call when this was sent, None for the first time; *keyed*,
    whether the partner remembers keys, so that the same request again is harmless.
    """
    verdict = _classify(seen, replay=may_have_happened(before), keyed=keyed)
    if before is Known.DONE:  # what was done is not undone by a worse answer
        return Verdict(Known.DONE, verdict.next, verdict.why)
    return verdict


def _classify(seen: Exchanged, *, replay: bool, keyed: bool) -> Verdict:
    match seen:
        case Unsent(why):
            return Verdict(Known.UNKNOWN if replay else Known.NOT_SENT, Next.RETRY, why)
        case Lost(why):
            return Verdict(Known.UNKNOWN, Next.RETRY if keyed else Next.ASK, why)
        case Answer():
            verdict = _of_code(seen) or _of_status(seen, replay=replay, keyed=keyed)
            return _as_advised(seen, verdict, replay=replay, keyed=keyed)
        case _:
            assert_never(seen)


# What partners that speak of idempotency say in words, whatever the status
_CODES = {
    "operation-in-progress": (Known.IN_PROGRESS, Next.RETRY),
    "operation-uncertain": (Known.UNKNOWN, Next.ASK),
    "outcome-unknown": (Known.UNKNOWN, Next.ASK),
    "operation-abandoned": (Known.UNKNOWN, Next.ASK),
    "operation-not-applied": (Known.REFUSED, Next.GIVE_UP),
    "operation-result-expired": (Known.DONE, Next.ASK),
    "result-expired": (Known.DONE, Next.ASK),
    "idempotency-key-reused": (Known.UNKNOWN, Next.CHANGED),
    "fingerprint-mismatch": (Known.UNKNOWN, Next.CHANGED),
    "idempotency_error": (Known.UNKNOWN, Next.CHANGED),  # Stripe's
}


def _of_code(answer: Answer) -> Verdict | None:
    if answer.status < HTTPStatus.BAD_REQUEST or answer.code not in _CODES:
        return None
    known, following = _CODES[answer.code]
    return Verdict(known, following, f"{answer.status} {answer.code}")


def _of_status(answer: Answer, *, replay: bool, keyed: bool) -> Verdict:  # noqa: PLR0911  # a table
    why = f"the partner answered {answer.status}"
    match answer.status:
        case status if 200 <= status < 300:  # noqa: PLR2004  # success
            if answer.cut:
                return Verdict(Known.DONE, Next.ASK, f"{why}, with more than ANSWER_LIMIT")
            return Verdict(Known.DONE, Next.RETURN, why)
        case HTTPStatus.CONFLICT if keyed or answer.is_transient:
            return Verdict(Known.IN_PROGRESS, Next.RETRY, f"{why}: it is at it")
        case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.TOO_EARLY:
            # A limiter stands before the memory of keys, so it says nothing of an earlier arrival.
            return Verdict(Known.UNKNOWN if replay else Known.TURNED_AWAY, Next.RETRY, why)
        case status if status >= 500 or status in _LIKE_A_FAILURE:  # noqa: PLR2004  # its failure
            if answer.is_replay:
                stored = f"{why} again, as it has stored it; so it would for ever"
                return Verdict(Known.UNKNOWN, Next.ASK, stored)
            return Verdict(Known.UNKNOWN, Next.RETRY if keyed else Next.ASK, why)
        case status if status >= 400 or status in _ELSEWHERE:  # noqa: PLR2004  # our failure
            if replay and not answer.is_replay:
                doubt = f"{why}, which says nothing of the earlier request"
                return Verdict(Known.UNKNOWN, Next.ASK, doubt)
            if keyed and _may_be_about_the_key(answer):
                return Verdict(Known.UNKNOWN, Next.GIVE_UP, why)
            return Verdict(Known.REFUSED, Next.GIVE_UP, why)
        case _:
            return Verdict(Known.UNKNOWN, Next.ASK, f"{why}, and redirects are not followed")


def _may_be_about_the_key(answer: Answer) -> bool:
    """
    It may say that the key was used before, for another body: then something was done under it.

    Partners have no common word for that. 422 is the usual status.
    """
    is_usual = answer.status == HTTPStatus.UNPROCESSABLE_ENTITY
    return is_usual or answer.cut or b"idempoten" in answer.body.lower()


def _as_advised(answer: Answer, verdict: Verdict, *, replay: bool, keyed: bool) -> Verdict:
    """The partner's own word on whether to try again goes before ours."""
    advice = answer.should_retry
    if advice is None or verdict.next in (Next.RETURN, Next.CHANGED):
        return verdict
    if advice:
        # Where no key is remembered it may not be sent twice, whatever is advised.
        harmless = keyed or not may_have_happened(verdict.known)
        return Verdict(verdict.known, Next.RETRY if harmless else Next.ASK, verdict.why)
    if verdict.next is not Next.RETRY:
        return verdict
    why = f"{verdict.why}, and not to try again"
    unsure = replay or may_have_happened(verdict.known)
    return Verdict(verdict.known, Next.ASK if unsure else Next.GIVE_UP, why)


_LIKE_A_FAILURE = (HTTPStatus.FAILED_DEPENDENCY, HTTPStatus.REQUEST_TIMEOUT)
_ELSEWHERE = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)  # "repeat it there"
