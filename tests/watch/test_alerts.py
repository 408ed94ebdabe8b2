"""What is wrong is told once, again while it lasts, and once more when it is over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import Thread

import pytest
from django.db import connection, connections, transaction

from reliable_effects import signals
from reliable_effects.clock import moved
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.sweeps import sweep_all
from reliable_effects.reconcile.models import Tier, Walk
from reliable_effects.watch import alerts, channels, rules
from reliable_effects.watch.alerts import evaluate
from reliable_effects.watch.models import Alert
from reliable_effects.watch.rules import Finding, rule
from tests.outbox.conftest import poisoned_delivery, uncertain_delivery
from tests.sweeps.conftest import at_once
from tests.waiting import eventually
from tests.watch import mail_backends
from tests.watch.conftest import (
    ADMINS,
    DAY,
    HOUR,
    MINUTE,
    ago,
    all_have_swept,
    hangs,
    send_mail_through,
    turn,
)

pytestmark = pytest.mark.django_db

TEXT = "1 poisoned shop.wrap ATTEMPTS_SPENT on default"
PILL = f"alert poisoned: {TEXT}: see Groups of failures in the admin"


@pytest.fixture
def pill() -> Delivery:
    return poisoned_delivery("shop.wrap")


@pytest.fixture
def own_rules(monkeypatch) -> None:
    monkeypatch.setattr(rules, "rules", dict(rules.rules))
    monkeypatch.setattr("reliable_effects.watch.alerts.rules", rules.rules)


@pytest.mark.usefixtures("pill")
def test_what_begins_is_told_once(told):
    """Each minute of a night is no news."""
    for minutes in range(4):
        turn(minutes * MINUTE)

    assert told.log == [PILL]
    assert [kind for kind, _ in told.signals] == ["raised"]


@pytest.mark.usefixtures("pill")
def test_it_is_told_again_each_day_while_it_lasts(told):
    """Else somebody finds two million rows after three months."""
    for hours in (0, 23, 24.1, 47, 48.2):
        turn(hours * HOUR)

    still = PILL.replace(": ", ": still: ", 1)
    assert told.log == [PILL, still, still]
    assert [facts["lasting"] for _, facts in told.signals] == [False, True, True]


def test_it_is_told_when_it_is_over(told, pill):
    """Who was woken may go back to bed."""
    turn()
    pill.delete()

    turn(6 * MINUTE)
    turn(7 * MINUTE)

    assert told.log == [PILL, f"alert poisoned: over: {TEXT}"]
    assert [kind for kind, _ in told.signals] == ["raised", "resolved"]
    assert Alert.objects.get().resolved_at is not None


def test_what_comes_and_goes_is_one_trouble(told, pill):
    """A queue that is late every other minute must not write a message a minute."""
    turn()
    pill.delete()
    turn(3 * MINUTE)
    poisoned_delivery("shop.wrap")

    turn(6 * MINUTE)

    assert told.log == [PILL]


def test_what_returns_after_it_was_over_is_told_anew(told, pill):
    """It was mended, and was not."""
    turn()
    pill.delete()
    turn(6 * MINUTE)
    poisoned_delivery("shop.wrap")

    turn(60 * MINUTE)

    assert told.log[0] == told.log[2] == PILL
    assert Alert.objects.get().count == 2


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_tell_once(told):
    """Every worker sweeps; whoever wins the UPDATE tells."""
    poisoned_delivery("shop.wrap")
    uncertain_delivery("shop.wrap", look_at=None)
    all_have_swept()

    at_once(8, lambda: evaluate("default"))

    uncertain = "alert uncertain: 1 uncertain shop.wrap on default: see Deliveries in the admin"
    assert sorted(told.log) == [PILL, uncertain]
    assert Alert.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="says who waits for a lock")
def test_who_saw_that_an_alert_is_untold_and_came_second_tells_nothing():
    """Both have read it before either writes: the UPDATE decides, not what was read."""
    Alert.objects.create(rule="late", subject="effects", text="late")
    claims, threads = [], []

    def claim():
        claims.append(len(alerts._claim("default")))
        connections.close_all()

    with transaction.atomic():
        list(Alert.objects.select_for_update())
        for _ in range(2):
            threads.append(Thread(target=claim))
            threads[-1].start()
        eventually(lambda: _waiting_for_a_lock() == 2, within=20)
    for thread in threads:
        thread.join(20)

    assert sorted(claims) == [0, 1]


def _waiting_for_a_lock() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_say_once_that_it_is_over(told):
    """The end is told by one of them, too."""
    pill = poisoned_delivery("shop.wrap")
    turn()
    pill.delete()

    with moved(6 * MINUTE):
        all_have_swept()
        at_once(8, lambda: evaluate("default"))

    assert len(told.log) == 2


@pytest.mark.usefixtures("pill")
def test_the_log_says_how_bad_it_is_and_carries_the_facts(told):
    """Trackers go by the level, and group by the message."""
    turn()

    [record] = [record for record in told.records if record.msg.startswith("alert")]
    assert record.levelno == logging.ERROR
    assert record.msg == "alert poisoned: %s"
    assert (record.alert_rule, record.alert_subject, record.alert_state) == (
        "poisoned", "shop.wrap", "raised",
    )  # fmt: skip


def test_an_end_is_no_error_in_the_log(told, pill):
    """It would wake somebody to say that all is well."""
    turn()
    pill.delete()

    turn(6 * MINUTE)

    assert [r.levelno for r in told.records if "over:" in r.getMessage()] == [logging.INFO]


@pytest.mark.usefixtures("pill")
def test_a_receiver_that_raises_stops_nothing(told, webhook):
    """It is the project's code."""

    def broken(sender, **_) -> None:  # noqa: ARG001  # Django's signature
        raise ZeroDivisionError

    signals.alert_raised.connect(broken)
    try:
        turn()
    finally:
        signals.alert_raised.disconnect(broken)

    assert len(webhook.posted) == len(told.log) == 1


