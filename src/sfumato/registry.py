"""Names of samplers, schedules, networks, sources, tasks, features and metrics; users can register their own.

A thing is one of these: a function or a class, called with the arguments that docs/extending.md lists.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, get_args

from sfumato.errors import UserError

Kind = Literal["sampler", "schedule", "network", "source", "task", "features", "metric"]
Thing: TypeAlias = Callable[..., Any]

OUTSIDE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""`package.module:Name`, a thing of another package."""
PLUGINS = "SFUMATO_PLUGINS"
"""The environment variable that lists, separated by commas, the modules of which run folders may name things."""

_things: dict[str, dict[str, str | Thing]] = {
    "sampler": {
        "ddpm": "sfumato.diffusion.samplers:ddpm",
        "ddim": "sfumato.diffusion.samplers:ddim",
        "euler": "sfumato.diffusion.samplers:euler",
        "heun": "sfumato.diffusion.samplers:heun",
        "dpm++2m": "sfumato.diffusion.samplers:dpm_solver_2m",
        "dpm++2m-sde": "sfumato.diffusion.samplers:dpm_solver_sde",
    },
    "schedule": {
        "linear": "sfumato.diffusion.schedule:linear",
        "cosine": "sfumato.diffusion.schedule:cosine",
        "scaled-linear": "sfumato.diffusion.schedule:scaled_linear",
        "scaled-linear-zero": "sfumato.diffusion.schedule:scaled_linear_zero",
        "edm": "sfumato.diffusion.schedule:LogNormal",
        "flow": "sfumato.diffusion.schedule:Flow",
    },
    "network": {
        "unet": "sfumato.models.named:unet_of",
        "plain": "sfumato.models.named:plain_of",
        "latent": "sfumato.models.named:latent_of",
    },
    "source": {
        "cifar10": "sfumato.pictures.cifar10:open_cifar10",
        "shapes": "sfumato.pictures.drawn.shapes:ShapesSource",
        "emoji": "sfumato.pictures.drawn.emoji.source:EmojiSource",
    },
    "task": {
        "generate": "sfumato.training.tasks.generate:Generate",
        "denoise": "sfumato.training.tasks.denoise:Denoise",
        "features": "sfumato.training.tasks.features:LearnFeatures",
        "autoencoder": "sfumato.training.tasks.autoencoder:LearnAutoencoder",
        "text": "sfumato.training.tasks.text:LearnText",
        "tune": "sfumato.tuning.task:Personalise",
    },
    "features": {
        "mini": "sfumato.judging.features:mini",
        "inception": "sfumato.judging.features:inception",
        "dinov2": "sfumato.judging.features:dinov2",
        "clip": "sfumato.judging.features:clip",
    },
    "metric": {"coverage": "sfumato.judging.distance:coverage"},
}
"""The things by kind and name. Their modules are imported at their first use, because some need heavy libraries."""
_trusted: set[str] = set()


def register(kind: Kind, name: str, thing: Thing | str) -> None:
    """Register a thing of your own under a name, for recipes and commands.

    Args:
        kind: "sampler", "schedule", "network", "source", "task", "features" or "metric".
        name: A name without spaces and colons that is not in use.
        thing: A function or class with the signature given in docs/extending.md, or its place as
            "package.module:Name".

    Raises:
        ValueError: The kind is unknown, the name is invalid or in use, or `thing` is neither callable nor a place.

    Example:
        sfumato.register("sampler", "mine", my_sampler)
    """
    if kind not in _things:
        raise ValueError(f"kind={kind!r}: one of {', '.join(get_args(Kind))}")
    if not isinstance(name, str) or not name.isprintable() or not re.fullmatch(r"[^\s:]+", name):
        raise ValueError(f"name={name!r}: a name is a text without spaces and colons")
    if not callable(thing) and not (isinstance(thing, str) and OUTSIDE.fullmatch(thing)):
        raise ValueError(f"{thing!r} is neither a function, a class nor a text like package.module:Name")
    there = _things[kind].get(name)
    if there is not None and there != thing and _place(there) != _place(thing):
        raise ValueError(f"the {kind} {name!r} is {_place(there)}: choose another name")
    _things[kind][name] = thing


def names(kind: Kind) -> list[str]:
    """All registered names of a kind."""
    return list(_things[kind])


