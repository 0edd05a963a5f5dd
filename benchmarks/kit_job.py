"""One training of the kit's queue, in a process of its own.

It prints lines `@kit {"state": ...}` for its parent process, and waits for a line of JSON from it at two points: before
it needs the run that it builds on, and before it uses the device for long. If the parent ends, it saves and stops.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from queue import Queue
from typing import Any

import torch

from kit_export import export
from kit_pack import supply
from kit_table import MARK, Job, finish
from sfumato.device import best_device
from sfumato.pictures.store import open_store
from sfumato.progress import Event, HeldOut, Report, Start, Stop
from sfumato.recipe import recipe as recipes
from sfumato.runs.signals import stopping
from sfumato.training import start
from sfumato.training.loop import Loop
from sfumato.training.watch import Clock, Watch

WINDOW = 20.0  # seconds over which speed is measured
WARM, TIMED = 4, 30  # steps before a training: compilation, then speed
LATE = 3.0  # seconds after which a training that is fitted into its time is stopped


def say(**state: Any) -> None:
    print(MARK + json.dumps(state), flush=True)


class Orders:
    """What the starting process says; when its end is closed this process stops as by SIGTERM."""

    def __init__(self) -> None:
        self.lines: Queue[dict[str, Any]] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with open(os.dup(0), encoding="utf-8") as lines:  # noqa: PTH123 - not sys.stdin, whose lock a fork would copy
            for line in lines:
                self.lines.put(json.loads(line))
        os.kill(os.getpid(), signal.SIGTERM)

    def wait(self) -> dict[str, Any]:
        """The next one."""
        return self.lines.get()


def work_on(job: Job, kits: Sequence[Path], work: Path, out: Path, within: bool, extra: Sequence[str]) -> None:
    """Unpack, wait for what comes before, prepare, wait for the device, train, and write the weights."""
    orders = Orders()
    say(state="unpacking")
    supply(kits, work / "data", job.needs)
    overrides = [*job.overrides(best_device(), work, work / "data"), *extra]
    open_store(recipes.load(job.recipe, overrides).data)
    if job.after:
        say(state="built")
        orders.wait()
    say(state="preparing")
    prepared = start.prepare(job.recipe, overrides, work / job.name)
    with prepared.folder.hold():
        report = prepared.store.report.to_json()
        facts = {"digest": prepared.store.digest, "shape": list(prepared.store.shape), "report": report}
        prepared.folder.begin(prepared.recipe, facts)
        done = Paced(prepared, orders, within).train()
    say(state="trained")
    result = export(job, work / job.name, out) if job.export else {}
    if done:
        finish(work, job.name)
    say(state="finished" if done else "stopped", result=result)


class Paced(Loop):
    """The product's loop, which begins when it is told to and ends in time.

    With `within`, `train.images` follows the speed, so that the learning rate ends its way down when time is up.
    """

    def __init__(self, job: start.Training, orders: Orders, within: bool) -> None:
        previews = "none" if within else "later"
        super().__init__(job.task, job.recipe, job.folder, job.accelerator, self.listen, Stop(), previews)  # type: ignore[arg-type]
        self.orders, self.within, self.rate = orders, within, job.estimate.images_per_second
        self.end, self.cost = float("inf"), 0.0
        self.marks: deque[tuple[float, int]] = deque()

    def train(self) -> bool:
        """Wait for `{"go": SECONDS}` and train so long; says whether the training came to its end."""
        if self.device.type == "cuda":
            self.warm_up()
        if self.within:
            if self.device.type != "cpu":
                self.task.held_out(self.ema.first)  # the first one is slower
            began = time.perf_counter()
            self.task.held_out(self.ema.first)
            self.cost = 1.5 * (time.perf_counter() - began) + 1.0  # of the last save
        say(state="ready")
        self.end = self.orders.wait()["go"] + time.monotonic() - self.cost
        with stopping(self.stop):
            self.run()
        return self.stopped is None or (self.within and self.stopped == "time")

    def warm_up(self) -> None:
        """What there is to compile and to record, and a few steps that are timed and undone.

        What cannot be compiled here is trained as it is.
        """
        before = copy.deepcopy(self.net.state_dict())
        try:
            self.record()
            self.steps(0 if self.recorded else WARM)
        except Exception:
            if not self._compiled:
                raise
            traceback.print_exc()
            say(state="preparing", note="torch.compile failed")
            self.change({"train.compile": False})
            self.wrapped = self.accelerator.prepare_model(self.net)
            self.optimizer.zero_grad(set_to_none=True)
            self.record()
            self.steps(0 if self.recorded else WARM)
        began = self.now()
        self.steps(TIMED)
        self.rate = TIMED * self.settings.batch / (self.now() - began)
        for net in (self.net, *self.ema.nets.values()):
            net.load_state_dict(before)
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()
        self.images, self.watch = 0, Watch(self.device)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self._step(Clock(self.settings))

    def now(self) -> float:
        """The clock, once the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def listen(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Start):
            self.marks = deque([(now, event.images)])
            self.aim(event.images, self.end - now)
        elif isinstance(event, Report):
            self.marks.append((now, event.images))
            while len(self.marks) > 2 and now - self.marks[0][0] > WINDOW:
                self.marks.popleft()
            then, images = self.marks[0]
            if now > then and event.images > images:
                self.rate = (event.images - images) / (now - then)
            self.aim(event.images, self.end - now)
            say(state="training", images=event.images, of=self.settings.images, loss=event.loss,
                rate=round(self.rate, 1))  # fmt: skip
        elif isinstance(event, HeldOut):
            say(state="training", images=event.images, of=self.settings.images, held_out=event.loss)

    def aim(self, images: int, seconds: float) -> None:
        """Set the length to what has been seen and can be seen in so many seconds."""
        if self.within:
            self.change({"train.images": max(images, 1, int(images + self.rate * seconds))})

    def _stops(self) -> bool:
        if time.monotonic() > self.end + (LATE if self.within else 0.0):
            self.stop.request("time")
        return super()._stops()
