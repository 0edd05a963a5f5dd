"""A training step recorded once as a CUDA graph and replayed, because small networks otherwise wait for the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.training.task import Batch

WARM = 3  # steps before the recording, which allocate everything that is allocated once
CLOSE, TRIED = 0.02, 1e-4  # tolerance of the replayed loss, relative to the normal one; learning rate of the trial


@dataclass(frozen=True)
class Numbers:
    """What changes in each step beside the batch, on the device: the learning rate, and the weights of the averages."""

    rate: Tensor
    shares: Tensor


Step = Callable[[Batch, Numbers], tuple[Tensor, Tensor]]  # the loss and the gradient's norm


class Recorded:
    """`step` as a CUDA graph with its own buffers.

    step: works on the device only, without copies from the CPU and without synchronising; state: returns the tensors
    that it modifies, some of which may be created by the first steps. Their values are restored after the recording.
    Raises RuntimeError if the step cannot be recorded, or if the replay gives another loss.
    """

    def __init__(self, step: Step, example: Batch, averages: int, state: Callable[[], list[Tensor]]) -> None:
        before = {tensor.data_ptr(): tensor.clone() for tensor in state()}
        device = next(iter(state())).device
        self.batch = {key: value.to(device, copy=True) for key, value in example.items()}
        self.numbers = Numbers(torch.zeros((), device=device), torch.zeros(averages, device=device))
        self.graph = torch.cuda.CUDAGraph()
        try:
            self.out = self._record(step, device)
        finally:
            for tensor in state():
                if tensor.data_ptr() in before:
                    tensor.copy_(before[tensor.data_ptr()])
                else:
                    tensor.zero_()  # of an optimiser, whose state starts at 0

    def _record(self, step: Step, device: torch.device) -> tuple[Tensor, Tensor]:
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                usual, _ = step(self.batch, self.numbers)  # at a rate of 0
        torch.cuda.current_stream(device).wait_stream(stream)
        with torch.cuda.graph(self.graph):
            out = step(self.batch, self.numbers)
        losses = []
        for rate in (0.0, TRIED, TRIED):
            self.numbers.rate.fill_(rate)
            self.graph.replay()
            losses.append(float(out[0]))
        if not math.isclose(losses[0], float(usual), rel_tol=CLOSE) or losses[1] == losses[2]:
            raise RuntimeError(f"the recorded step differs from the normal one: losses {losses}, not {float(usual)}")
        return out

    def __call__(self, batch: Batch, rate: float, shares: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Replay a step; returns loss and gradient norm, in tensors that the next step overwrites."""
        for key, value in batch.items():
            self.batch[key].copy_(value, non_blocking=True)
        self.numbers.rate.fill_(rate)
        for target, share in zip(self.numbers.shares, shares, strict=True):
            target.fill_(share)
        self.graph.replay()
        return self.out