def check(kind: Kind, name: str) -> str:
    """Returns `name` if it is registered or has the form `package.module:Name`; else raises ValueError.

    The message has the nearest registered name. Only the modules of SFUMATO_PLUGINS are imported.
    """
    if name in _things[kind] or OUTSIDE.fullmatch(name):
        return name
    _import_plugins()
    if name in _things[kind]:
        return name
    near = difflib.get_close_matches(name.lower(), names(kind), 1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(names(kind))}, or package.module:Name"
    raise ValueError(f"no {kind} named {name[:60]!r}; {hint}")


def find(kind: Kind, name: str) -> Thing:
    """The function or class of a name, imported if necessary.

    Raises UserError if there is no such name, if the module cannot be imported or has no such thing, or if the thing is
    of another package that is not trusted (see `trust`).
    """
    try:
        check(kind, name)
    except ValueError as error:
        raise UserError(str(error)) from error
    known = _things[kind].get(name)
    if known is not None and not isinstance(known, str):
        return known
    place = known or name
    module, _, attribute = place.partition(":")
    what = f"the {kind} {place}"
    if known is None and not _allowed(module):
        raise UserError(
            f"{what} is code of another package, which a file alone may not start: if you trust it, run the same "
            f"command with {PLUGINS}={module.split('.')[0]} set in the environment"
        )
    thing = getattr(_imported(module, what), attribute, None)
    if not callable(thing) or not _is_of(thing, module):
        raise UserError(f"{what}: {module} has no function or class {attribute} of its own")
    result: Thing = thing
    return result


def trust(name: object) -> None:
    """Allow the module of a `package.module:Name` to be imported.

    Call it only with a name that the user wrote, in a recipe, an option or a call. Never call it with a name from a run
    folder, a checkpoint or a downloaded file, which another person may have written. Other values have no effect.
    """
    if isinstance(name, str) and OUTSIDE.fullmatch(name):
        _trusted.add(name.partition(":")[0])


def arguments(
    thing: Thing, given: Mapping[str, object], options: Mapping[str, object], where: str
) -> dict[str, object]:
    """The keyword arguments with which to call `thing`.

    They are those of the values `given` that it has parameters for, and all `options`, which take precedence.
    where: the recipe's key of the options, for the error. Raises UserError if `thing` has no parameter for an option.
    """
    called = getattr(thing, "__name__", type(thing).__name__)
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {called} has no signature to read: wrap it in a function of your own") from error
    chosen = {key: value for key, value in given.items() if key in signature.parameters} | dict(options)
    try:
        signature.bind_partial(**chosen)
    except TypeError as error:
        takes = ", ".join(key for key in signature.parameters if key not in ("self", "args", "kwargs"))
        raise UserError(f"{where}: {called}: {error}; it takes {takes or 'nothing'}") from error
    return chosen


def takes(kind: Kind, name: str, parameter: str) -> bool:
    """Whether the thing `name` has a parameter `parameter`. Raises UserError if there is no such thing."""
    return bool(arguments(find(kind, name), {parameter: None}, {}, f"the {kind} {name}"))


@contextlib.contextmanager
def calling(kind: Kind, name: str) -> Iterator[None]:
    """A block in which a thing is called and its result is used.

    A TypeError or ValueError in the block becomes a UserError, unless the thing is sfumato's own.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        if is_own(kind, name):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the {kind} {name} does not work as one ({type(error).__name__}: {reason}): docs/extending.md says how it "
            "is called and what it gives"
        ) from error


def is_own(kind: Kind, name: str) -> bool:
    """Whether a name stands for a thing of sfumato itself."""
    return (place := _things[kind].get(name)) is not None and _place(place).startswith("sfumato.")


def _allowed(module: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in (*_trusted, *_plugins()))


def _is_of(thing: Thing, module: str) -> bool:
    """Whether a function or class belongs to the module's own package, and was not imported into it from another."""
    made_elsewhere = inspect.isroutine(thing) or inspect.isclass(thing)
    return not made_elsewhere or (thing.__module__ or "").split(".")[0] == module.split(".")[0]


def _plugins() -> list[str]:
    return [name.strip() for name in os.environ.get(PLUGINS, "").split(",") if name.strip()]


def _import_plugins() -> None:
    for module in _plugins():
        _imported(module, PLUGINS)


def _imported(module: str, what: str) -> object:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"{what}: {module} cannot be imported ({error}): install its package, or put its folder on PYTHONPATH"
        ) from error
    except Exception as error:  # any exception: it is foreign code
        raise UserError(f"{what}: {module} fails when it is imported ({type(error).__name__}: {error})") from error


def _place(thing: str | Thing) -> str:
    if isinstance(thing, str):
        return thing
    return f"{thing.__module__}:{getattr(thing, '__qualname__', type(thing).__name__)}"
