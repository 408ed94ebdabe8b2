"""Guards of what tells a person."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_ALERTS, _CHANNELS, _LOOKING = "watch/alerts.py", "watch/channels.py", "watch/looking.py"
_TESTS = "watch/test_alerts.py::"

WATCH: tuple[Mutant, ...] = (
    mutant(
        "an alert is told by whoever sees it",
        "P7: a fleet of twenty writes twenty mails",
        (_ALERTS, "return due.update(last_tried_at=DbNow(), **to_all) == 1",
         "due.update(last_tried_at=DbNow(), **to_all)\n    return True"),
        by=(_TESTS + "test_who_saw_that_an_alert_is_untold_and_came_second_tells_nothing",),
        on="postgres",
    ),
    mutant(
        "an alert is over where nobody could look",
        "P7: a rule that raises gives the all-clear",
        (_ALERTS, "            continue\n        swept.seen", "            findings = []\n        swept.seen"),
        by=(_TESTS + "test_a_rule_that_raises_stops_no_other_and_ends_no_alert",),
    ),
    mutant(
        "an alert that a channel refused is forgotten",
        "P7: the chat was down, and nobody was told",
        (_ALERTS, "            continue\n        for owed in left", "            pass\n        for owed in left"),
        by=(_TESTS + "test_mail_that_cannot_be_sent_is_owed",),
    ),
    mutant(
        "an alert is told once and for all",
        "P7: two million rows after three months",
        (_ALERTS, "((untold, every), (lasting, every), (owed, None))", "((untold, every), (owed, None))"),
        by=(_TESTS + "test_it_is_told_again_each_day_while_it_lasts",),
    ),
    mutant(
        "an alert waits for a mail server that hangs",
        "R5: the relay waits for it in the same thread",
        (_CHANNELS, "    thread.join(seconds)\n", "    thread.join()\n"),
        by=(_TESTS + "test_a_mail_server_that_hangs_holds_up_neither_the_sweep_nor_the_others",),
    ),
    mutant(
        "a stranger makes the health view ask the databases",
        "R5: anybody can load them",
        (_LOOKING, "if look is None or look.age > (GIVEN_UP if look.hangs else self._fresh_for):", "if True:"),
        by=("watch/test_health.py::test_who_asks_often_costs_no_more",),
    ),
)  # fmt: skip
