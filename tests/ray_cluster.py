"""A Ray cluster on loopback for tests: a head, further nodes, and a hard end for either."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

RAY = Path(sys.executable).with_name("ray")


class LoopbackCluster:
    """Nodes with one CPU each. Every node is a session of processes of its own, so that it ends alone and whole."""

    def __init__(self) -> None:
        self.port, self.job_port, *self._others = _free_ports(3)
        self.address = f"http://127.0.0.1:{self.job_port}"
        self._folder = Path(tempfile.mkdtemp(prefix="lt-ray-", dir="/tmp"))  # short: paths of sockets are limited
        self.nodes: list[int] = []

    def start_head(self) -> int:
        """Start the head with its job API; returns its session."""
        client = str(self._others[0])
        places = [
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self.job_port}",
            f"--ray-client-server-port={client}",
        ]
        return self._start("--head", f"--port={self.port}", *places, f"--temp-dir={self._folder}")

    def start_node(self) -> int:
        """Start a further node of one CPU; returns its session."""
        return self._start(f"--address=127.0.0.1:{self.port}")

    def kill(self, session: int) -> None:
        """Kill a node without a word, as a power cut does."""
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == session:
                    process.kill()
        psutil.wait_procs([p for p in psutil.process_iter() if _session_of(p.pid) == session], timeout=10)

    def close(self) -> None:
        """Kill every node, and remove what they wrote."""
        for session in self.nodes:
            self.kill(session)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, *settings: str) -> int:
        own = os.environ | {"PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}", "RAY_AUTH_MODE": "disabled"}
        own.pop("RAY_ADDRESS", None)
        sizes = ["--num-cpus=1", "--num-gpus=0", "--object-store-memory=80000000", "--include-log-monitor=False"]
        command = [str(RAY), "start", "--disable-usage-stats", "--node-ip-address=127.0.0.1", *sizes, *settings]
        log = self._folder / f"start-{len(self.nodes)}.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=own, start_new_session=True)
        self.nodes.append(process.pid)
        assert process.wait(timeout=120) == 0, log.read_text()
        return process.pid


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
