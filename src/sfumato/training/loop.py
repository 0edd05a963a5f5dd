"""The training loop: the same for every task, counted in images seen, with exact resume."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from sfumato.errors import UserError
from sfumato.progress import End, Event, HeldOut, Note, Preview, Progress, Report, Rollback, Save, Start, Stop
from sfumato.recipe.recipe import Recipe
from sfumato.recipe.sections import Train as Settings
from sfumato.runs import checkpoint as checkpoints
from sfumato.runs.folder import RunFolder
from sfumato.training.ema import PowerEMA
from sfumato.training.optimizer import optimizer_for
from sfumato.training.recorded import Numbers, Recorded
from sfumato.training.task import Batch, Task, generator_for
from sfumato.training.watch import Clock, Watch

Previews = Literal["at once", "later", "none"]
REPORT_SECONDS = 2.0
FIRST_PREVIEW_SECONDS = 40.0
STREAK = 3


class Loop:
    """Trains a task in a run folder. `run()` resumes from the newest complete checkpoint.

    progress: receives the events of the log; if it raises, the loop saves and then raises the exception. stop: checked
    once a step; `stopped` is the reason of a stop. previews: "at once": the first one before the first step, for
    networks that can draw already; "later"; "none".
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        folder: RunFolder,
        accelerator: Accelerator,
        progress: Progress | None = None,
        stop: Stop | None = None,
        previews: Previews = "later",
    ) -> None:
        self.previews = previews
        self.task, self.recipe, self.settings, self.folder = task, recipe, recipe.train, folder
        self.accelerator, self.progress, self.stop = accelerator, progress, stop or Stop()
        self.device = accelerator.device
        self.images = 0
        self.stopped: str | None = None
        self.failed: Exception | None = None
        pieces = accelerator.num_processes * self.settings.accumulate
        if self.settings.batch % pieces:
            raise UserError(
                f"train.batch={self.settings.batch} is not divisible by {accelerator.num_processes} processes"
                f" x train.accumulate={self.settings.accumulate}"
            )
        self.piece = self.settings.batch // pieces
        self.net = task.net.to(self.device)
        if self.settings.precision == "fp64":
            self.net.double()
        self.ema = PowerEMA(self.net, self.settings.ema)
        self.optimizer = optimizer_for(self.net, self.settings, accelerator.mixed_precision)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=accelerator.mixed_precision == "fp16")
        net = torch.compile(self.net) if self._compiled else self.net
        self.wrapped: nn.Module = accelerator.prepare_model(net)
        self.recorded: Recorded | None = None
        self.watch = Watch(self.device)

    def change(self, values: Mapping[str, object]) -> None:
        """Change settings of the recipe from now on, by dotted key."""
        self.recipe = self.recipe.with_(values)
        self.settings = self.recipe.train

    @property
    def _compiled(self) -> bool:
        chosen = self.settings.compile
        return self.device.type == "cuda" if chosen is None else chosen

    def run(self) -> None:
        """Train until `train.images`, or until a stop; saves a checkpoint at the end.

        Raises UserError if the loss stays non-finite or the disk is full; and exceptions of `progress`, after saving.
        """
        self._resume()
        self.record()
        clock = Clock(self.settings)
        if self.previews == "at once" and not self.images and self.stop.reason is None:
            self._preview(clock)
        while self.images < self.settings.images and not self._stops():
            start = time.perf_counter()
            self._step(clock)
            clock.step(time.perf_counter() - start)
            if clock.due("report", REPORT_SECONDS):
                self._report(clock)
            if clock.due("preview", self.settings.preview_seconds, first=FIRST_PREVIEW_SECONDS):
                self._preview(clock)
            if clock.due("save", self.settings.save_seconds) or self._at_mark():
                self._report(clock)
                self._save()
        self._report(clock)
        if self.images:
            self._save()
        if self.stopped is None:
            self._preview(clock)
        self._say(End(self.images, round(clock.seconds, 3), self.stopped))
        if self.failed is not None:
            raise self.failed

    def note(self, text: str) -> None:
        """Send a remark for the user, to the log too."""
        self._say(Note(text))

    def record(self) -> None:
        """On one GPU, compile a step and record it, to be replayed from now on; the weights are not changed."""
        s = self.settings
        if self.device.type != "cuda" or s.accumulate > 1 or self.accelerator.num_processes > 1:
            return
        if self.scaler.is_enabled() or s.precision == "fp64" or self.recorded is not None:
            return
        example = self.task.draw(self.images, s.batch, generator_for(s.seed, self.images))
        for group in self.optimizer.param_groups:
            group["capturable"] = True
        try:
            self.recorded = Recorded(self._recordable, example, len(s.ema), self._state)
        except RuntimeError as error:
            self.note(f"steps are not recorded: {' '.join(str(error).split())[:200]}")
            self.optimizer.zero_grad(set_to_none=True)

    def _recordable(self, batch: Batch, numbers: Numbers) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        for group in self.optimizer.param_groups:
            group["lr"] = numbers.rate
        loss = self.task.loss(self.wrapped, batch).mean()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.clip, foreach=True)
        self.optimizer.grad_scale = None  # type: ignore[attr-defined]
        self.optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.ema.approach(numbers.shares)
        return loss.detach(), norm

    def _state(self) -> list[Tensor]:
        """All tensors that a step modifies."""
        nets = [self.net, *self.ema.nets.values()]
        learned = [tensor for net in nets for tensor in net.state_dict().values()]
        return learned + [value for state in self.optimizer.state.values() for value in state.values()]

    def _step(self, clock: Clock) -> None:
        s = self.settings
        generator = generator_for(s.seed, self.images)
        whole = self.task.draw(self.images, s.batch, generator)
        first = self.accelerator.process_index * s.accumulate
        torch.manual_seed(generator.initial_seed() + first)  # dropout
        inside = time.perf_counter()
        if self.recorded is not None:
            shares = self.ema.shares(self.images + s.batch, s.batch)
            total, norm = self.recorded(whole, learning_rate(s, self.images), shares)
            clock.inside += time.perf_counter() - inside
            self.images += s.batch
            self.watch.see(total, norm, scaled=False)
            return
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(s, self.images)
        total = torch.zeros((), device=self.device)
        for k in range(s.accumulate):
            at = (first + k) * self.piece
            part = {name: value[at : at + self.piece] for name, value in whole.items()}
            with self._last_only(k):
                loss = self.task.loss(self.wrapped, part).mean() / s.accumulate
                self.scaler.scale(loss).backward()
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), s.clip, foreach=True)
        if not self.scaler.is_enabled():  # a fused optimiser skips the step on the device, without synchronising
            self.optimizer.grad_scale = None  # type: ignore[attr-defined]
            self.optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        clock.inside += time.perf_counter() - inside
        self.images += s.batch
        self.ema.update(self.images, s.batch)
        self.watch.see(total, norm, scaled=self.scaler.is_enabled())

    def _at_mark(self) -> bool:
        """Whether the last step passed a multiple of `train.save_images`."""
        every = self.settings.save_images
        return every is not None and self.images % every < self.settings.batch

    def _last_only(self, k: int) -> AbstractContextManager[None]:
        """Synchronise gradients between processes only in the last piece of a step."""
        if k < self.settings.accumulate - 1:
            waiting: AbstractContextManager[None] = self.accelerator.no_sync(self.wrapped)
            return waiting
        return contextlib.nullcontext()

    def _report(self, clock: Clock) -> None:
        step = self.watch.read()
        if step is None:
            return
        clock.reported(self.images)
        self._say(
            Report(
                self.images, round(clock.seconds, 3), step.loss, step.norm, step.skipped,
                learning_rate(self.settings, self.images), round(clock.rate, 2), round(clock.share, 4),
            )
        )  # fmt: skip
        if step.streak >= STREAK:
            self._roll_back()

    def _roll_back(self) -> None:
        newest, _ = checkpoints.newest(self.folder.checkpoints)
        back = newest.images if newest else 0
        self._say(Rollback(back, self.images, f"{STREAK} non-finite steps in a row"))
        raise UserError(
            f"the loss was not finite {STREAK} steps in a row before {self.images} images: went back to {back}; "
            f"run again with a lower train.lr (it is {self.settings.lr:g}) or train.precision=fp32"
        )

    def _save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        where = self.folder.checkpoints
        if checkpoints.holds(where, self.images):
            return
        began = time.perf_counter()
        held = self.task.held_out(self.ema.first)
        bands = tuple({"low": b.low, "high": b.high, "loss": b.loss} for b in held.bands)
        self._say(HeldOut(self.images, held.loss, bands, held.figures))
        tensors = {"model": self.net.state_dict()}
        tensors |= {checkpoints.label(width): net.state_dict() for width, net in self.ema.nets.items()}
        tensors["optimizer"] = checkpoints.optimizer_tensors(self.optimizer, self.net)
        config = {"recipe": self.recipe.model_dump(mode="json"), **self.task.describe()}
        facts = {"held_out": held.loss if math.isfinite(held.loss) else None, "scaler": self.scaler.state_dict()}
        saved = checkpoints.save(where, self.images, tensors, config, facts)
        checkpoints.prune(where, self.settings.images, self.settings.keep, self.settings.save_images)
        self._say(Save(self.images, saved.path.name, round(time.perf_counter() - began, 3)))

    def _preview(self, clock: Clock) -> None:
        if not self.accelerator.is_main_process or self.previews == "none":
            return
        began = time.perf_counter()
        picture = self.task.preview(self.ema.first)
        if picture is not None:
            path = self.folder.preview(self.images, picture)
            self._say(Preview(self.images, path.name))
        clock.took("preview", time.perf_counter() - began)

    def _resume(self) -> None:
        newest, troubles = checkpoints.newest(self.folder.checkpoints)
        if newest is not None:
            weights = newest.tensors("model")
            if {k: t.shape for k, t in weights.items()} != {k: t.shape for k, t in self.net.state_dict().items()}:
                raise UserError(f"{newest.path} has another network, from an earlier version: choose another --out")
            self.net.load_state_dict(weights)
            for width, net in self.ema.nets.items():
                net.load_state_dict(newest.tensors(checkpoints.label(width)))
            checkpoints.restore_optimizer(self.optimizer, self.net, newest.tensors("optimizer"))
            self.scaler.load_state_dict(newest.facts["scaler"])
            self.images = newest.images
        self.accelerator.wait_for_everyone()
        s, processes, precision = self.settings, self.accelerator.num_processes, str(self.accelerator.mixed_precision)
        self._say(Start(self.images, s.images, s.batch, str(self.device), processes, precision, tuple(troubles)))

    def _say(self, event: Event) -> None:
        """Send an event to the log, the tracker and the listener, whose first exception is kept until all is saved."""
        if not self.accelerator.is_main_process:
            return
        row = event.to_json()
        self.folder.log(row)
        if self.settings.tracker and isinstance(event, Report | HeldOut):
            numbers = {f"{event.kind}/{k}": v for k, v in row.items() if isinstance(v, (int, float))}
            self.accelerator.log(numbers, step=event.images)
        if self.progress is not None and self.failed is None:
            try:
                self.progress(event)
            except Exception as error:
                self.failed = error
                self.stop.request(f"{type(error).__name__} of a listener")

    def _stops(self) -> bool:
        """Whether a stop was requested; if one of several processes has a request, all stop before the same step."""
        if self.accelerator.num_processes == 1:
            self.stopped = self.stop.reason
        elif self.images // self.settings.batch % 8 == 0:
            requested = torch.tensor([int(self.stop.reason is not None)], device=self.device)
            if int(self.accelerator.reduce(requested, "sum")):
                self.stopped = self.stop.reason or "another process"
        return self.stopped is not None


def learning_rate(settings: Settings, images: int) -> float:
    """Linear warm-up, then constant, or half a cosine down to 0 at `train.images`; a function of images seen only."""
    rise = min(1.0, (images + settings.batch) / settings.warmup) if settings.warmup else 1.0
    if settings.decay == "none":
        return settings.lr * rise
    return settings.lr * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, images / settings.images)))
