"""The training loop: one for every task, counted in images seen, exact to resume."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from sfumato.device import best_device, best_precision
from sfumato.errors import UserError
from sfumato.recipe.recipe import Recipe
from sfumato.recipe.sections import Train as Settings
from sfumato.runs import checkpoint as checkpoints
from sfumato.runs.folder import RunFolder
from sfumato.training.ema import PowerEMA
from sfumato.training.optimizer import optimizer_for
from sfumato.training.recorded import Numbers, Recorded
from sfumato.training.task import Batch, Task, generator_for
from sfumato.training.watch import Clock, Watch

Event = dict[str, Any]
Listener = Callable[[Event], None]
Previews = Literal["at once", "later", "none"]
REPORT_SECONDS = 2.0
FIRST_PREVIEW_SECONDS = 40.0
STREAK = 3


def precision_of(settings: Settings, device: str) -> str:
    """The recipe's precision, with `auto` resolved for the device."""
    return best_precision(device) if settings.precision == "auto" else settings.precision


def accelerator_for(settings: Settings, folder: Path) -> Accelerator:
    """Devices, mixed precision, processes and trackers, as `accelerate launch` and the recipe say.

    folder: of the run, into which TensorBoard writes. Raises UserError if a tracker is not installed.
    """
    precision = precision_of(settings, best_device())
    mixed = precision if precision in ("bf16", "fp16") else "no"
    if settings.tracker and find_spec(settings.tracker) is None:
        raise UserError(f"train.tracker={settings.tracker} needs {settings.tracker}: pip install 'sfumato[track]'")
    AcceleratorState._reset_state()  # a process may train again in another precision
    return Accelerator(
        mixed_precision=mixed, cpu=best_device() == "cpu", log_with=settings.tracker, project_dir=str(folder)
    )