# Mail


@pytest.mark.usefixtures("pill")
def test_admins_get_one_mail_for_all_that_is_wrong(settings, mailoutbox):
    """A bad night has many alerts, and one reader."""
    settings.ADMINS = ADMINS
    send_mail_through(settings, "django.core.mail.backends.locmem.EmailBackend")
    uncertain_delivery("shop.charge_card", look_at=None)

    turn()
    turn(MINUTE)

    [message] = mailoutbox
    assert message.to == ["ada@example.com"]
    assert message.subject == (
        "[Django] 1 poisoned shop.wrap ATTEMPTS_SPENT on default (and 1 more)"
    )
    assert "1 uncertain shop.charge_card on default: see Deliveries in the admin" in message.body


@pytest.mark.usefixtures("pill")
@pytest.mark.parametrize(("admins", "wanted"), [([], True), (ADMINS, False)])
def test_nobody_gets_mail_where_nobody_is_named_or_wants_it(settings, mailoutbox, admins, wanted):
    """Many have their pager elsewhere."""
    settings.ADMINS = admins
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "ALERT_MAIL_ADMINS": wanted}

    turn()

    assert mailoutbox == []


@pytest.fixture
def hung_mail(settings, monkeypatch) -> Iterator[None]:
    settings.ADMINS = ADMINS
    send_mail_through(settings, "tests.watch.mail_backends.Hung")
    monkeypatch.setattr(channels, "_MAIL_PATIENCE", 0.1)
    mail_backends.may_answer.clear()
    yield
    mail_backends.may_answer.set()
    channels._at_it["mail"].join(20)


@pytest.mark.usefixtures("pill", "hung_mail")
def test_a_mail_server_that_hangs_holds_up_neither_the_sweep_nor_the_others(told):
    """Django waits for one for ever, and the relay waits for this sweep in the same thread."""
    turn()

    assert told.log == [PILL]
    assert Alert.objects.get().untold == "mail"


@pytest.mark.usefixtures("pill", "hung_mail")
def test_while_one_call_hangs_no_other_is_begun(told):
    """A thread for each turn of a night would be hundreds."""
    turn()

    turn(MINUTE)

    assert "an earlier call has not come back" in told.records[-1].getMessage()


@pytest.mark.usefixtures("pill")
def test_mail_that_cannot_be_sent_is_owed(settings):
    """An SMTP server may be away longer than the trouble is new."""
    settings.ADMINS = ADMINS
    send_mail_through(settings, "tests.watch.mail_backends.Away")

    turn()

    assert Alert.objects.get().untold == "mail"


