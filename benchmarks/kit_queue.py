"""The kit's queue: one process for each job, one job at a time on the device, the minutes divided among them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from kit_table import MARK, Job, finished

SPARE = 0.1, 6.0  # of the minutes, for the last export: a share, and seconds at most
GRACE = 25.0  # seconds past the minutes after which every training has to save and stop
PATIENCE = 40.0  # seconds that this may take
EACH = 10.0  # seconds between two lines on a training
LAST = ("finished", "stopped", "failed")
Event = tuple["Child", dict[str, Any] | None]


@dataclass
class Child:
    """A job's process. `state` is what it said last, or waiting, failed, finished, stopped."""

    job: Job
    state: str = "waiting"
    report: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    printed: float = 0.0
    result: dict[str, Any] = field(default_factory=dict)  # files given out, figures

    def order(self, **what: Any) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended; that is noticed elsewhere

    @property
    def alive(self) -> bool:
        return self.process is not None and self.state not in LAST


class Kit:
    """All jobs of one call. together: start all at once, so that one prepares while another trains."""

    def __init__(self, jobs: Sequence[Job], words: Sequence[str], work: Path, minutes: float, within: bool,
                 together: bool, threads: int) -> None:  # fmt: skip
        self.children = [Child(job) for job in jobs]
        self.words, self.work, self.within, self.together = list(words), work, within, together
        self.began = time.monotonic()
        self.end = self.began + 60 * minutes
        self.env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "PYTHONUNBUFFERED": "1"}
        self.env.setdefault("SFUMATO_DATA", str((work / "data").resolve()))
        self.env.setdefault("TORCHINDUCTOR_CACHE_DIR", str((work / "inductor").resolve()))
        self.env.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "8")  # of each job, and there are several
        self.env |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.events: Queue[Event] = Queue()
        self.stopping = False

    def run(self) -> None:
        """Until every job has ended, or time has."""
        (self.work / "logs").mkdir(parents=True, exist_ok=True)
        for child in self.children:
            if finished(self.work, child.job.name):
                self.note(child, "finished", "finished before")
        while not all(child.state in LAST for child in self.children):
            self.start()
            self.grant()
            try:
                child, report = self.events.get(timeout=0.5)
            except Empty:
                pass
            else:
                self.hear(child, report)
            if time.monotonic() > self.end + GRACE and not self.stopping:
                self.stop()

    def start(self) -> None:
        """Start what may be started: everything, or the next job if nothing is at work."""
        for child in self.children:
            if child.state != "waiting":
                continue
            before = self.before(child)
            if self.stopping or self.left() <= 0:
                self.note(child, "stopped", "not begun: no time left")
            elif before is not None and before.state in ("failed", "stopped"):
                self.note(child, before.state, f"waits for {before.job.name}, which {before.state}")
            elif before is None and not self.met(child):
                self.note(child, "failed", f"needs {child.job.after}: train that first")
            elif self.together or (not any(c.alive for c in self.children) and self.met(child)):
                self.spawn(child)

    def spawn(self, child: Child) -> None:
        log = (self.work / "logs" / f"{child.job.name}.txt").open("a", encoding="utf-8")
        with log:
            child.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("kit.py")), "job", child.job.name, *self.words],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=self.env,
                start_new_session=True,  # Ctrl-C is for this process, which tells the others
            )  # fmt: skip
        child.state = "started"
        threading.Thread(target=self.watch, args=(child, child.process), daemon=True).start()

    def watch(self, child: Child, process: subprocess.Popen[str]) -> None:
        """Pass on what a process says, and that it has ended, even if others that it started hold its output open."""

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(MARK):
                    self.events.put((child, json.loads(line.removeprefix(MARK))))

        reader = threading.Thread(target=listen, daemon=True)
        reader.start()
        process.wait()
        reader.join(2.0)
        self.events.put((child, None))

    def hear(self, child: Child, report: dict[str, Any] | None) -> None:
        if report is None:
            if child.state not in LAST:
                self.note(child, "stopped" if self.stopping else "failed", self.reason(child))
            return
        child.report |= report
        if report["state"] != "training":
            child.result |= report.get("result", {})
            self.note(child, report["state"], ", ".join(report.get("result", {}).get("files", [])))
        else:
            child.state = "training"
            if time.monotonic() - child.printed > EACH or "held_out" in report:
                self.note(child, "training", progress(child.report))

    def note(self, child: Child, state: str, words: str = "") -> None:
        child.state, child.printed = state, time.monotonic()
        print(
            f"{time.monotonic() - self.began:7.1f} s  {child.job.name}: {state}{': ' if words else ''}{words}",
            flush=True,
        )

    def reason(self, child: Child) -> str:
        """The last line of what a process that failed wrote."""
        assert child.process is not None
        lines = (self.work / "logs" / f"{child.job.name}.txt").read_text(encoding="utf-8", errors="replace").split("\n")
        written = [line.strip() for line in lines if line.strip()]
        code = child.process.returncode
        return f"killed by signal {-code}" if code < 0 else (written[-1] if written else f"exit status {code}")

    def grant(self) -> None:
        """Let go on what waits for another job, and give the device, if it is free, to the first that is ready."""
        for child in self.children:
            if child.state == "built":
                before = self.before(child)
                if before is not None and before.state in ("failed", "stopped"):
                    child.process.terminate()  # type: ignore[union-attr]
                    self.note(child, before.state, f"waits for {before.job.name}, which {before.state}")
                elif self.met(child):
                    child.state = "preparing"
                    child.order(built=True)
        ready = [child for child in self.children if child.state == "ready"]
        if ready and not any(child.state in ("training", "granted") for child in self.children):
            seconds = self.share(ready[0])
            self.note(ready[0], "granted", f"{seconds:.0f} s")
            ready[0].order(go=seconds)

    def share(self, child: Child) -> float:
        """Seconds for a job: its share of what is left, beside all that have not had theirs."""
        waiting = [other for other in self.children if other.state not in (*LAST, "trained")]
        total = sum(other.job.share for other in waiting)
        own = child.job.share
        if not self.within:  # what waits for this job has no use for its share
            own += sum(other.job.share for other in waiting if other.job.after == child.job.name)
        return max(1.0, self.left() * own / total)

    def left(self) -> float:
        share, most = SPARE
        return self.end - time.monotonic() - min(most, share * (self.end - self.began))

    def before(self, child: Child) -> Child | None:
        """The job of this call that another waits for."""
        return next((other for other in self.children if other.job.name == child.job.after), None)

    def met(self, child: Child) -> bool:
        """Whether what a job waits for is there: its training has ended, its weights may still be being written."""
        before = self.before(child)
        if before is None:
            return child.job.after is None or finished(self.work, child.job.after)
        return before.state == "finished"

    def stop(self) -> None:
        """Tell everything to save and end; what does not in time is killed."""
        self.stopping = True
        alive = [child for child in self.children if child.alive]
        for child in alive:
            child.process.terminate()  # type: ignore[union-attr]
        until = time.monotonic() + PATIENCE

        def kill() -> None:
            for child in alive:
                try:
                    child.process.wait(max(0.1, until - time.monotonic()))  # type: ignore[union-attr]
                except subprocess.TimeoutExpired:
                    child.process.kill()  # type: ignore[union-attr]

        threading.Thread(target=kill, daemon=True).start()


def progress(report: dict[str, Any]) -> str:
    """One line on a training."""
    words = [f"{report['images']:,} of {report['of']:,}"]
    words += [f"loss {report['loss']:.4f}"] if report.get("loss") is not None else []
    words += [f"held out {report['held_out']:.5f}"] if report.get("held_out") is not None else []
    if report.get("rate"):
        words += [
            f"{report['rate']:,.0f} images/s",
            f"{clock((report['of'] - report['images']) / report['rate'])} left",
        ]
    return ", ".join(words)


def clock(seconds: float) -> str:
    """1:02:03."""
    hours, rest = divmod(max(0, round(seconds)), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
