"""A Ray cluster on loopback for tests: a head, a node next to it, and a hard end for either."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.waiting import wait_for

RAY = Path(sys.executable).with_name("ray")


class LoopbackCluster:
    """Machines with one CPU each. Each is a session of processes of its own, so that it ends alone and whole."""

    def __init__(self) -> None:
        self._port, self._job_port, self._client_port = _free_ports(3)
        self.address = f"http://127.0.0.1:{self._job_port}"
        self._folder = Path(tempfile.mkdtemp(prefix="lt-ray-", dir="/tmp"))  # short: paths of sockets are limited
        self._sessions: list[int] = []
        self.head = self.node = 0  # their sessions

    def start(self) -> None:
        """Start the head and a node next to it."""
        head = self._begin_head()
        wait_for(lambda: head.poll() is not None or _listens(self._port), pause=0.1)
        node = self._begin(f"--address=127.0.0.1:{self._port}")
        self.head, self.node = self._wait(head), self._wait(node)

    def start_head(self) -> None:
        """Start the head again, after it was killed, where it was."""
        self.head = self._wait(self._begin_head())

    def kill(self, session: int) -> None:
        """Kill a machine without a word, as a power cut does."""
        processes = [process for process in psutil.process_iter() if _session_of(process.pid) == session]
        for process in processes:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=10)

    def close(self) -> None:
        """Kill every machine, and remove what they wrote."""
        for session in self._sessions:
            self.kill(session)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _begin_head(self) -> subprocess.Popen[bytes]:
        api = ["--dashboard-host=127.0.0.1", f"--dashboard-port={self._job_port}"]
        ports = [f"--port={self._port}", f"--ray-client-server-port={self._client_port}"]
        return self._begin("--head", *ports, *api, f"--temp-dir={self._folder}")

    def _begin(self, *settings: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "disabled",
            "RAY_health_check_period_ms": "1000",  # a lost machine is noticed within 5 s instead of 15
        }
        environment.pop("RAY_ADDRESS", None)
        sizes = ["--num-cpus=1", "--num-gpus=0", "--object-store-memory=80000000", "--include-log-monitor=False"]
        command = [str(RAY), "start", "--disable-usage-stats", "--node-ip-address=127.0.0.1", *sizes, *settings]
        with (self._folder / "start.txt").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        self._sessions.append(process.pid)
        return process

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        assert process.wait(timeout=120) == 0, (self._folder / "start.txt").read_text()
        return process.pid


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _session_of(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return None


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
