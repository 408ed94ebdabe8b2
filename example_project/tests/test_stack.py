"""Two runs must not take each other's folder or port."""

from __future__ import annotations

import os
import socket

import pytest

from example_project.stack import AlreadyRunning, PortTaken, Stack


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A stack writes into the environment; give it back."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def taken_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_second_run_on_one_folder_is_refused(tmp_path):
    first = Stack(tmp_path)

    with pytest.raises(AlreadyRunning, match="DEMO_DIR"):
        Stack(tmp_path)
    first.close()


def test_a_run_begins_with_an_empty_shop(tmp_path):
    (tmp_path / "shop.sqlite3").touch()
    (tmp_path / "logs").mkdir()
    (tmp_path / "mine.txt").touch()

    Stack(tmp_path).close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "mine.txt"]


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(tmp_path, taken_port):
    """Another port than the one asked for would only be found by reading the output."""
    os.environ["WEB_PORT"] = str(taken_port)

    with pytest.raises(PortTaken, match="WEB_PORT"):
        Stack(tmp_path, fixed_ports=True)


def test_without_asking_any_free_port_will_do(tmp_path):
    stack = Stack(tmp_path)

    assert stack.web_port != stack.partners_port
    assert os.environ["PARTNERS_URL"].endswith(str(stack.partners_port))
    stack.close()
