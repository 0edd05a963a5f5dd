"""A LoRA in training: PEFT's layers are added to a network, and read from it as pieces."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from sfumato.errors import UserError
from sfumato.lora.changes import Change, Piece
from sfumato.lora.lora import Lora
from sfumato.models.family import LatentNet, Part
from sfumato.recipe.sections import Tune

NAME = "default"
TAKES_OUT = ("pissa", "olora")  # initial values that change the base's weights


@dataclass(frozen=True)
class Shape:
    """The settings of a LoRA. The change is scaled by alpha / rank; feed_forward: adapt feed-forward layers beside the
    attention; text: adapt the text encoder's attention too; init: PEFT's `init_lora_weights`."""

    rank: int = 16
    alpha: float = 16.0
    dropout: float = 0.0
    feed_forward: bool = True
    text: bool = False
    dora: bool = False
    rank_stabilised: bool = False
    init: bool | str = True

    @classmethod
    def of(cls, s: Tune) -> Shape:
        init: bool | str = True if s.init == "default" else s.init
        return cls(s.rank, s.alpha, s.dropout, s.feed_forward, s.text_encoder, s.dora, s.rank_stabilised, init)

    def targets(self, part: Part) -> list[str]:
        """Endings of the names of the layers that are changed in a part."""
        if part.text and not self.text:
            return []
        return [*part.attention, *(part.feed_forward if self.feed_forward else ())]


def attach(net: LatentNet, shape: Shape, seed: int = 0) -> list[nn.Parameter]:
    """Add a LoRA to a network, drawn from `seed`, in float32, and freeze the rest. Returns the parameters to train.

    Raises UserError if the network has none of the layers that a LoRA changes, or already has a LoRA in training.
    """
    if any(layers(net).values()):
        raise UserError(
            "this base has a LoRA whose tuning is not finished: finish that tuning, or give the base itself"
        )
    net.requires_grad_(False)
    torch.manual_seed(seed)
    taken_out = {id(m): m.weight.detach().clone() for m in _changed(net, shape)} if shape.init in TAKES_OUT else {}
    for part in net.parts:
        targets, root = shape.targets(part), cast(Any, net.module(part))
        if not targets:
            continue
        config = LoraConfig(
            r=shape.rank, lora_alpha=shape.alpha, lora_dropout=shape.dropout, target_modules=targets,
            use_dora=shape.dora, use_rslora=shape.rank_stabilised, init_lora_weights=shape.init,
        )  # fmt: skip
        try:
            root.add_adapter(config, adapter_name=NAME)
        except ValueError as error:
            raise UserError(f"this base has no layers named {', '.join(targets)}: it cannot be tuned") from error
    trained = [p for p in net.parameters() if p.requires_grad]
    for p in trained:
        p.data = p.data.float()
    for named in layers(net).values():
        for layer in named.values():
            base: Any = layer.base_layer
            if id(base) in taken_out:
                _BEGUN[layer] = Begun(
                    _copied(layer.lora_A[NAME].weight), _copied(layer.lora_B[NAME].weight),
                    taken_out[id(base)], base.weight.data,
                )  # fmt: skip
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()  # `Adapter` switches it on during training only
    return trained


@dataclass(frozen=True)
class Begun:
    """The initial state of a LoRA whose first matrices are subtracted from the weight (PiSSA, Meng et al. 2024; OLoRA).

    down, up: those matrices; whole: the base's weight; less: the weight less their product, which the network has.
    """

    down: Tensor
    up: Tensor
    whole: Tensor
    less: Tensor


_BEGUN: WeakKeyDictionary[LoraLayer, Begun] = WeakKeyDictionary()
"""Initial states by PEFT's layers."""


def _changed(net: LatentNet, shape: Shape) -> list[nn.Linear]:
    """The layers to which `attach` adds a LoRA."""
    return [
        module
        for part in net.parts
        for name, module in net.module(part).named_modules()
        if isinstance(module, nn.Linear) and name.endswith(tuple(f".{ending}" for ending in shape.targets(part)))
    ]


