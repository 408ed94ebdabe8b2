"""
The order of the blows: seeded, one at a time, each undone before the next.

Every fault that is offered comes before any comes again, so that a short run is not all kills.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence

from tests.chaos.faults import Fault
from tests.chaos.history import Blow
from tests.chaos.journal import now
from tests.chaos.stage import Stage


class Nemesis:
    def __init__(
        self, stage: Stage, faults: Sequence[Fault], *, seed: int, rest: float,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        """*rest*: seconds between two blows."""
        self._stage, self._faults, self._rest, self._say = stage, faults, rest, say
        self._dice = random.Random(f"{seed}-nemesis")
        self.blows: list[Blow] = []

    def rage(self, seconds: float) -> None:
        """Until *seconds* are over; the last blow is undone."""
        until = time.monotonic() + seconds
        for chosen in self._order():
            if time.monotonic() + self._rest >= until:
                break
            time.sleep(self._rest * self._dice.uniform(0.5, 1.5))  # it is the pace of the blows
            self._strike(chosen)

    def _order(self) -> Iterator[Fault]:
        while True:
            round_ = list(self._faults)
            self._dice.shuffle(round_)
            yield from round_

    def _strike(self, chosen: Fault) -> None:
        began_at = now()
        work = chosen.work(self._stage, self._dice)
        try:
            done = next(work, None)
            if done is None:
                return  # nobody was there to be hit
            told, seconds, struck = done
            self._say(told)
            time.sleep(seconds)  # how long it lasts
            next(work, None)
        except Exception as error:  # noqa: BLE001  # the blow before may have left it in no state
            self._say(f"{chosen.name} could not be done: {type(error).__name__}: {error}")
            return
        finally:
            work.close()
            self._stage.heal()
        self.blows.append(
            Blow(
                name=chosen.name, began_at=began_at, ended_at=now(), struck=struck, told=told
            )
        )  # fmt: skip
