"""Reports: a verdict as a page with pictures, figures and explanations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from sfumato.files import Json, write_json
from sfumato.judging.denoise import DenoiseVerdict
from sfumato.judging.emoji import PARTS, EmojiVerdict
from sfumato.judging.features import distance_name
from sfumato.judging.model import Judged
from sfumato.models.model import Model
from sfumato.pictures.drawn.emoji.read import compare
from sfumato.pictures.pixels import to_uint8
from sfumato.runs.folder import RunFolder
from sfumato.show.grid import grid, side_by_side
from sfumato.show.plot import curves, lines
from sfumato.show.report import Fact, Page, Picture, Section, Table, write_page

SHOWN = 64


def write(found: Judged, folder: Path) -> Path:
    """Write report.html and report.json into a folder; return the page's path."""
    write_json(folder / "report.json", found.to_json())
    return write_page(folder / "report.html", page(found, folder))


def page(found: Judged, folder: Path | None = None) -> Page:
    """The report of one model; with a run folder, its curves and recipe too."""
    v = found.verdict
    sections = [samples_section(found), figures_section(found), copies_section(found)]
    events = RunFolder(folder).events() if folder is not None else []
    if events:
        sections.append(curves_section(events))
    about = found.model.recipe.about if found.model.recipe else ""
    sections.append(Section("How to repeat this", [about] if about else [], code=[found.command]))
    lead = (
        f"{v.n:,} pictures drawn with {found.settings['sampler']} in {found.settings['evaluations']} evaluations each, "
        f"compared with {v.reference_n:,} training pictures and {len(found.store.held_out):,} held-out ones."
    )
    return Page(f"{found.model.name}: how good is it?", lead, v.words(), v.quality.tone, sections)


def write_denoised(model: Model, verdict: DenoiseVerdict, folder: Path) -> Path:
    """Write report.html and report.json of a denoiser into a folder; return the page's path."""
    write_json(folder / "report.json", {"model": model.name, **verdict.to_json()})
    v = verdict
    columns = {name: to_uint8(x[:12]) for name, x in v.pictures.items()}
    pictures = [
        Picture(side_by_side(columns), "noisy, denoised and true pictures", "The first held-out pictures.", True)
    ]
    rows: list[list[str | int | float]] = [
        ["PSNR, mean of pictures (dB)", v.noisy.per_image.value, v.denoised.per_image.value],
        ["PSNR of the mean error (dB)", v.noisy.of_mean, v.denoised.of_mean],
        ["SSIM, uniform window of 7", v.noisy.uniform7.value, v.denoised.uniform7.value],
        ["SSIM, Gaussian window of 11", v.noisy.gauss11.value, v.denoised.gauss11.value],
    ]
    facts = [
        Fact(f"{v.denoised.per_image.value:.2f} dB", "PSNR", f"noisy {v.noisy.per_image.value:.2f} dB"),
        Fact(f"{v.denoised.uniform7.value:.3f}", "SSIM", f"noisy {v.noisy.uniform7.value:.3f}"),
        Fact(f"{v.ms_per_picture:.1f} ms", "a picture", f"on {model.device}, {model.precision}"),
    ]
    sections = [
        Section("Noisy, denoised, true", pictures=pictures),
        Section("Figures", facts=facts, tables=[Table(["", "noisy", "denoised"], rows)]),
    ]
    if events := RunFolder(folder).events():
        sections.append(curves_section(events))
    sections.append(Section("How to repeat this", code=[v.command] if v.command else []))
    lead = f"{v.n:,} held-out pictures with noise of sigma {v.sigma:g}, white being 1."
    made = Page(f"{model.name}: how well does it remove noise?", lead, v.words(), "unclear", sections)
    return write_page(folder / "report.html", made)