# The webhook


@pytest.mark.usefixtures("pill")
def test_the_webhook_gets_text_for_people_and_facts_for_programs(webhook):
    """One address for a chat, or for what routes to a pager."""
    turn()

    [body] = webhook.posted
    [alert] = body["alerts"]
    assert body["text"] == f"{TEXT}: see Groups of failures in the admin"
    assert alert.pop("first_seen_at").startswith("20")
    assert alert == {
        "state": "raised", "rule": "poisoned", "subject": "shop.wrap", "level": "error",
        "text": TEXT, "database": "default",
    }  # fmt: skip


@pytest.mark.usefixtures("pill")
@pytest.mark.parametrize("answer", [500, 302, 404])
def test_a_webhook_that_refuses_is_told_at_a_later_turn_and_the_others_once(told, webhook, answer):
    """Nothing is forgotten because a chat was down."""
    webhook.answer = answer
    turn()
    webhook.answer = 200

    turn(MINUTE)
    turn(2 * MINUTE)

    assert len(webhook.posted) == 2
    assert told.log == [PILL]
    assert Alert.objects.get().untold == ""


@pytest.mark.usefixtures("pill")
def test_what_lasts_is_told_again_each_day_although_one_channel_always_fails(told, webhook):
    """A chat that is gone for good must not take the log and the mail along."""
    webhook.answer = 404

    for hours in range(0, 73, 2):
        turn(hours * HOUR)

    assert len(told.log) == 4
    assert webhook.posted[-1]["alerts"][0]["state"] == "lasting"


def test_those_that_a_channel_refuses_starve_no_others(monkeypatch, webhook):
    """Who has waited longest for another try comes first."""
    monkeypatch.setattr(alerts, "_TELL_AT_MOST", 1)
    for subject, tried in (("old", 2 * MINUTE), ("older", 3 * MINUTE)):
        Alert.objects.create(
            rule="late", subject=subject, text=subject, untold="webhook",
            last_told_at=ago(3 * MINUTE), last_tried_at=ago(tried),
        )  # fmt: skip
    webhook.answer = 500

    turn()

    texts = [post["text"] for post in webhook.posted]
    assert [text.partition(":")[0] for text in texts] == ["older", "old"]


@pytest.mark.usefixtures("pill")
def test_a_webhook_that_hangs_holds_up_neither_the_sweep_nor_the_others(settings, told, webhook):
    """The relay waits for this sweep in the same thread."""
    settings.RELIABLE_EFFECTS |= {"ALERT_WEBHOOK_TIMEOUT": MINUTE / 600}
    webhook.may_answer.clear()

    turn()

    assert told.log == [PILL]
    assert Alert.objects.get().untold == "webhook"
    assert "could not be reached: TimeoutError" in told.records[-1].getMessage()


@pytest.mark.usefixtures("pill")
def test_the_address_is_in_no_log(webhook, caplog):
    """Whoever knows a chat's address may write there."""
    webhook.answer = 500

    turn()

    assert "the channel webhook failed (127.0.0.1 answered 500)" in caplog.text
    assert "secret-path" not in caplog.text


def test_no_channel_is_given_the_text_of_an_error(told, webhook):
    """A database's own words may quote a customer's row."""
    Walk.objects.create(
        effect="shop.charge_card", tier=Tier.ALL, problem="DataError: invalid: 'ada@example.com'"
    )

    turn()

    text = "what is owed to shop.charge_card on default cannot be asked (DataError): see Walks"
    assert text in webhook.posted[0]["text"]
    assert "ada@" not in str([webhook.posted, told.log, told.signals])


@pytest.mark.usefixtures("pill")
def test_who_died_while_telling_is_followed_by_another(told, monkeypatch):
    """Told twice is better than never."""
    monkeypatch.setitem(channels.CHANNELS, "log", _die)
    with pytest.raises(KeyboardInterrupt):
        turn()
    monkeypatch.undo()

    turn(MINUTE)

    assert told.log == [PILL]


def _die(*_) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("pill")
def test_a_channel_that_was_taken_away_is_owed_nothing(settings, webhook):
    """Else it would be tried for ever."""
    webhook.answer = 500
    turn()
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none"}

    turn(MINUTE)

    assert Alert.objects.get().untold == ""


