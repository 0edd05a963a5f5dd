"""How fast this machine trains, samples and judges, estimated by timing one small network."""

from __future__ import annotations

from sfumato.doctor.machine import Found


def train(timed: dict[str, float]) -> Found:
    from sfumato.device import best_device
    from sfumato.recipe.recipe import load, shipped

    device = best_device()
    timed["evaluate"] = seconds = _seconds_a_picture(device)
    rate = 1 / (3.5 * seconds)  # forward 1, backward 2, optimiser and EMA 0.5
    images = load("cifar10").train.images
    how = f"about {_two(rate)} images/s on {device} for a 3 M network at 32 px, {_time(images / rate)} for cifar10"
    large = "" if device == "cuda" else "; cifar10-large needs a GPU"
    return f"{how}{large}; recipes: {', '.join(shipped())}", {
        "device": device, "images_per_second": rate, "cifar10_seconds": images / rate, "recipes": list(shipped())
    }  # fmt: skip


def sample(timed: dict[str, float]) -> Found:
    seconds = 20 * timed["evaluate"]
    words = f"about {_two(1000 * seconds)} ms a picture of 32 px in 20 evaluations of a 3 M network"
    return words, {"ms_per_picture": 1000 * seconds}


def judge() -> Found:
    from sfumato.judging.features import open_features

    try:
        dim = open_features("mini").dim
    except Exception as error:
        return f"only with features that are downloaded ({error})", {"offline": False}
    return (
        f"offline with {dim} features of a shipped classifier (mini); FID, DINOv2 and CLIP need the downloads above",
        {"offline": True},
    )


def _seconds_a_picture(device: str, batch: int = 16, budget: float = 0.5) -> float:
    """Seconds per picture of a forward pass of the small preset at 32 px: the best of all within `budget` seconds.

    On a CPU the processor time of one thread is scaled to all threads, so that other programs do not count.
    """
    import time

    import torch

    from sfumato.device import Policy, best_precision
    from sfumato.nets.unet import build

    net = build("small").eval().to(device)
    x, c = torch.zeros(batch, 3, 32, 32, device=device), torch.zeros(batch, device=device)
    policy = Policy.of(best_precision(device))
    threads, clock = torch.get_num_threads(), time.thread_time if device == "cpu" else time.perf_counter
    times: list[float] = []
    try:
        torch.set_num_threads(1)
        with torch.inference_mode(), policy.autocast(device):
            net(x, c).sum().item()
            end = time.perf_counter() + budget
            while not times or time.perf_counter() < end:
                start = clock()
                net(x, c).sum().item()
                times.append(clock() - start)
    finally:
        torch.set_num_threads(threads)
    return min(times) / batch / (threads**0.9 if device == "cpu" else 1)


def _two(value: float) -> str:
    """A rough value with two digits."""
    return f"{float(f'{value:.2g}'):,.12g}"


def _time(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