def write_emoji(model: Model, verdict: EmojiVerdict, folder: Path) -> Path:
    """Write report.html and report.json of a text-to-image model into a folder; return the page's path."""
    write_json(folder / "report.json", {"model": model.name, **verdict.to_json()})
    rows: list[list[str | int | float]] = []
    sections = []
    for name, kind in verdict.kinds.items():
        rows.append(
            [
                name,
                len(kind.scenes),
                *(f"{s.value:.1%} ({s.low:.0%}-{s.high:.0%})" for s in (*kind.shares.values(), verdict.crisp(name))),
                f"{kind.median_psnr:.1f}",
                f"{verdict.bounds[name]:.1f}",
            ]
        )
        right = [compare(a, b).things for a, b in zip(kind.scenes, kind.shown, strict=True)]
        texts = [
            scene.caption() + ("" if good else f" / read: {' and '.join(shown.things)}")
            for scene, shown, good in zip(kind.scenes, kind.shown, right, strict=True)
        ]
        first = Picture(grid(kind.samples[:24], columns=6, captions=texts[:24]), name, "The first, in order.", True)
        wrong = [k for k, good in enumerate(right) if not good][:12]
        pictures = [first]
        if wrong:
            failed = grid(kind.samples[wrong], columns=6, captions=[texts[k] for k in wrong])
            pictures.append(Picture(failed, f"{name}, wrong", "The first that are wrong.", True))
        sections.append(Section(name.capitalize(), pictures=pictures))
    head = ["prompts", "n", *PARTS, "crisp", "dB to the drawing, median", "crisp above, dB"]
    table = Table(head, rows)
    made = Page(
        f"{model.name}: does it draw what prompts say?",
        "Every picture is compared with all possible drawings: it is right if the drawing of its prompt is nearest. "
        "Its PSNR to that drawing shows how near it is. It is crisp if the PSNR is above a bound that 95 % of true "
        "drawings, encoded and decoded by the model's autoencoder, exceed by 3 dB.",
        verdict.words(),
        "unclear",
        [Section("Figures", tables=[table]), *sections],
    )
    return write_page(folder / "report.html", made)


def samples_section(found: Judged) -> Section:
    count = min(SHOWN, len(found.samples))
    real = found.store.held_out.pixels[: min(16, len(found.store.held_out))]
    return Section(
        "What it draws",
        pictures=[
            Picture(
                grid(found.samples[:count]),
                f"{count} samples",
                "The first samples, in order, without selection.",
                True,
            ),
            Picture(grid(real), "real pictures", "Real pictures that were held out of training.", True),
        ],
    )


def figures_section(found: Judged) -> Section:
    v = found.verdict
    name = distance_name(v.features)
    facts = [
        Fact(f"{v.fd.value:.4g}", name, f"95 % interval {v.fd.low:.4g} to {v.fd.high:.4g}; lower is better"),
        Fact(f"{v.fd.floor:.4g}", "floor", f"the value of {v.fd.floor_n:,} real held-out pictures"),
        Fact(f"{v.kid:.4g}", "kernel distance", f"± {v.kid_error:.2g}; unbiased, also for few pictures"),
        Fact(
            f"{v.precision:.0%}",
            "precision",
            "share of samples among the training pictures" + ("" if v.recall else "; it means nothing without recall"),
        ),
        Fact(f"{v.recall:.0%}", "recall", "share of training pictures among the samples"),
        Fact(f"{v.alike:.0%}", "nearly alike", "share of samples; of real pictures about 0 %"),
        *(Fact(f"{value:.4g}", name, "") for name, value in v.metrics.items()),
        Fact(f"{1000 * found.seconds / v.n:.1f} ms", "a picture", f"on {found.model.device}, {found.model.precision}"),
    ]  # fmt: skip
    return Section("Figures", v.notes, facts)


def copies_section(found: Judged) -> Section:
    m = found.verdict.memorised
    train, held = found.store.train.pixels, found.store.held_out.pixels
    columns: dict[str, Tensor] = {
        "sample": found.samples[[p.sample for p in m.pairs]],
        "nearest training": torch.stack([train[p.train] for p in m.pairs]),
        "nearest held out": torch.stack([held[p.held_out] for p in m.pairs]),
    }
    note = "The samples that are closest to one training picture, the most suspicious first."
    return Section(
        "Does it copy?",
        [m.verdict],
        [
            Fact(
                f"{m.copies:.1%}",
                "near-copies",
                f"{m.copies_low:.1%} to {m.copies_high:.1%}; of real pictures {m.chance:.1%}",
            ),
            Fact(
                f"{m.nearer:.0%}",
                "nearer to training",
                f"{m.nearer_low:.0%} to {m.nearer_high:.0%}; 50 % without memorisation",
            ),
        ],
        [Picture(side_by_side(columns), "nearest pairs", note, True)],
    )