# Rules


@pytest.mark.usefixtures("own_rules", "pill")
def test_a_rule_is_one_function(told):
    """It is told like the others, and ends like them."""

    @rule("contradiction")
    def contradictions(using, _facts):
        yield Finding("shop.charge_card", f"3 contradictions on {using}")

    turn()

    assert "alert contradiction: 3 contradictions on default: see Walks in the admin" in told.log


@pytest.mark.usefixtures("own_rules", "pill")
def test_a_rule_that_raises_stops_no_other_and_ends_no_alert(told):
    """Not to know is no all-clear."""
    turn()
    rules.rules["poisoned"] = lambda *_: [1 / 0]
    rules.rules["another"] = lambda *_: [Finding("x", "x is wrong")]

    with moved(6 * MINUTE):
        all_have_swept()
        evaluate("default")

    assert sorted(told.log) == [
        "alert another: x is wrong",
        PILL,
        "alert rule: the rule poisoned could not be asked on default: see the log",
    ]
    assert Alert.objects.get(rule="poisoned").resolved_at is None


@pytest.mark.usefixtures("own_rules")
def test_an_alert_whose_rule_is_gone_ends_in_a_day():
    """Another release may still ask it: not at once."""
    rules.rules["gone"] = lambda *_: [Finding("x", "x is wrong")]
    turn()
    del rules.rules["gone"]

    turn(HOUR)
    early = Alert.objects.get(rule="gone").resolved_at
    turn(DAY + HOUR)

    assert early is None
    assert Alert.objects.get(rule="gone").resolved_at is not None


@pytest.mark.usefixtures("own_rules")
def test_long_names_and_many_findings_do_no_harm(told):
    """Names come from rows, and rows from anywhere."""
    rules.rules["many"] = lambda *_: [Finding(f"{i}-" + "x" * 300, f"{i}") for i in range(1000)]

    turn()

    assert Alert.objects.filter(rule="many").count() == rules.MOST_FINDINGS
    assert len(told.log) == 50


@pytest.mark.django_db(transaction=True)
def test_the_sweep_runs_with_the_others_and_leaves_its_heartbeat(told):
    """Any worker raises the alarm, also where beat is dead."""
    poisoned_delivery("shop.wrap")

    done = sweep_all(with_relay=False)

    assert done["default/alerts"].done == 1
    assert PILL in told.log


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_each_database_has_alerts_of_its_own(settings, told):
    """They are kept where what is wrong is, and say where."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["default", "other"]}
    all_have_swept()
    all_have_swept("other")
    Sweep.objects.using("other").filter(name="rescue").update(ran_at=ago(HOUR))

    evaluate("default")
    evaluate("other")

    assert told.log == [
        "alert sweep: sweep rescue on other last ran 1 h ago: see Sweeps in the admin"
    ]
    assert not Alert.objects.exists()
    assert Alert.objects.using("other").get().subject == "rescue"


@pytest.fixture
def hung_other(settings, monkeypatch):
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["other", "default"]}
    monkeypatch.setattr(rules, "_PATIENCE", 0.1)
    for other in hangs("other"):
        yield
        other.close()
        rules._others.of("other").thread.join(20)


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.usefixtures("hung_other")
def test_a_database_that_hangs_silences_no_alert_of_another(told):
    """The worst night is no night to be silent in; and of the one that hangs the other tells."""
    poisoned_delivery("shop.wrap")

    turn()

    assert sorted(told.log) == [
        "alert database: database other cannot be read (no answer in time): see the log",
        PILL,
    ]


@pytest.mark.usefixtures("own_rules", "pill")
def test_a_rule_that_takes_the_process_along_delays_what_was_found_by_one_turn(told):
    """Where a rule never answers the watchdog ends the sweeper, in each turn."""
    rules.rules["hangs"] = _die
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            turn()

    assert told.log == [PILL]


def test_beat_may_run_it():
    """Its name stands in people's schedules."""
    from reliable_effects import tasks  # noqa: PLC0415  # needs Celery, which few tests here do

    tasks.alerts()

    assert tasks.alerts.name == "reliable_effects.alerts"
