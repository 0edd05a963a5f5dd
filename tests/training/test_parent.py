"""A training that another process started ends saved when that process is killed, and goes on as if it had not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import psutil
import pytest

from sfumato.errors import Busy, UserError
from sfumato.runs import folder as folders
from sfumato.runs import signals
from sfumato.runs.checkpoint import listing
from sfumato.runs.folder import RunFolder
from sfumato.runs.signals import PARENT

from .conftest import SMALL, command, run

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
WORKER = (
    "import os, subprocess, sys\n"
    f"os.environ[{PARENT!r}] = str(os.getpid())\n"
    "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
)
LONG = 10_000_000  # images


def words(folder: Path, images: int) -> list[str]:
    return ["sfumato", "train", "shapes", *SMALL, "train.decay=none", f"train.images={images}", "--out", str(folder)]


def started(words: list[str], environment: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """A worker with a training as its child, which has taken some steps."""
    worker = subprocess.Popen([sys.executable, "-c", WORKER, *words], env=environment)
    while not RunFolder(folder).events("report"):
        assert worker.poll() is None, "ended before it began"
        time.sleep(0.05)
    return worker


def family(worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(worker.pid).children(recursive=True)


def ended(processes: list[psutil.Process], folder: Path) -> int:
    """Wait for processes to end by themselves; the images seen that are saved."""
    _, alive = psutil.wait_procs(processes, timeout=120)
    for process in alive:
        process.kill()
    assert not alive, "outlived the process that started it"
    end = RunFolder(folder).events("end")[-1]
    assert end["stopped"]
    assert int(listing(folder / "checkpoints")[-1].name) == end["images"] > 0
    return int(end["images"])


def weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in listing(folder / "checkpoints")[-1].glob("*.safetensors")}


@pytest.mark.slow
def test_the_child_of_a_killed_process_ends_saved_and_goes_on(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "run"
    worker = started([sys.executable, "-m", *words(folder, LONG)], environment, folder)
    (child,) = family(worker)
    worker.kill()
    worker.wait()
    # no waiting here: the next attempt of a worker begins at once, while the first one may still save
    again = {**environment, PARENT: str(os.getpid())}
    more = subprocess.Popen([sys.executable, "-m", *words(folder, LONG)], env=again, stderr=subprocess.DEVNULL)
    images = ended([child], folder)
    while len(RunFolder(folder).events("start")) < 2:
        assert more.poll() is None, "the second attempt did not wait for the first"
        time.sleep(0.05)
    more.terminate()
    assert more.wait(120) == 3
    assert RunFolder(folder).events("start")[-1]["images"] == images
    goal = int(RunFolder(folder).events("end")[-1]["images"]) + 64
    for path in (folder, tmp_path / "alone"):
        done = run(command(*words(path, goal)[1:]), environment)
        assert done.returncode == 0, done.stderr
    assert weights(folder) == weights(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["the worker", "the launcher"])
def test_both_processes_of_a_launcher_end_saved(tmp_path: Path, environment: dict[str, str], killed: str) -> None:
    folder = tmp_path / "run"
    worker = started([*TORCHRUN, *words(folder, LONG)], environment, folder)
    processes = family(worker)
    launcher = next(each for each in processes if each.ppid() == worker.pid)
    ranks = [each for each in processes if each.ppid() == launcher.pid]
    assert len(ranks) == 2
    assert RunFolder(folder).events("start")[-1]["processes"] == 2
    (worker if killed == "the worker" else launcher).kill()
    again = {**environment, PARENT: str(os.getpid())}
    more = subprocess.Popen([*TORCHRUN, *words(folder, LONG)], env=again, stderr=subprocess.DEVNULL)
    images = ended(ranks, folder)
    worker.wait()
    while not any(event["images"] > images for event in RunFolder(folder).events("report")):
        assert more.poll() is None, "the second attempt did not go on"
        time.sleep(0.05)
    assert RunFolder(folder).events("start")[-1] | {"time": 0} == {
        **RunFolder(folder).events("start")[0], "time": 0, "images": images,
    }  # fmt: skip
    more.terminate()
    assert more.wait(120) != 0
    assert RunFolder(folder).events("end")[-1]["stopped"] in ("SIGTERM", "another process")


def test_a_parent_that_is_gone_already(environment: dict[str, str]) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    code = "import time; from sfumato.runs.signals import follow_parent; follow_parent(); time.sleep(100)"
    done = run([sys.executable, "-c", code], {**environment, PARENT: str(gone.pid)}, 60)
    assert done.returncode == -signal.SIGTERM
    done = run(command("--version"), {**environment, PARENT: "nobody"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_without_a_kernel_that_tells_the_parent_is_watched(environment: dict[str, str], tmp_path: Path) -> None:
    """As on macOS."""
    child = (
        "import sys, time; from sfumato.runs import signals; sys.platform = 'darwin'; signals.follow_parent()\n"
        f"open({str(tmp_path / 'alive')!r}, 'w').close(); time.sleep(100)"
    )
    worker = subprocess.Popen([sys.executable, "-c", WORKER, sys.executable, "-c", child], env=environment)
    while not (tmp_path / "alive").exists():
        time.sleep(0.05)
    children = family(worker)
    assert len(children) == 1
    worker.kill()
    worker.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def test_only_a_child_of_a_worker_waits_for_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = threading.Semaphore(0)

    class Counted(filelock.FileLock):  # type: ignore[misc, valid-type]
        def _acquire(self) -> None:
            super()._acquire()
            tries.release()

    monkeypatch.setattr(folders, "FileLock", Counted)
    monkeypatch.delenv(PARENT, raising=False)
    folder, outcome = RunFolder(tmp_path), []

    def work() -> None:
        with folder.hold():
            outcome.append("held")

    with folder.hold():
        tries.acquire()
        with pytest.raises(Busy, match="in use"), folder.hold():
            pass
        tries.acquire()
        monkeypatch.setenv(PARENT, str(os.getpid()))
        thread = threading.Thread(target=work)
        thread.start()
        assert tries.acquire(timeout=60)  # it has tried twice, in vain
        assert tries.acquire(timeout=60)
        assert not outcome
    thread.join(60)
    assert outcome == ["held"]


def test_a_process_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PARENT, "me")
    with pytest.raises(UserError, match="the number of a process"):
        signals.follow_parent()
