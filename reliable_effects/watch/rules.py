"""
What a person must know, as rules over the facts: each is a function, and its findings are alerts.

Another is one more function with `@rule("name")`, here or in a module that is imported at start-up.
What it needs beyond the facts it asks of `using`, bounded and by index, for it is asked every minute
on every database.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from django.db import Error

from ..clock import DbNow, spoken
from ..conf import MOST_COUNTED, settings
from ..idempotency.models import IdempotencyRecord
from ..inbox.models import InboxMessage
from ..outbox.reconnect import mend
from ..reconcile.findings import Finding as Found
from ..reconcile.models import Tier
from ..reconcile.sweeps import RECONCILE, RECONCILE_ALL
from . import failing, status
from .debts import Debts
from .looking import Looks
from .models import Alert
from .status import Database, shown

logger = logging.getLogger("reliable_effects")

ERROR, WARNING = Alert.Level.ERROR, Alert.Level.WARNING

MOST_FINDINGS = 200  # of one rule: more names than that are one trouble
_PATIENCE = 3.0  # seconds for all other databases: one that hangs must not silence the others


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong with *subject*, which tells one alert of a rule from another."""

    subject: str
    text: str
    level: Alert.Level = ERROR


Rule = Callable[[str, Database], Iterable[Finding]]