class Loop:
    """A task being trained in a run folder. `run()` goes on from the newest whole checkpoint.

    previews: "at once": before the first step too, of a network that can do something already; "later"; "none".
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        folder: RunFolder,
        accelerator: Accelerator,
        listener: Listener | None = None,
        previews: Previews = "later",
    ) -> None:
        self.previews = previews
        self.task, self.recipe, self.settings, self.folder = task, recipe, recipe.train, folder
        self.accelerator, self.listener = accelerator, listener
        self.device = accelerator.device
        self.images = 0
        self.stop: str | None = None
        self.asked: str | None = None
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

    @property
    def _compiled(self) -> bool:
        chosen = self.settings.compile
        return self.device.type == "cuda" if chosen is None else chosen

    def run(self) -> None:
        """Train until `train.images`, or until a signal; leaves a checkpoint of where it stopped.

        Raises UserError if the loss stays non-finite or the disk is full.
        """
        self._resume()
        self.record()
        with _signals(self._ask_to_stop):
            clock = Clock(self.settings)
            if self.previews == "at once" and not self.images:
                self._preview(clock)
            while self.images < self.settings.images and self.stop is None:
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
                self._agree_to_stop()
            self._report(clock)
            self._save()
            if self.stop is None:
                self._preview(clock)
        self._say(event="end", images=self.images, seconds=round(clock.seconds, 3), stopped=self.stop)

    def record(self) -> None:
        """On one GPU, compile a step and record it, to be replayed from here on; nothing is learned by it."""
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
            self._say(event="note", text=f"steps are not recorded: {' '.join(str(error).split())[:200]}")
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
        """All tensors that a step changes."""
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
        if not self.scaler.is_enabled():  # a fused optimiser skips the step on the device, with no wait
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

    def _last_only(self, k: int) -> Any:
        """Gradients cross processes once a step."""
        if k < self.settings.accumulate - 1:
            return self.accelerator.no_sync(self.wrapped)
        return contextlib.nullcontext()

    def _report(self, clock: Clock) -> None:
        seen = self.watch.read()
        if seen is None:
            return
        clock.reported(self.images)
        self._say(
            event="report",
            images=self.images,
            seconds=round(clock.seconds, 3),
            loss=seen["loss"],
            grad_norm=seen["norm"],
            skipped=seen["skipped"],
            lr=learning_rate(self.settings, self.images),
            images_per_second=round(clock.rate, 2),
            inside=round(clock.share, 4),
        )
        if seen["streak"] >= STREAK:
            self._roll_back()

    def _roll_back(self) -> None:
        found, _ = checkpoints.newest(self.folder.checkpoints)
        back = found.images if found else 0
        self._say(event="rollback", images=back, before=self.images, reason=f"{STREAK} non-finite steps in a row")
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
        bands = [{"low": b.low, "high": b.high, "loss": b.loss} for b in held.bands]
        self._say(event="held_out", images=self.images, loss=held.loss, bands=bands, **held.figures)
        tensors = {"model": self.net.state_dict()}
        tensors |= {checkpoints.label(width): net.state_dict() for width, net in self.ema.nets.items()}
        tensors["optimizer"] = checkpoints.optimizer_tensors(self.optimizer, self.net)
        config = {"recipe": self.recipe.model_dump(mode="json"), **self.task.describe()}
        facts = {
            "held_out": held.loss if math.isfinite(held.loss) else None,
            "scaler": self.scaler.state_dict(),
        }
        saved = checkpoints.save(where, self.images, tensors, config, facts)
        checkpoints.prune(where, self.settings.images, self.settings.keep, self.settings.save_images)
        seconds = round(time.perf_counter() - began, 3)
        self._say(event="save", images=self.images, path=saved.path.name, seconds=seconds)

    def _preview(self, clock: Clock) -> None:
        if not self.accelerator.is_main_process or self.previews == "none":
            return
        began = time.perf_counter()
        picture = self.task.preview(self.ema.first)
        if picture is not None:
            path = self.folder.preview(self.images, picture)
            self._say(event="preview", images=self.images, path=path.name)
        clock.took("preview", time.perf_counter() - began)

    def _resume(self) -> None:
        found, troubles = checkpoints.newest(self.folder.checkpoints)
        if found is not None:
            weights = found.tensors("model")
            if {k: t.shape for k, t in weights.items()} != {k: t.shape for k, t in self.net.state_dict().items()}:
                raise UserError(
                    f"{found.path} is of another network, as earlier versions made it: choose another --out"
                )
            self.net.load_state_dict(weights)
            for width, net in self.ema.nets.items():
                net.load_state_dict(found.tensors(checkpoints.label(width)))
            checkpoints.restore_optimizer(self.optimizer, self.net, found.tensors("optimizer"))
            self.scaler.load_state_dict(found.facts["scaler"])
            self.images = found.images
        self.accelerator.wait_for_everyone()
        s = self.settings
        self._say(event="start", images=self.images, of=s.images, batch=s.batch, device=str(self.device),
                  processes=self.accelerator.num_processes, precision=self.accelerator.mixed_precision,
                  damaged=troubles)  # fmt: skip

    def _say(self, **event: Any) -> None:
        if not self.accelerator.is_main_process:
            return
        self.folder.log(event)
        if self.settings.tracker and event["event"] in ("report", "held_out"):
            numbers = {f"{event['event']}/{k}": v for k, v in event.items() if isinstance(v, (int, float))}
            self.accelerator.log(numbers, step=event["images"])
        if self.listener is not None:
            self.listener(event)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name

    def _agree_to_stop(self) -> None:
        """Stop if a signal asked for it; of several processes all after the same step, whichever was asked."""
        if self.accelerator.num_processes == 1:
            self.stop = self.asked
        elif self.images // self.settings.batch % 8 == 0:
            asked = torch.tensor([int(self.asked is not None)], device=self.device)
            if int(self.accelerator.reduce(asked, "sum")):
                self.stop = self.asked or "another process"


def learning_rate(settings: Settings, images: int) -> float:
    """Linear warm-up, then level or half a cosine down to 0 at `train.images`; a function of images seen alone."""
    rise = min(1.0, (images + settings.batch) / settings.warmup) if settings.warmup else 1.0
    if settings.decay == "none":
        return settings.lr * rise
    return settings.lr * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, images / settings.images)))


class _signals:  # noqa: N801
    """Ctrl-C and SIGTERM call `handler` while the block runs."""

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self.handler = handler

    def __enter__(self) -> None:
        self.before: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.before[number] = signal.signal(number, self.handler)
            except ValueError:  # not the main thread: the caller handles signals
                return

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