def curves_section(events: Sequence[Json]) -> Section:
    ends = [event for event in events if event["event"] in ("report", "end")]
    prose = [f"{ends[-1]['images']:,} images seen."] if ends else []
    return Section("Training curves", prose, pictures=[Picture(curves(events), "loss over images seen")])


def write_comparison(a: Judged, b: Judged, paths: tuple[str, str], folder: Path) -> Path:
    """Write compare.html and compare.json for two models judged with the same seeds; return the page's path."""
    names = _names(a, b)
    count = min(32, len(a.samples), len(b.samples))
    both = [(names[0], a.samples[: count // 2]), (names[1], b.samples[: count // 2])]
    fields: list[tuple[str, str]] = [
        ("kid", "kernel distance"),
        ("precision", "precision"),
        ("recall", "recall"),
    ]
    rows: list[list[str | int | float]] = [
        [distance_name(a.verdict.features), _interval(a), _interval(b)],
        ["floor", a.verdict.fd.floor, b.verdict.fd.floor],
        *[[label, getattr(a.verdict, key), getattr(b.verdict, key)] for key, label in fields],
        ["near-copies", f"{a.verdict.memorised.copies:.1%}", f"{b.verdict.memorised.copies:.1%}"],
        ["million parameters", *[_parameters(j) / 1e6 for j in (a, b)]],
        ["evaluations a picture", a.settings["evaluations"], b.settings["evaluations"]],
        ["ms a picture", *[1000 * j.seconds / len(j.samples) for j in (a, b)]],
        ["images seen", *[_images_seen(path) for path in paths]],
    ]
    logs = {name: RunFolder(Path(path)).events("held_out") for name, path in zip(names, paths, strict=True)}
    series = {name: [(e["images"], e["loss"]) for e in events] for name, events in logs.items() if events}
    pairs = Picture(_pairs(both), "samples side by side", crisp=True)
    sections = [
        Section("The same seeds", ["Each row starts from the same noise."], pictures=[pairs]),
        Section("Figures", tables=[Table(["", *names], rows)]),
    ]  # fmt: skip
    if series:
        plot = lines(series, "images seen", "held-out loss", logy=True)
        sections.append(Section("Training curves", pictures=[Picture(plot, "held-out loss")]))
    write_json(folder / "compare.json", {"a": a.to_json(), "b": b.to_json(), "verdict": words_of(a, b)})
    made = Page(
        f"{names[0]} and {names[1]}",
        f"{len(a.samples):,} pictures each, the same seeds.",
        words_of(a, b),
        "unclear",
        sections,
    )
    return write_page(folder / "compare.html", made)


def words_of(a: Judged, b: Judged) -> str:
    """Which model is better, if the intervals do not overlap."""
    first, second, (left, right) = a.verdict.fd, b.verdict.fd, _names(a, b)
    name = distance_name(a.verdict.features)
    if first.high < second.low:
        return f"{left} is better: {name} {first.value:.4g} against {second.value:.4g}, and the intervals do not touch."
    if second.high < first.low:
        return (
            f"{right} is better: {name} {second.value:.4g} against {first.value:.4g}, and the intervals do not touch."
        )
    both = f"{name} {first.value:.4g} and {second.value:.4g}"
    return f"Too close to call: {both}, with intervals that overlap. Draw more pictures with -n."


def _names(a: Judged, b: Judged) -> tuple[str, str]:
    same = a.model.name == b.model.name
    return (f"{a.model.name} (A)", f"{b.model.name} (B)") if same else (a.model.name, b.model.name)


def _interval(j: Judged) -> str:
    fd = j.verdict.fd
    return f"{fd.value:.4g} ({fd.low:.4g} to {fd.high:.4g})"


def _parameters(j: Judged) -> int:
    return sum(p.numel() for p in j.model.net.parameters())


def _images_seen(path: str) -> str | int:
    events = RunFolder(Path(path)).events("report")
    return int(events[-1]["images"]) if events else "not known"


def _pairs(columns: Sequence[tuple[str, Tensor]]) -> Image.Image:
    half = len(columns[0][1]) // 2
    wide = [(name, part) for k in (0, half) for name, pictures in columns for part in [pictures[k : k + half]]]
    return side_by_side(wide)
