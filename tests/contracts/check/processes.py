"""Processes that a check starts: watched through their logs, ended by their ids."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CONTRACTS = ROOT / "tests/contracts"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TOOLS = TARGET / "contract-tools"
PATIENCE_SECONDS = 60


def folder_of(name):
    """An empty folder for everything that a check leaves behind."""
    folder = TARGET / "contract-checks" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def process(command, log, says, environment=None):
    """Runs a command beside the `with` block; it is up once its log holds `says`."""
    with open(log, "wb") as out:
        started = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            cwd=log.parent,
        )
    try:
        _wait_until_it_says(started, log, says)
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextlib.contextmanager
def server(command_on, log, says):
    """Runs the command that `command_on` gives for a port, beside the `with` block; the port."""
    with contextlib.ExitStack() as stack:
        for is_last in (False, False, True):
            port = _free_port()
            try:
                stack.enter_context(process(command_on(port), log, says))
                break
            except RuntimeError:
                # A port is only taken for certain once somebody listens there.
                if is_last:
                    raise
        yield port


def _wait_until_it_says(started, log, says):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while says not in log.read_text(errors="replace"):
        if started.poll() is not None:
            raise RuntimeError(f"{started.args[0]} ended: {log.read_text(errors='replace')}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{started.args[0]} does not say {says!r}: see {log}")
        time.sleep(0.02)
