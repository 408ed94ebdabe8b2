"""
Planted bugs: each is put into a copy of the code, a short run is made from there, and the checker
must find what is wrong, of the kind that is expected. The checker is worth what it catches.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.checker import Kind
from tests.faults.mutants.mutant import Edit, edited

ROOT = Path(__file__).parents[2]
_PATIENCE = 600.0  # seconds for one run
_SHOP = "../example_project/shop/"
_PARTNERS = "../example_project/partners/"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What it takes to see a bug."""

    faults: str
    seconds: int
    pace: float  # seconds between a customer's orders


@dataclass(frozen=True, kw_only=True)
class Plant:
    name: str
    expected: Kind
    edits: tuple[Edit, ...]
    under: Conditions

    def put_into(self, tree: Path) -> None:
        """
        Raises:
            GuardMoved: a text is not there, or more than once.
        """
        package = tree / "reliable_effects"
        for file, text in edited(self.name, self.edits, package).items():
            (package / file).write_text(text)


def _plant(
    name: str, expected: Kind, *edits: tuple[str, str, str], faults: str = "kill_child",
    seconds: int = 20, pace: float = 1.4,  # enough orders for most, few to wait for
) -> Plant:  # fmt: skip
    return Plant(
        name=name, expected=expected, edits=tuple(Edit(*edit) for edit in edits),
        under=Conditions(faults=faults, seconds=seconds, pace=pace),
    )  # fmt: skip


_OUTBOX = (
    _plant(
        "nobody-rescues", Kind.LOST,
        ("outbox/rescue.py", "            swept.done += _mend(using, row, forgive=forgive)",
         "            continue"),
        faults="kill_worker", seconds=40, pace=0.5,  # workers that are killed have work in hand
    ),
    _plant(
        "nobody-relays", Kind.LOST,
        ("outbox/relay.py", "    queues = list(waiting_queues(using))\n    for", "    queues = []\n    for"),
        faults="wipe_broker",
    ),
    _plant(
        "done-before-it-ran", Kind.LOST,
        ("outbox/run.py", "            else:\n                _called(",
         "            else:\n                complete(claimed)\n                _called("),
    ),
    _plant(
        "a-failure-is-a-success", Kind.LOST,
        ("outbox/run.py", "        return Interrupted(error)\n    return Failed(error)\n",
         "        return Interrupted(error)\n    return Succeeded(seconds)\n"),
    ),
    _plant(
        "doubt-is-a-success", Kind.LOST,
        ("outbox/run.py", "    except Uncertain as asked:\n        return Unsure(asked)",
         "    except Uncertain:\n        return Succeeded(0.0)"),
    ),
    _plant(
        "a-retry-comes-tomorrow", Kind.LOST,
        ("outbox/settle.py", "    rest = claimed.effect.backoff.delay(claimed.attempt)\n",
         "    rest = timedelta(days=1)\n"),
    ),
    _plant(
        "a-lease-is-not-waited-for", Kind.EXTRA,
        ("outbox/rescue.py", "state=State.RUNNING, lease_expires_at__lte=DbNow()",
         "state=State.RUNNING"),
        ("outbox/rescue.py", "claim_token=row.claim_token, lease_expires_at__lte=DbNow()",
         "claim_token=row.claim_token"),
        # What is just being called is a handful of rows: look for them often.
        ("../example_project/settings.py", '    "RESCUE_PERIOD": timedelta(seconds=2),',
         '    "RESCUE_PERIOD": timedelta(seconds=0.5),'),
        faults="wipe_broker", seconds=40,
    ),
    _plant(
        "not-asked-whether-it-is-needed", Kind.PHANTOM,
        ("outbox/run.py", "    if not surely(claimed.using, lambda: is_still_needed(",
         "    if False and not surely(claimed.using, lambda: is_still_needed("),
    ),
    _plant(
        "a-key-for-each-attempt", Kind.REKEYED,
        ("outgoing/send.py", "outgoing_key(claimed.key, claimed.generation)",
         "outgoing_key(claimed.key, claimed.attempt)"),
    ),
    _plant(
        "a-key-for-each-process", Kind.REKEYED,
        ("outgoing/send.py", "outgoing_key(claimed.key, claimed.generation)",
         'outgoing_key(claimed.key, __import__("os").getpid())'),
    ),
)  # fmt: skip

