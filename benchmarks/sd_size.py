"""Stable Diffusion at its real size: the time of a step and the memory, against diffusers alone.

A pipeline with random weights and the exact shape of SD 1.5 (or SD 2) is built, saved, and sampled with DDIM at 512
px with guidance, by `sfumato` and by diffusers alone, in turn and in the same dtype. Claim: seconds per step and peak
memory at most 1.05 x those of diffusers.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from common import Cells, Figures, arguments, in_turn, passed, run, set_threads, table

RATIO = 1.05
SHAPES = {
    "sd15": {"cross": 768, "heads": 8, "linear": False, "text": (768, 12, 12), "prediction": "epsilon"},
    "sd2": {"cross": 1024, "heads": [5, 10, 20, 20], "linear": True, "text": (1024, 23, 16),
            "prediction": "v_prediction"},
}  # fmt: skip


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "")
    p.add_argument("--shape", choices=tuple(SHAPES), default="sd15", help="which shape")
    p.add_argument("--side", type=int, default=512, help="of the picture, in pixels")
    p.add_argument("--steps", type=int, default=2, help="of DDIM")
    p.add_argument("--rounds", type=int, default=3, help="how often each, in turn")
    p.add_argument("--precision", choices=("fp32", "bf16"), default="bf16", help="of the weights")
    p.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    if args.inside:
        print(json.dumps(once(args.inside[0], Path(args.inside[1]), args)))
        return
    cells = Cells("sd-size", args)
    settings = {"shape": args.shape, "side": args.side, "steps": args.steps, "rounds": args.rounds,
                "precision": args.precision, "threads": args.threads}  # fmt: skip
    f = cells.measure(f"{args.shape}-{args.precision}", settings, lambda: rounds(cells, args))["figures"]
    rows = [
        [name, f"{f[name]['seconds_a_step']:.2f}", f"{f[name]['peak_mb']:.0f}"] for name in ("sfumato", "diffusers")
    ]
    table(f"{args.shape}, {args.side} px, {args.precision}", ("", "seconds a step", "peak MB"), rows)
    passed(f"seconds a step, ours / diffusers: {f['ratio']:.3f}, at most {RATIO}", f["ratio"] <= RATIO)
    passed(f"peak memory, ours / diffusers: {f['memory_ratio']:.3f}, at most {RATIO}", f["memory_ratio"] <= RATIO)


def rounds(cells: Cells, args: argparse.Namespace) -> Figures:
    """Both in turn, each in a process of its own."""
    folder = cells.work / args.shape
    if not (folder / "model_index.json").is_file():
        build(args.shape, folder)
    both, found = in_turn(__file__, ("sfumato", "diffusers"), folder, args)
    ratios = [
        a["seconds_a_step"] / b["seconds_a_step"] for a, b in zip(found["sfumato"], found["diffusers"], strict=True)
    ]
    memory = both["sfumato"]["peak_mb"] / both["diffusers"]["peak_mb"]
    return {**both, "ratio": statistics.median(ratios), "memory_ratio": memory, "rounds": found}


def once(who: str, folder: Path, args: argparse.Namespace) -> Figures:
    """Seconds a step, from the end of the first to the end of the last, and the most memory held."""
    import resource
    import time

    import torch

    moments: list[float] = []
    prompt, negative = "a car on a road", "blurry"
    if who == "sfumato":
        from sfumato import load
        from sfumato.models.sampling import Sampling

        model = load(folder, device="cpu", precision=args.precision).sized(args.side, args.side)  # type: ignore[attr-defined]
        sampling = Sampling(negative=negative, sampler="ddim", steps=args.steps + 1, guidance=7.5)
        model.sample(
            1, texts=[prompt], sampling=sampling, callback=lambda first, step: moments.append(time.perf_counter())
        )
    else:
        from diffusers import DDIMScheduler, StableDiffusionPipeline

        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[args.precision]
        pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=dtype)
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        pipe(prompt, negative_prompt=negative, height=args.side, width=args.side, num_inference_steps=args.steps + 1,
             guidance_scale=7.5, callback_on_step_end=lambda *a: moments.append(time.perf_counter()) or {})  # fmt: skip
    seconds = (moments[-1] - moments[0]) / (len(moments) - 1)
    return {"seconds_a_step": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}


def build(shape: str, folder: Path) -> None:
    """A pipeline of the real shape with random weights, in fp16 on disk."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from sfumato.pictures.tokenizer import learn_tokenizer

    s = SHAPES[shape]
    width, layers, heads = s["text"]
    blocks = ("CrossAttnDownBlock2D",) * 3, ("CrossAttnUpBlock2D",) * 3
    torch.set_default_dtype(torch.float16)
    try:
        unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=s["cross"], attention_head_dim=s["heads"],
            use_linear_projection=s["linear"], block_out_channels=(320, 640, 1280, 1280),
            down_block_types=(*blocks[0], "DownBlock2D"), up_block_types=("UpBlock2D", *blocks[1]),
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4, sample_size=512,
        )  # fmt: skip
        text = CLIPTextModel(CLIPTextConfig(
            vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
            num_attention_heads=heads, max_position_embeddings=77,
        ))  # fmt: skip
    finally:
        torch.set_default_dtype(torch.float32)
    tokenizer = learn_tokenizer(["a car on a road", "blurry"] * 50, 1024, 77)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                              set_alpha_to_one=False, steps_offset=1, prediction_type=s["prediction"])  # fmt: skip
    StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip


if __name__ == "__main__":
    run(main)
