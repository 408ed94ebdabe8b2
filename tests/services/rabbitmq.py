"""A throwaway RabbitMQ: a node, a name server and a cookie of its own, far from the machine's."""

from __future__ import annotations

import os
import subprocess

from tests.services.server import Server, free_port


class RabbitMQ(Server):
    service = "rabbitmq"
    variable = "TEST_RABBITMQ_URL"
    # The ones on Debian's PATH insist on being the user of the machine's own node.
    folders = (
        *("/usr/lib/rabbitmq/bin", "/opt/homebrew/opt/rabbitmq/sbin"),
        "/opt/homebrew/lib/erlang/lib/erl_interface-*/bin",  # of erl_call, where Debian has it on PATH
    )
    ready_within = 120  # seconds; alone it takes ten on a slow core
    _is_full = False

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def prepare(self) -> None:
        self._names_port, self._node_port = free_port(), free_port()
        self._file("enabled_plugins", "[].\n")
        self._file("rabbitmq.conf", "log.file = false\nlog.console = true\n")
        self._file("advanced.config", "[].\n")

    def environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "HOME": folder,  # where Erlang keeps the cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_CRASH_DUMP_BYTES": "0",
            "RABBITMQ_NODENAME": f"effects{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
            "RUNNING_UNDER_SYSTEMD": "true",  # the start script then becomes the node: signals reach it
        }

    def command(self) -> list[str]:
        # The node would start its name server as a daemon, which outlives everything. Where one
        # answers already it starts none, so ours comes first, and stays in the process group.
        names, node = self.find("epmd"), self.find("rabbitmq-server")
        wait = 'until "$0" -names >/dev/null 2>&1; do sleep 0.05; done'
        return ["/bin/sh", "-c", f'"$0" & {wait}; exec "$1"', names, node]

    def answers(self) -> bool:
        """It offers its terms to a client that says hello."""
        with self.connect() as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"

    def wipe(self) -> None:
        """Delete all queues with what is in them; connections stay."""
        self._eval(
            "[rabbit_amqqueue:delete(Q, false, false, <<>>) || Q <- rabbit_amqqueue:list()]."
        )

    def fill(self) -> None:
        """Out of memory: it reads no more from whoever publishes, all else is answered."""
        self._set_memory(0.00001)
        self._is_full = True

    def relieve(self) -> None:
        self._set_memory(0.4)  # of what the machine has: its default
        self._is_full = False

    def heal(self) -> None:
        super().heal()
        if self._is_full:
            self.relieve()

    def _set_memory(self, fraction: float) -> None:
        """Set the limit, and return when the alarm is as it says."""
        is_full = str(fraction < 0.01).lower()
        self._eval(
            f"vm_memory_monitor:set_vm_memory_high_watermark({fraction:f}),"
            "Wait = fun(F) -> case rabbit_alarm:get_alarms() =/= [] of"
            f" {is_full} -> ok; _ -> timer:sleep(20), F(F) end end, Wait(Wait)."
        )

    def _eval(self, expression: str) -> None:
        """
        By a client in C that comes with Erlang: 10 ms. rabbitmqctl starts a whole node for it, which
        takes seconds, and on a busy machine a minute.
        """
        name, cookie = self.environment()["RABBITMQ_NODENAME"], self.folder / ".erlang.cookie"
        done = subprocess.run(
            [self.find("erl_call"), "-sname", name, "-c", cookie.read_text().strip(), "-e"],
            input=f"{expression}\n",
            env=os.environ | self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if not done.stdout.startswith("{ok"):
            raise RuntimeError(f"RabbitMQ did not do {expression}: {done.stdout}{done.stderr}")

    def _file(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