rules: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Ask this function too. The same name again takes the place of the first."""

    def add(function: Rule) -> Rule:
        rules[name] = function
        return function

    return add


def ask(name: str, database: Database) -> list[Finding] | None:
    """What the rule *name* finds; None where it could not say, which is no all-clear."""
    try:
        return list(islice(rules[name](database.alias, database), MOST_FINDINGS))
    except Exception as error:
        # Whatever a rule raises, the others are asked.
        logger.exception("the rule %s could not be asked on %s", name, database.alias)
        if isinstance(error, Error):
            mend(database.alias)
        return None


def could_not_ask(name: str, using: str) -> str:
    return f"the rule {name} could not be asked on {using}: see the log"


def needs_a_person(databases: Iterable[Database]) -> list[str]:
    """What nobody but a person can mend, in sentences."""
    told = []
    for database in databases:
        if database.problem:
            told.append(_unreadable(database.alias, database.problem))
            continue
        for name in rules:
            findings = ask(name, database)
            if findings is None:
                told.append(could_not_ask(name, database.alias))
            told += [finding.text for finding in findings or () if finding.text not in told]
    return told


def _unreadable(alias: str, problem: str) -> str:
    return f"database {alias} cannot be read: {problem}"


# The sweeps


@rule("sweep")
def _stopped(using: str, facts: Database) -> Iterator[Finding]:
    for sweep in facts.sweeps:
        if sweep.is_stale:
            ran = "has never run" if sweep.age is None else f"last ran {spoken(sweep.age)} ago"
            yield Finding(sweep.name, f"sweep {sweep.name} on {using} {ran}")


@rule("sweep_cut_short")
def _cut_short(using: str, facts: Database) -> Iterator[Finding]:
    for sweep in facts.sweeps:
        if sweep.is_cut_short_again:
            yield Finding(
                sweep.name,
                f"sweep {sweep.name} on {using} was cut short {sweep.truncated_runs} times running,"
                f" for {spoken(sweep.truncated_for or timedelta(0))}",
                WARNING,
            )


@rule("sweep_silent")
def _silent(using: str, facts: Database) -> Iterator[Finding]:
    for sweep in facts.sweeps:
        if sweep.silence is not None:
            yield Finding(
                sweep.name,
                f"sweep {sweep.name} on {using} has seen nothing for {spoken(sweep.silence)},"
                " and always saw something before",
                WARNING,
            )


# The queues


@rule("unconsumed")
def _unconsumed(using: str, facts: Database) -> Iterator[Finding]:
    for queue in facts.queues:
        if not queue.is_consumed:
            yield Finding(queue.name, f"nobody consumes the queue {queue.name} on {using}")


@rule("late")
def _late(using: str, facts: Database) -> Iterator[Finding]:
    for queue in facts.queues:
        if queue.is_late and queue.is_consumed and queue.oldest_due is not None:
            late = spoken(queue.oldest_due)
            yield Finding(
                queue.name, f"the oldest due delivery in {queue.name} on {using} is {late} late"
            )


@rule("paused")
def _paused(using: str, facts: Database) -> Iterator[Finding]:
    for paused in facts.paused:
        if paused.ends_in is None and paused.age > settings().alert_paused_after:
            text = f"{paused.effect} on {using} has been paused for {spoken(paused.age)}"
            yield Finding(paused.effect, f"{text} by {paused.by}: {paused.why}", WARNING)


# What waits for a person


@rule("poisoned")
def _poisoned(using: str, facts: Database) -> Iterator[Finding]:
    known = settings()
    by_effect: Counter[str] = Counter()
    for (effect, _), count in facts.poisoned.items():
        by_effect[effect] += count
    for effect, count in sorted(by_effect.items()):
        age = facts.oldest_poisoned[effect]
        if count >= known.alert_poison_count or age > known.alert_poison_age:
            reasons = [(reason, n) for (of, reason), n in facts.poisoned.items() if of == effect]
            told = reasons[0][0]
            if len(reasons) > 1:
                told = ", ".join(f"{reason} {shown(n)}" for reason, n in sorted(reasons))
            yield Finding(effect, f"{shown(count)} poisoned {effect} {told} on {using}")


@rule("uncertain")
def _uncertain(using: str, facts: Database) -> Iterator[Finding]:
    for effect, count in sorted(facts.uncertain.items()):
        yield Finding(effect, f"{shown(count)} uncertain {effect} on {using}")


@rule("uncertain_request")
def _uncertain_request(using: str, facts: Database) -> Iterator[Finding]:  # noqa: ARG001  # as below
    waiting = IdempotencyRecord.objects.using(using).uncertain().order_by("state", "created_at")
    by_operation = Counter(waiting.values_list("operation", flat=True)[:MOST_COUNTED])
    for operation, count in sorted(by_operation.items()):
        text = f"{shown(count)} idempotent requests of {operation} on {using} are uncertain"
        yield Finding(operation, f"{text}: a person has to say what became of them")


@rule("conflicted")
def _conflicted(using: str, facts: Database) -> Iterator[Finding]:  # noqa: ARG001  # asked by itself
    """For a day: a person asks the sender, and there is nothing here that could be mended."""
    lately = InboxMessage.objects.using(using).filter(conflicted_at__gt=DbNow() - _ASKED_FOR)
    names = lately.order_by("conflicted_at").values_list("consumer", flat=True)[:MOST_COUNTED]
    for consumer, count in sorted(Counter(names).items()):
        text = f"{shown(count)} messages of {consumer} on {using} came again with another payload"
        yield Finding(consumer, text)


_ASKED_FOR = timedelta(days=1)


# Jobs, and what is owed


@rule("jobs")
def _jobs(using: str, facts: Database) -> Iterator[Finding]:
    for jobs in facts.jobs:
        told = [
            f"{shown(count)} {what}"
            for count, what in (
                (jobs.late, f"{spoken(jobs.oldest_late)} late" if jobs.oldest_late else ""),
                (jobs.blocked, "blocked"),
                (jobs.missed, "missed"),
            )
            if count
        ]
        if told:
            yield Finding(jobs.table, f"jobs of {jobs.table} on {using}: {', '.join(told)}")


@rule("owed_query")
def _owed_query(using: str, facts: Database) -> Iterator[Finding]:
    for effect, walks in _by_effect(facts):
        failed = [walk.problem for walk in walks if walk.problem]
        if failed:
            text = f"what is owed to {effect} on {using} cannot be asked ({_kind(failed[0])})"
            yield Finding(effect, text)
        elif rows := _most(walks, Found.UNREADABLE):
            text = f"{rows} owed to {effect} on {using} cannot be promised"
            yield Finding(effect, f"{text}: debt= or payload= failed for them, see the log")


@rule("unaccounted")
def _unaccounted(using: str, facts: Database) -> Iterator[Finding]:
    for effect, walks in _by_effect(facts):
        # Whatever one of them promises, the others find waiting: so each counts those of its own.
        missing = sum(max(walk.promised, walk.found.get(Found.UNACCOUNTED, 0)) for walk in walks)
        if missing:
            text = f"{missing} owed to {effect} on {using} had been promised by nobody"
            yield Finding(effect, text, WARNING)


@rule("contradiction")
def _contradiction(using: str, facts: Database) -> Iterator[Finding]:
    for effect, walks in _by_effect(facts):
        if count := _most(walks, Found.CONTRADICTION):
            yield Finding(effect, f"{count} {effect} on {using} succeeded, and are still owed")


@rule("walk")
def _walk(using: str, facts: Database) -> Iterator[Finding]:
    behind = {sweep.name for sweep in facts.sweeps if sweep.truncated}
    for effect, walks in _by_effect(facts):
        for walk in walks:
            sweep, which = _TIERS[walk.tier]
            # After a long stop some wait for their turn. Why one fails is an alert by itself.
            has_its_turn = walk.is_under_way or sweep not in behind
            if walk.is_overdue and has_its_turn and not walk.problem and walk.age is not None:
                text = f"what is {which}owed to {effect} on {using} was last looked through"
                yield Finding(f"{effect} {walk.tier}", f"{text} {spoken(walk.age)} ago", WARNING)


_TIERS = {Tier.ALL.value: (RECONCILE_ALL, ""), Tier.RECENT.value: (RECONCILE, "lately ")}


def _by_effect(facts: Database) -> list[tuple[str, list[Debts]]]:
    walks: dict[str, list[Debts]] = {}
    for walk in facts.debts:
        walks.setdefault(walk.effect, []).append(walk)
    return list(walks.items())


def _most(walks: list[Debts], finding: Found) -> int:
    """What is recent is among all, and newer."""
    return max(walk.found.get(finding, 0) for walk in walks)


# Effects, and databases


@rule("failing")
def _failing(using: str, facts: Database) -> Iterator[Finding]:  # noqa: ARG001  # asked by itself
    known = settings()
    for effect in failing.effects(using):
        jump = 100 * (effect.share - effect.usual)
        if effect.failures >= known.alert_failure_count and jump >= known.alert_failure_percent:
            yield Finding(
                effect.effect,
                f"{effect.share:.0%} of the runs of {effect.effect} on {using} fail"
                f" ({effect.failures} of {effect.runs} lately; {effect.usual:.0%} is usual)",
                WARNING,
            )


@rule("database")
def _database(using: str, facts: Database) -> Iterator[Finding]:  # noqa: ARG001  # as above
    """The other databases; the first that can be read says so, since none can tell of itself."""
    aliases = [alias for alias in settings().databases if alias != using]
    others = {each.alias: each.problem for each in _others.at(aliases, _PATIENCE)}
    for alias in settings().databases:
        if alias == using:
            break
        if not others[alias]:
            return  # that one tells
    for alias, problem in others.items():
        if problem:
            yield Finding(alias, f"database {alias} cannot be read ({_kind(problem)}): see the log")


def _kind(problem: str) -> str:
    """Its exception's type alone: a message may hold anything, and goes to chats and mail."""
    return problem.partition(":")[0]


_others = Looks(status.can_be_read)


def forget() -> None:
    """For tests: what hung, hung in another one."""
    _others.forget()
