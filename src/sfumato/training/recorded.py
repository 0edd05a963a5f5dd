"""A training step recorded once on a GPU and replayed: small networks wait for the processor otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.training.task import Batch

WARM = 3  # steps before a recording, in which everything is made that is made once
CLOSE, TRIED = 0.02, 1e-4  # relative difference of a replayed loss from the usual one; a rate to try it at


@dataclass(frozen=True)
class Numbers:
    """What changes from step to step beside the batch, on the device: the learning rate, and the averages' shares."""

    rate: Tensor
    shares: Tensor


Step = Callable[[Batch, Numbers], tuple[Tensor, Tensor]]  # the loss and the gradient's norm


class Recorded:
    """`step` as a CUDA graph over buffers of its own.

    step: works on the device of its arguments alone, copies nothing from the processor and waits for nothing; state:
    gives the tensors that it changes, of which the first steps may make some. They are left as they were.
    Raises RuntimeError if the step cannot be recorded, or if what is replayed is not what it does.
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
                    tensor.zero_()  # an optimiser's, which begins at nothing

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
            raise RuntimeError(f"a recorded step is not the usual one: {float(usual)} against {losses}")
        return out

    def __call__(self, batch: Batch, rate: float, shares: Sequence[float]) -> tuple[Tensor, Tensor]:
        """The loss and the gradient's norm of a step, in tensors that the next one overwrites."""
        for key, value in batch.items():
            self.batch[key].copy_(value, non_blocking=True)
        self.numbers.rate.fill_(rate)
        for target, share in zip(self.numbers.shares, shares, strict=True):
            target.fill_(share)
        self.graph.replay()
        return self.out
