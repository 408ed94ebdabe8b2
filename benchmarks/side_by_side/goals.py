"""What we want of the figures, and whether a run has it: ratios within that run, never across."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .contenders import CONTENDERS, Kind
from .figures import Ratio, Row, is_noise, noise, ratio

Rows = Sequence[Row]
Value = Ratio | float | None


@dataclass(frozen=True)
class Goal:
    work: str
    what: str
    bound: float
    at_least: bool
    measured: Callable[[Rows], Value]
    unit: str = ""  # "" is a ratio

    def verdict(self, rows: Rows, stray: float) -> str:
        """Met, missed, or not measured; *stray* is how far ratios stray with nothing behind them."""
        value = self.measured(rows)
        if value is None:
            return "not measured"
        number = value.median if isinstance(value, Ratio) else value
        is_met = number >= self.bound if self.at_least else number <= self.bound
        word = "met" if is_met else "missed"
        return f"{word}, within the noise" if is_noise(value, self.bound, stray) else word

    def bound_text(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{self.unit and ' ' + self.unit}"


def measured_text(value: Value, unit: str) -> str:
    if value is None:
        return "–"  # noqa: RUF001  # a dash
    if isinstance(value, Ratio):
        return str(value)
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}{unit and ' ' + unit}"  # noqa: PLR2004


def find(rows: Rows, work: str, contender: str, measure: str) -> Row | None:
    wanted = (work, contender, measure)
    return next((r for r in rows if (r.work, r.contender, r.measure) == wanted), None)


def stray_of(rows: Rows) -> float:
    """From the floors that were measured against themselves; 0 where none was."""
    return noise([value for row in rows if row.contender == "floor" for value in row.values])


def _pairwise(
    work: str, above: str, below: str, measure: str, times: float = 1.0
) -> Callable[[Rows], Value]:
    """*above* to *times* *below*, from rows whose values were taken in turn."""

    def measured(rows: Rows) -> Value:
        one, other = find(rows, work, above, measure), find(rows, work, below, measure)
        if one is None or other is None or len(one.values) != len(other.values):
            return None
        if min(other.values) <= 0:
            return one.median / (other.median * times) if other.median > 0 else None
        return ratio(one.values, [value * times for value in other.values])

    return measured


def _against_peers(
    work: str,
    measure: str,
    who: str,
    best: Callable[[Iterable[float]], float],
    *,
    p99: bool = False,
) -> Callable[[Rows], Value]:
    """*who* to the best durable peer, or relay, by the median (or the p99) of each."""

    def measured(rows: Rows) -> Value:
        mine = find(rows, work, who, measure)
        theirs = [
            value
            for one in CONTENDERS
            if one.kind in (Kind.DURABLE, Kind.RELAY)
            and (row := find(rows, work, one.name, measure)) is not None
            and (value := row.p99 if p99 else row.median) is not None
        ]
        value = mine and (mine.p99 if p99 else mine.median)
        return value / best(theirs) if value and theirs else None

    return measured


def _drain_ratio(who: str, mine: str, below: str) -> Callable[[Rows], Value]:
    def measured(rows: Rows) -> Value:
        one, other = find(rows, "drain", who, mine), find(rows, "drain", below, _NOOP)
        if one is None or other is None:
            return None
        if len(one.values) == len(other.values):
            return ratio(one.values, other.values)
        return one.median / other.median

    return measured


def _drain_to_peers(who: str, mine: str) -> Callable[[Rows], Value]:
    def measured(rows: Rows) -> Value:
        one = find(rows, "drain", who, mine)
        theirs = [
            row.median
            for peer in CONTENDERS
            if peer.kind in (Kind.DURABLE, Kind.RELAY)
            and (row := find(rows, "drain", peer.name, _NOOP)) is not None
        ]
        return one.median / max(theirs) if one and theirs else None

    return measured


def _plain(work: str, who: str, measure: str) -> Callable[[Rows], Value]:
    def measured(rows: Rows) -> Value:
        row = find(rows, work, who, measure)
        return row.median if row else None

    return measured


def _sizes(what: str) -> Callable[[Rows], Value]:
    def measured(rows: Rows) -> Value:
        large = find(rows, "growth", "ours", f"{what}, large")
        small = find(rows, "growth", "ours", f"{what}, small")
        return ratio(large.values, small.values) if large and small else None

    return measured


def _held(measure: str) -> Callable[[Rows], Value]:
    def measured(rows: Rows) -> Value:
        under = find(rows, "snapshot", "ours", f"{measure}, under a snapshot")
        without = find(rows, "snapshot", "ours", f"{measure}, no snapshot")
        return under.median / without.median if under and without and without.median else None

    return measured


def _grown(work: str, measure: str, who: str) -> Callable[[Rows], Value]:
    """The last value to the first."""

    def measured(rows: Rows) -> Value:
        row = find(rows, work, who, measure)
        return row.values[-1] / row.values[0] if row else None

    return measured


def _above_bare(rows: Rows) -> Value:
    measure = "a worker of 2 processes"
    ours, bare = (find(rows, "memory", who, measure) for who in ("ours_redis", "celery_redis"))
    return ours.median - bare.median if ours and bare else None


def _broker_down(who: str, how: str) -> Callable[[Rows], Value]:
    def measured(rows: Rows) -> Value:
        healthy = find(rows, "broker_down", who, "order + 1 effect, broker healthy")
        down = find(rows, "broker_down", who, f"order + 1 effect, broker {how}, all others")
        if healthy is None or down is None or healthy.p99 is None or down.p99 is None:
            return None
        return down.p99 - healthy.p99

    return measured


_NOOP, _HARMLESS = "no-op effects", "harmless no-op effects"
_ONE, _TEN = "order + 1 effect", "order + 10 effects"
_COMMIT = "commit to begin, 20/s"
_LAST = "ten of 100 ms: the last begins"
_BROKERS = {"Redis": ("ours_redis", "celery_redis"), "RabbitMQ": ("ours_rabbit", "celery_rabbit")}


def _all() -> list[Goal]:
    goals = []
    for broker, (ours, celery) in _BROKERS.items():
        goals += [
            Goal(
                "request", f"ten effects with their hint, to ten `delay()`, {broker}", 0.25, False,
                _pairwise("request", ours, celery, _TEN),
            ),
            Goal(
                "request", f"one effect with its hint, to one `delay()`, {broker}", 1.0, False,
                _pairwise("request", ours, celery, _ONE),
            ),
            Goal(
                "request", f"ten effects with their hint, to the cheapest durable peer, {broker}",
                1.0, False, _against_peers("request", _TEN, ours, min),
            ),
        ]  # fmt: skip
    goals += [
        Goal(
            "request", "the emit alone, to the raw statement, ten effects", 1.2, False,
            _pairwise("request", "ours", "raw_sql", _TEN),
        ),
        Goal(
            "request", "each further effect, from 1 to 100", 20, False,
            _plain("request", "ours_redis", "each further effect, 1 to 100"), "µs",
        ),
    ]  # fmt: skip
    for database in ("sqlite", "mariadb"):
        goals.append(
            Goal(
                f"portable, {database}", f"ten effects on {database}, to ten `delay()` on Redis",
                0.5, False, _pairwise(f"portable, {database}", "ours_redis", "celery_redis", _TEN),
            )
        )  # fmt: skip
    for who, title in (("ours", "`effects_worker`"), ("ours_redis", "Celery on Redis"), ("ours_rabbit", "Celery on RabbitMQ")):  # fmt: skip
        celery = "celery_rabbit" if who == "ours_rabbit" else "celery_redis"
        goals += [
            Goal("drain", f"{title}, to the hand-written task", 3, True, _drain_ratio(who, _NOOP, celery)),
            Goal("drain", f"{title}, to the best durable peer", 3, True, _drain_to_peers(who, _NOOP)),
            Goal("drain", f"harmless, {title}, to the hand-written task", 12, True, _drain_ratio(who, _HARMLESS, celery)),
            Goal("drain", f"harmless, {title}, to the best durable peer", 12, True, _drain_to_peers(who, _HARMLESS)),
            Goal("drain", f"harmless, {title}", 5000, True, _plain("drain", who, _HARMLESS), "/s"),
        ]  # fmt: skip
    for broker, (ours, celery) in _BROKERS.items():
        goals += [
            Goal("latency", f"p50, to plain Celery, {broker}", 1.5, False, _medians("latency", ours, celery, _COMMIT)),
            Goal("latency", f"p50, to the quickest durable peer, {broker}", 1.0, False, _against_peers("latency", _COMMIT, ours, min)),
            Goal("latency", f"p99, to the quickest durable peer, {broker}", 1.0, False, _against_peers("latency", _COMMIT, ours, min, p99=True)),
            Goal("fan_out", f"ten of 100 ms, to ten `delay()`, {broker}", 1.2, False, _medians("fan_out", ours, celery, _LAST)),
        ]  # fmt: skip
    for what in ("take 10 by scan", "claim 1 by id", "claim 9 as a group", "sweep: rescue", "sweep: prune"):  # fmt: skip
        goals.append(Goal("growth", f"{what}, many rows to few", 1.3, False, _sizes(what)))
    goals += [
        Goal("snapshot", "p50 at 500/s, under a snapshot to without", 1.5, False, _held("commit to begin at 500/s")),
        Goal("snapshot", "rate of a backlog, under a snapshot to without", 0.9, True, _held("rate of a backlog")),
        Goal("wal", "WAL from emit to prune", 2048, False, _plain("wal", "ours", "WAL, from emit to prune"), "B"),
        Goal("wal", "tables, last to first of the second half", 1.1, False, _grown("wal", "tables, second half of the time", "ours")),
        Goal("memory", "a worker above a bare one", 15, False, _above_bare, "MB"),
        Goal("memory", "a worker, last to first", 1.05, False, _grown("memory", "a worker of 2 processes", "ours_redis")),
    ]  # fmt: skip
    for broker, (ours, _) in _BROKERS.items():
        for how in ("dead", "hung"):
            goals.append(Goal("broker_down", f"p99, {broker} {how}, above healthy", 1, False, _broker_down(ours, how), "ms"))  # fmt: skip
    return goals


def _medians(work: str, above: str, below: str, measure: str) -> Callable[[Rows], Value]:
    """Of samples that make no pairs."""

    def measured(rows: Rows) -> Value:
        one, other = find(rows, work, above, measure), find(rows, work, below, measure)
        return one.median / other.median if one and other and other.median > 0 else None

    return measured


GOALS = _all()