def layers(net: LatentNet) -> dict[Part, dict[str, LoraLayer]]:
    """PEFT's layers by part and module name."""
    found: dict[Part, dict[str, LoraLayer]] = {}
    for part in net.parts:
        named = net.module(part).named_modules()
        found[part] = {part.plain(name): m for name, m in named if isinstance(m, LoraLayer)}
    return found


@torch.no_grad()
def taken(net: LatentNet) -> Lora:
    """A copy of the LoRA in a network."""
    parts: dict[Part, dict[str, Change]] = {}
    for part, named in layers(net).items():
        parts[part] = {}
        for name, layer in named.items():
            if NAME not in layer.lora_A:
                continue
            down, up = (_copied(m[NAME].weight) for m in (layer.lora_A, layer.lora_B))
            magnitude = None
            if NAME in layer.lora_magnitude_vector:
                magnitude = _copied(layer.lora_magnitude_vector[NAME].weight)
            begun = _BEGUN.get(layer)
            if begun is not None:  # subtract the initial matrices, so that the LoRA fits the base's own weights
                down, up = torch.cat([down, begun.down]), torch.cat([up, -begun.up], 1)
            parts[part][name] = Piece(down, up, scale=float(layer.scaling[NAME]), magnitude=magnitude)
    return Lora(parts)


def enabled(net: LatentNet, on: bool) -> None:
    """Switch the LoRA of a network on or off."""
    for named in layers(net).values():
        for layer in named.values():
            layer.enable_adapters(on)
            begun = _BEGUN.get(layer)
            if begun is not None:
                base: Any = layer.base_layer
                base.weight.data = begun.less if on else begun.whole


@contextlib.contextmanager
def without(net: LatentNet) -> Iterator[None]:
    """Within the block the network's LoRA is switched off."""
    enabled(net, False)
    try:
        yield
    finally:
        enabled(net, True)


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu().clone()


class Adapter(nn.Module):
    """The trained parameters of a LoRA as a module, which is saved, averaged and resumed.

    The base is shared and not a child of it, so that a copy needs no more memory than the LoRA. Calling it calls the
    base with this LoRA.
    """

    def __init__(self, net: LatentNet) -> None:
        super().__init__()
        self.base = (net,)  # in a tuple it is not registered as a child
        self.owners = {
            flat(f"{path}.{key}"): (module, key)
            for path, module in net.named_modules()
            for key, p in module.named_parameters(recurse=False)
            if p.requires_grad
        }
        self.dropouts = [m for m in net.modules() if isinstance(m, nn.Dropout) and m.p > 0]
        for name, (module, key) in self.owners.items():
            self.register_parameter(name, module._parameters[key])

    def __deepcopy__(self, memo: dict[int, object]) -> Adapter:
        other = Adapter.__new__(Adapter)
        nn.Module.__init__(other)
        other.base, other.owners, other.dropouts = self.base, self.owners, self.dropouts
        for name, p in self.named_parameters():
            other.register_parameter(name, nn.Parameter(p.detach().clone(), p.requires_grad))
        return other.train(self.training)

    def forward(self, x: Tensor, c: Tensor, **cond: Tensor) -> Tensor:
        for dropout in self.dropouts:
            dropout.train(self.training)
        try:
            with self.in_place():
                found: Tensor = self.base[0](x, c, **cond)
                return found
        finally:
            for dropout in self.dropouts:
                dropout.eval()

    @contextlib.contextmanager
    def in_place(self) -> Iterator[LatentNet]:
        """Within the block the base has the parameters of this adapter, which may be a copy."""
        own = self._parameters
        before = {name: module._parameters[key] for name, (module, key) in self.owners.items()}
        for name, (module, key) in self.owners.items():
            module._parameters[key] = own[name]
        try:
            yield self.base[0]
        finally:
            for name, (module, key) in self.owners.items():
                module._parameters[key] = before[name]


def flat(name: str) -> str:
    """A parameter's name without dots, which a module's own parameters cannot have."""
    return name.replace(".", "/")