_RECONCILE = (
    _plant(
        "nobody-reconciles", Kind.LOST,
        ("reconcile/sweeps.py", "    for effect in _longest_waiting_first(using, tier):",
         "    for effect in ():"),
        faults="lose_tables",
    ),
    _plant(
        "found-again-under-another-key", Kind.REKEYED,
        ("reconcile/mend.py", "                key=key,\n", '                key=__import__("uuid").uuid4(),\n'),
        faults="lose_tables", seconds=40,
    ),
)  # fmt: skip

_WAY_IN = (
    _plant(
        "a-key-is-not-remembered", Kind.PLACED_TWICE,
        ("idempotency/finish.py", '        "state": RecordState.DONE,',
         '        "state": RecordState.RELEASED,'),
    ),
    _plant(
        "all-keys-are-one", Kind.REPLAYED_WRONGLY,
        ("idempotency/digests.py", '    return _hmacs("key", key)', '    return _hmacs("key", "")'),
        ("idempotency/digests.py",
         "    return any(constant_time_compare(kept, known) for known in _hmacs",
         "    return True or any(constant_time_compare(kept, known) for known in _hmacs"),
    ),
    _plant(
        "a-replay-is-not-the-first-answer", Kind.REPLAYED_WRONGLY,
        ("idempotency/answers.py", '    response = HttpResponse(kept.body or b"", status=kept.status)',
         '    response = HttpResponse((kept.body or b"") + b" ", status=kept.status)'),
    ),
    _plant(
        "an-older-message-wins", Kind.OUT_OF_ORDER,
        ("inbox/versions.py", "    if rows.filter(older).update(", "    if rows.update("),
    ),
    _plant(
        "a-message-is-always-new", Kind.DOUBLED,
        ("inbox/claiming.py", "    if stored is None:\n        logger", "    if True:\n        logger"),
    ),
    _plant(
        "a-message-is-dropped", Kind.LOST,
        (f"{_SHOP}webhooks.py", "        handle(request.headers",
         "        hash(request.body) % 5 and handle(request.headers"),
    ),
)  # fmt: skip

_SHOPS = (
    _plant(
        "called-inside-the-transaction", Kind.PHANTOM,
        (f"{_SHOP}placing.py", "            # As late as can be, on purpose",
         ("            import requests, os\n"
         '            requests.post(os.environ["PARTNERS_URL"] + "/mail", json={"order": reference},\n'
         '                          headers={"Idempotency-Key": reference}, timeout=3)\n'
         "            # As late as can be, on purpose")),
    ),
    _plant(
        "declined-and-kept", Kind.PHANTOM,
        (f"{_SHOP}placing.py",
         "            if card == DECLINED_CARD:\n                raise CardDeclined(reference)\n    except",
         "        if card == DECLINED_CARD:\n            raise CardDeclined(reference)\n    except"),
    ),
    _plant(
        "acknowledged-and-gone", Kind.LOST,
        (f"{_SHOP}placing.py", "        return Order.objects.get(reference=reference)\n    return order",
         ("        return Order.objects.get(reference=reference)\n"
         "    if order.pk % 20 == 7:\n"
         "        Order.objects.filter(pk=order.pk).delete()\n    return order")),
    ),
    _plant(
        "set-aside-at-the-first-failure", Kind.LOST,
        ("../example_project/settings.py", '    "MAX_ATTEMPTS": 14,', '    "MAX_ATTEMPTS": 1,'),
    ),
    _plant(
        "points-without-asking", Kind.DOUBLED,
        (f"{_SHOP}effects.py", "    account, _ = LoyaltyAccount.objects.get_or_create(email=order.email)",
         ("    account, _ = LoyaltyAccount.objects.get_or_create(email=order.email)\n"
         "    if order.pk % 9 == 4:\n"
         "        LoyaltyEntry.objects.create(account=account, order=order, points=points)")),
    ),
    _plant(
        "a-partner-forgets-its-keys", Kind.ANSWERS_DIFFER,
        (f"{_PARTNERS}ledger.py", "            answer = first or {", "            answer = {"),
        faults="kill_child", seconds=40,
    ),
)  # fmt: skip

