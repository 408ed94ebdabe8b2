"""The servers that other tests lean on do what these tests will ask of them."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.services import Missing, Proxy, Redis
from tests.waiting import eventually


def _answers(server) -> bool:
    try:
        return server.answers()
    except OSError:
        return False


def test_a_killed_broker_is_gone_and_comes_back_at_the_same_address(broker):
    """Clients keep the address they were given."""
    address = broker.url

    broker.kill()

    assert not _answers(broker)
    broker.start()
    assert _answers(broker)
    assert broker.url == address


def test_a_frozen_broker_accepts_and_says_nothing(broker):
    """That is how a hung server looks: the connection is made and the answer never comes."""
    broker.freeze()

    with broker.connect() as connection:
        connection.settimeout(0.5)
        connection.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(1)
    broker.thaw()
    assert _answers(broker)


def test_a_wiped_broker_has_forgotten_every_message(broker):
    """What was sent is gone, and the broker is as willing as before."""
    kombu = pytest.importorskip("kombu")
    with kombu.Connection(broker.url) as connection:
        connection.SimpleQueue("reliable_effects.wiped").put({"ids": [1]})

    broker.wipe()

    with kombu.Connection(broker.url) as connection:
        queue = connection.SimpleQueue("reliable_effects.wiped")
        with pytest.raises(queue.Empty):
            queue.get(block=False)


def test_a_server_does_not_outlive_tests_that_are_killed():
    """Nobody cleans up after a SIGKILL, so the server must notice by itself."""
    script = """if True:
        import time
        from tests.services import Redis
        server = Redis().start()
        print(server.port, server.folder, flush=True)
        time.sleep(60)
    """
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True
    ) as tests:
        line = tests.stdout.readline()
        if not line:
            pytest.skip("service: redis-server is missing")
        port, folder = line.split()
        tests.kill()

    eventually(lambda: not Path(folder).exists())

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))


def test_a_missing_program_says_how_to_get_it():
    """The message is all that a newcomer sees."""

    class Unheard(Redis):
        service = "unheard"

    with pytest.raises(Missing, match=r"unheard-of.*make services.*compose\.yaml"):
        Unheard.find("unheard-of")


@pytest.fixture
def shouter():
    """The port of a server that answers what it is told in capitals, and what it heard."""
    heard: list[bytes] = []

    class Shout(socketserver.StreamRequestHandler):
        def handle(self):
            with contextlib.suppress(ConnectionError):  # some of these tests cut
                for line in self.rfile:
                    heard.append(line)
                    self.wfile.write(line.upper())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Shout) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1], heard
        server.shutdown()


@pytest.fixture
def proxy(shouter):
    with Proxy(shouter[0]) as proxy:
        yield proxy


@pytest.fixture
def client(proxy):
    with _call(proxy) as client:
        yield client


def _call(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def _ask(client, words: bytes) -> bytes:
    client.sendall(words)
    return client.recv(100)


def test_a_proxy_in_good_health_is_not_noticed(client):
    """Whatever a test then sees comes from the mode it chose."""
    assert _ask(client, b"hello\n") == b"HELLO\n"


def test_a_refusing_proxy_has_nobody_listening_until_it_is_well_again(proxy):
    """As after a server's end: connections are refused at once."""
    proxy.mode = "refuse"
    with pytest.raises(ConnectionRefusedError):
        _call(proxy)

    proxy.mode = "ok"

    with _call(proxy) as client:
        assert _ask(client, b"again\n") == b"AGAIN\n"


def test_a_frozen_proxy_keeps_what_it_was_told_until_it_thaws(proxy, client, shouter):
    """A hung network loses nothing, it only never answers."""
    proxy.mode = "freeze"
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        _ask(client, b"anyone?\n")
    assert shouter[1] == []

    proxy.mode = "ok"

    client.settimeout(5)
    assert client.recv(100) == b"ANYONE?\n"


def test_dropped_replies_leave_the_request_done(proxy, client, shouter):
    """The far side acted, and the caller cannot know."""
    proxy.mode = "drop_replies"
    client.settimeout(0.3)

    with pytest.raises(TimeoutError):
        _ask(client, b"pay\n")

    assert eventually(lambda: shouter[1]) == [b"pay\n"]


def test_a_cut_resets_open_connections_and_new_ones(proxy, client):
    """The worst moment is in the middle of a conversation."""
    _ask(client, b"hello\n")

    proxy.mode = "cut"

    with pytest.raises(ConnectionResetError):
        client.recv(100)
    with pytest.raises(ConnectionResetError), _call(proxy) as another:
        another.recv(100)


@pytest.mark.parametrize(("is_applied", "heard"), [(True, [b"1\n", b"2\n"]), (False, [b"1\n"])])
def test_the_chosen_round_trip_is_cut(is_applied, heard, proxy, client, shouter):
    """Done, and the client cannot know; or never arrived, and it cannot know either."""
    proxy.cut_at(2, is_applied=is_applied)
    assert _ask(client, b"1\n") == b"1\n"

    with pytest.raises(ConnectionResetError):
        _ask(client, b"2\n")

    assert shouter[1] == heard
    assert proxy.round_trips == 2


def test_a_slow_proxy_answers_late(proxy, client):
    """A broker at the end of its strength still does what it is asked."""
    proxy.delay = 0.3
    proxy.mode = "slow"
    began_at = time.monotonic()

    assert _ask(client, b"hello\n") == b"HELLO\n"
    assert time.monotonic() - began_at >= 0.3


def test_only_the_named_request_loses_its_reply(proxy, client, shouter):
    """A COMMIT in doubt: done over there, unknown over here, and the next connection works."""
    proxy.lose_reply_to(b"commit")
    assert _ask(client, b"insert\n") == b"INSERT\n"

    with pytest.raises(ConnectionResetError):
        _ask(client, b"commit\n")

    assert shouter[1] == [b"insert\n", b"commit\n"]
    with _call(proxy) as another:
        assert _ask(another, b"commit\n") == b"COMMIT\n"
