"""A LoRA at Stable Diffusion's real size: the time and memory of our training step against a plain loop's.

The base has random weights and the exact shape of SD 1.5, in fp32 on a CPU, batch 1. The plain loop is that of
diffusers' example script: every step encodes a picture and a prompt, and trains the same LoRA (attention, rank 16) with
AdamW.
Ours is the training of `sfumato tune` with the same LoRA and no prior. Claims: see CLAIMS.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common import Cells, Figures, arguments, in_turn, passed, peak_mb, run, set_threads, table
from sd_size import build

WAYS = ("plain", "ours", "twice")
CLAIMS = {"ours": (0.85, 0.95), "twice": (1.2, 0.65)}  # of the plain loop's seconds and memory
PROMPT = "a zarnu car"


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "")
    p.add_argument("--side", type=int, default=256, help="of the pictures, in pixels")
    p.add_argument("--steps", type=int, default=3, help="that are timed, after one that is not")
    p.add_argument("--rounds", type=int, default=3, help="how often each way, in turn")
    p.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    if args.inside:
        way, folder = args.inside
        seconds = plain(Path(folder), args) if way == "plain" else ours(Path(folder), way == "twice", args)
        print(json.dumps({"seconds_a_step": statistics.median(seconds[1:]), "peak_mb": peak_mb()}))
        return
    cells = Cells("tune-size", args)
    settings = {"side": args.side, "steps": args.steps, "rounds": args.rounds, "threads": args.threads}
    f = cells.measure(f"sd15-{args.side}", settings, lambda: rounds(cells, args))["figures"]
    rows = [[way, f"{f[way]['seconds_a_step']:.2f}", f"{f[way]['peak_mb']:.0f}"] for way in WAYS]
    table(f"SD 1.5's shape, {args.side} px, fp32, batch 1", ("", "seconds a step", "peak MB"), rows)
    for way, (most, memory) in CLAIMS.items():
        ratio, held = f["ratios"][way], f[way]["peak_mb"] / f["plain"]["peak_mb"]
        passed(f"{way}: {ratio:.2f} of the plain loop's seconds, at most {most}", ratio <= most)
        passed(f"{way}: {held:.2f} of its memory, at most {memory}", held <= memory)


def rounds(cells: Cells, args: argparse.Namespace) -> Figures:
    """All ways in turn, each in a process of its own."""
    folder = cells.work / "sd15"
    if not (folder / "model_index.json").is_file():
        build("sd15", folder)
    medians, found = in_turn(__file__, WAYS, folder, args)
    ratios = {
        way: statistics.median(
            a["seconds_a_step"] / b["seconds_a_step"] for a, b in zip(found[way], found["plain"], strict=True)
        )
        for way in CLAIMS
    }
    return {**medians, "ratios": ratios, "rounds": found}


def pictures(args: argparse.Namespace) -> list[Image.Image]:
    rng = np.random.default_rng(args.seed)
    rows = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    return [Image.fromarray(row).resize((args.side, args.side), Image.Resampling.BICUBIC) for row in rows]


def plain(folder: Path, args: argparse.Namespace) -> list[float]:
    """As diffusers' example: everything in memory, everything encoded at every step."""
    import torch
    from diffusers import DDPMScheduler, StableDiffusionPipeline
    from peft import LoraConfig

    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    unet, vae, text = pipe.unet, pipe.vae.requires_grad_(False), pipe.text_encoder.requires_grad_(False)
    unet.requires_grad_(False)
    torch.manual_seed(args.seed)
    unet.add_adapter(LoraConfig(r=16, lora_alpha=16, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    trained = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-4)
    schedule = DDPMScheduler.from_config(pipe.scheduler.config)
    ids = pipe.tokenizer(PROMPT, padding="max_length", max_length=77, return_tensors="pt").input_ids
    photos = [torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 127.5 - 1 for image in pictures(args)]
    seconds = []
    for k in range(args.steps + 1):
        began = time.perf_counter()
        with torch.no_grad():
            latents = vae.encode(photos[k % len(photos)]).latent_dist.sample() * vae.config.scaling_factor
            states = text(ids)[0]
        noise = torch.randn_like(latents)
        t = torch.randint(0, 1000, (1,))
        found = unet(schedule.add_noise(latents, noise, t), t, states).sample
        torch.nn.functional.mse_loss(found, noise).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    return seconds


def ours(folder: Path, twice: bool, args: argparse.Namespace) -> list[float]:
    """`sfumato tune` up to its last step, with one piece of what is held out, for its memory alone."""
    from common import note_steps
    from sfumato.tuning import start
    from sfumato.tuning.preset import Preset

    work = folder.parent / f"photos-{args.side}"
    work.mkdir(exist_ok=True)
    for k, image in enumerate(pictures(args)):
        image.save(work / f"{k}.png")
    recipe = Preset("seed").recipe(str(folder)).with_({"data.source": str(work), "tune.noun": "car"})
    given: dict[str, Any] = {
        "tune.dropout": 0, "tune.prior": 0, "tune.checkpointing": str(twice).lower(), "tune.variants": 1,
        "train.precision": "fp32", "data.image_size": args.side, "train.save_seconds": 1e6, "train.save_images": 10**6,
    }  # fmt: skip
    options = [f"{key}={value}" for key, value in given.items()]
    job = start.begin(recipe, options, folder.parent / f"tune-{args.side}-{os.getpid()}", steps=args.steps + 2)
    for name in ("fixed", "elsewhere"):
        setattr(job.task, name, {key: value[:4] for key, value in getattr(job.task, name).items()})
    moments = note_steps(job.task)
    start.run(job)
    return [b - a for a, b in itertools.pairwise(moments)]


if __name__ == "__main__":
    run(main)