PLANTS: tuple[Plant, ...] = (*_OUTBOX, *_RECONCILE, *_WAY_IN, *_SHOPS)


def main(name: str, *, database: str, broker: str) -> int:
    """Plant *name* (several, with commas between, or "all"); 0 where the checker caught each."""
    names = {plant.name for plant in PLANTS} if name == "all" else set(name.split(","))
    if unknown := names - {plant.name for plant in PLANTS}:
        print(f"There is no plant {', '.join(sorted(unknown))}. There are: "
              f"{', '.join(p.name for p in PLANTS)}.")  # fmt: skip
        return 2
    chosen = [plant for plant in PLANTS if plant.name in names]
    # A checker that always finds something would catch all of them.
    conditions = dict.fromkeys(plant.under for plant in chosen)
    accused = [under for under in conditions if not _is_acquitted(under, database, broker)]
    escaped = [plant.name for plant in chosen if not _is_caught(plant, database, broker)]
    print(f"{len(conditions)} runs without a bug, {len(accused)} of them not found sound.")
    print(f"{len(chosen)} plants, {len(escaped)} of them not caught. {', '.join(escaped)}".rstrip())
    return 1 if escaped or accused else 0


def _is_acquitted(under: Conditions, database: str, broker: str) -> bool:
    """Whether the code as it is, under the same conditions, is found sound."""
    found = _found(None, under, database, broker)
    verdict = "sound" if found == {} else "NOT SOUND"
    print(f"no bug, {under.faults}, {under.seconds} s: {verdict} ({_counted(found)})", flush=True)
    return found == {}


def _is_caught(plant: Plant, database: str, broker: str) -> bool:
    begun = time.monotonic()
    found = _found(plant, plant.under, database, broker)
    caught = plant.expected in (found or {})
    verdict = "caught" if caught else "NOT CAUGHT"
    seconds = time.monotonic() - begun
    print(f"{plant.name}: {verdict} as '{plant.expected}' in {seconds:.0f} s ({_counted(found)})",
          flush=True)  # fmt: skip
    return caught


def _found(
    plant: Plant | None, under: Conditions, database: str, broker: str
) -> dict[str, int] | None:
    """What the checker found in a run with *plant*, by kind; None where the run did not end."""
    with TemporaryDirectory(prefix="effects-plant-") as folder:
        tree = copy_of_the_code(Path(folder) / "tree")
        if plant is not None:
            plant.put_into(tree)
        figures = tree / "figures.json"
        command = [sys.executable, "-m", "tests.chaos", "--seconds", str(under.seconds)]
        command += ["--faults", under.faults, "--database", database, "--broker", broker]
        command += ["--seed", "7", "--pace", str(under.pace), "--json", str(figures), "--soon"]
        ran = subprocess.run(
            command, cwd=tree, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        if not figures.exists():
            print(f"the run did not end\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}")
            return None
        counts = json.loads(figures.read_text())["findings"]
    return {kind: count for kind, count in counts.items() if count}


def _counted(found: dict[str, int] | None) -> str:
    if found is None:
        return "no result"
    return ", ".join(f"{kind} {count}" for kind, count in found.items()) or "nothing"


def copy_of_the_code(tree: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", ".*", "_build")
    for name in ("reliable_effects", "tests", "example_project"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    return tree
