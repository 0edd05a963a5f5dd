"""Sentences as people write them: does a text-to-image model of the emoji world draw their content?

200 sentences written by hand, in two halves of the same kinds (sentences/first.yaml, second.yaml). Each is compared
with its template, the emoji world's own caption of the same scene, drawn with the same seeds. A picture is right if it
shows all things, in any order unless the sentence states one, and the stated background. A sentence counts once, with
the share of its seeds that are right: the pictures of its seeds are similar, so intervals are over sentences. Sentences
of the kind "unknown" are drawn but not counted. Claims: CLAIM of the sentences, at most BEHIND below the template.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import sfumato
from common import Cells, Figures, arguments, passed, run, save_grid, set_threads, table
from sfumato import yaml12
from sfumato.errors import UserError
from sfumato.judging import stats
from sfumato.judging.stats import Interval
from sfumato.models.latent import LatentModel
from sfumato.pictures.drawn.emoji.read import read
from sfumato.pictures.drawn.emoji.scene import Scene
from sfumato.pictures.drawn.emoji.things import alike

SENTENCES = Path(__file__).parent / "sentences"
HALVES = ("first", "second")
PARTS = ("things", "background", "size", "place")
FORMS = ("sentence", "template")
CLAIM, BEHIND = 0.75, 0.08
PAGE = 400  # pictures of a grid


@dataclass(frozen=True)
class Sentence:
    """A sentence and what it says; None: it does not say, and any is right. No things: nothing it names can be drawn.

    things: from left to right if `ordered`; accept: thing -> others that a person would call by the same word.
    """

    text: str
    kind: str
    template: str
    things: tuple[str, ...] = ()
    background: str | None = None
    size: str | None = None
    place: str | None = None
    ordered: bool = False
    accept: dict[str, list[str]] = field(default_factory=dict)

    def right(self, scene: Scene) -> dict[str, bool]:
        """Part -> whether a scene that was read has it; only the parts that the sentence states."""
        names = [frozenset().union(*(alike()[n] for n in (t, *self.accept.get(t, ())))) for t in self.things]
        orders = [scene.things] if self.ordered else itertools.permutations(scene.things)
        things = any(all(a in b for a, b in zip(order, names, strict=True)) for order in orders)
        stated = {part: getattr(self, part) for part in PARTS[1:]}
        return {"things": things} | {k: getattr(scene, k) == v for k, v in stated.items() if v is not None}


def load(half: str) -> list[Sentence]:
    """The sentences of "first" or "second", in the order of the file."""
    rows: list[Any] = yaml12.read((SENTENCES / f"{half}.yaml").read_text(encoding="utf-8"))
    found = []
    for row in rows:
        scene = dict(row["scene"] or {})
        things = tuple(scene.pop("things", ()))
        template, accept = row["template"] or "", row.get("accept", {})
        found.append(Sentence(row["text"], row["kind"], template, things, accept=accept, **scene))
    return found


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "")
    p.add_argument("--model", default="mini", help="a shipped model or a run of the recipe mini")
    p.add_argument("--half", choices=(*HALVES, "both"), default="first", help="which of the sentences")
    p.add_argument("--seeds", type=int, default=2, help="pictures of each sentence, and of its template")
    p.add_argument("--show", action="store_true", help="print and caption the second half's sentences too")
    return p.parse_args()


def main() -> None:
    args = parse()
    if args.seeds < 1:
        raise UserError(f"--seeds {args.seeds}: draw each sentence at least once")
    set_threads(args.threads)
    model = sfumato.load(args.model)
    if not isinstance(model, LatentModel):
        raise UserError(f"{args.model} is not a text-to-image model")
    cells = Cells("text-free", args)
    halves = HALVES if args.half == "both" else (args.half,)
    rows: list[Figures] = []
    for half in halves:
        digest = hashlib.sha256((SENTENCES / f"{half}.yaml").read_bytes()).hexdigest()[:16]
        drawn = {"guidance": model.defaults.guidance, "precision": model.precision, "sentences": digest}
        settings = {"model": model.name, "seed": args.seed, "seeds": args.seeds, **drawn}

        def figures(half: str = half) -> Figures:
            return measured(model, half, args, cells)

        found = cells.measure(f"{model.name}-{half}", settings, figures)["figures"]["rows"]
        report(f"{model.name}, {half} half", found)
        rows += found
        if half == "first" or args.show:
            failures(load(half), found)
    if len(halves) > 1:
        report(f"{model.name}, both halves", rows)
    claims(rows)


def measured(model: LatentModel, half: str, args: argparse.Namespace, cells: Cells) -> Figures:
    """Rows, one a sentence: its kind, and by form what each seed's picture has right; none where nothing was read.

    Rows hold no words of the sentences; those of sentences that may be shown hold the things that were read.
    """
    sentences = load(half)
    shown = half == "first" or args.show
    n = len(sentences)
    rows: list[Figures] = [{"kind": s.kind, **{form: [] for form in FORMS}} for s in sentences]
    pictures = {}
    for form in FORMS:
        texts = [s.text if form == "sentence" or not s.template else s.template for s in sentences]
        with warnings.catch_warnings():
            if not shown:
                warnings.simplefilter("ignore")  # a warning may quote the sentence
            pictures[form] = model.sample(n * args.seeds, texts=texts, seed=args.seed)
        for k, scene in enumerate(scenes(pictures[form], sentences * args.seeds)):
            if scene is not None:
                things = {"things": list(scene.things)} if shown else {}
                rows[k % n][form].append({"right": sentences[k % n].right(scene), **things})
    beside = [pictures[form][k + n * seed] for k in range(n) for form in FORMS for seed in range(args.seeds)]
    captions = [t for s in sentences for t in (s.text, s.template or "-") for _ in range(args.seeds)]
    for number, first in enumerate(range(0, len(beside), PAGE)):
        part = slice(first, first + PAGE)
        path = cells.work / f"{model.name}-{half}-{number}.png"
        save_grid(torch.stack(beside[part]), path, captions[part] if shown else None, columns=4 * args.seeds)
        print(f"{path}: {args.seeds} of each sentence, then {args.seeds} of its template", flush=True)
    return {"rows": rows}


def scenes(pictures: Tensor, sentences: Sequence[Sentence]) -> list[Scene | None]:
    """The scene of each picture, read as one of as many things as its sentence names; None where `read` cannot."""
    found: list[Scene | None] = [None] * len(sentences)
    for count in sorted({len(s.things) for s in sentences} - {0}):
        rows = [k for k, s in enumerate(sentences) if len(s.things) == count]
        seen = read(pictures[rows], count)
        if len(seen[0].things) != count:
            print(f"note: pictures of {count} things are not read: {len(rows)} are not counted", flush=True)
            continue
        for k, scene in zip(rows, seen, strict=True):
            found[k] = scene
    return found


def share(row: Figures, form: str, parts: Sequence[str]) -> float | None:
    """Of a sentence's seeds, the share that has all of the parts; None if it states none of them or was not read."""
    seeds = [[each["right"][p] for p in parts if p in each["right"]] for each in row[form]]
    return statistics.fmean(all(seed) for seed in seeds) if seeds and seeds[0] else None


@dataclass(frozen=True)
class Paired:
    """Of n sentences: the share right by form, and the sentence's less the template's with its 95 % interval."""

    n: int
    sentence: Interval
    template: Interval
    difference: Interval


def over(rows: Sequence[Figures], parts: Sequence[str] = PARTS[:2]) -> Paired | None:
    """The rows that state a part and were read; None if there are none.

    Shares have Wilson's interval, with sentences as the sample; the difference has Newcombe's for paired shares
    (Statistics in Medicine 17, 1998, method 10, without its correction for continuity).
    """
    both = [(share(row, FORMS[0], parts), share(row, FORMS[1], parts)) for row in rows]
    pairs = [(a, b) for a, b in both if a is not None and b is not None]
    if not pairs:
        return None
    first, second = zip(*pairs, strict=True)
    a, b = wilson(sum(first), len(pairs)), wilson(sum(second), len(pairs))
    varied = min(map(len, (set(first), set(second)))) > 1
    phi = statistics.correlation(first, second) if varied else 0.0
    down, up = a.value - a.low, b.high - b.value
    below = math.sqrt(max(0.0, down**2 - 2 * phi * down * up + up**2))
    down, up = b.value - b.low, a.high - a.value
    above = math.sqrt(max(0.0, up**2 - 2 * phi * up * down + down**2))
    d = a.value - b.value
    return Paired(len(pairs), a, b, Interval(d, d - below, d + above))


def wilson(right: float, n: int) -> Interval:
    """A share of n sentences, each right in part, with its score interval: at most as wide as that of n yes and no."""
    return stats.wilson(right / n, n)


def report(title: str, rows: list[Figures]) -> None:
    kinds = [k for k in dict.fromkeys(row["kind"] for row in rows) if k != "unknown"]
    lines = [(kind, over([row for row in rows if row["kind"] == kind])) for kind in kinds]
    head = ("kind", "sentences", *(f"{form} right" for form in FORMS), "difference")
    table(f"{title}: things and stated background right", head, [line(*each) for each in [*lines, ("all", over(rows))]])
    parts = [(part, over(rows, [part])) for part in PARTS]
    table(f"{title}: by part, where it is stated", ("part", *head[1:]), [line(*each) for each in parts])


def line(name: str, found: Paired | None) -> list[object]:
    if found is None:
        return [name, 0, None, None, None]
    spans = [f"{s.value:.1%} [{s.low:.0%}, {s.high:.0%}]" for s in (found.sentence, found.template)]
    d = found.difference
    return [name, found.n, *spans, f"{100 * d.value:+.1f} [{100 * d.low:+.0f}, {100 * d.high:+.0f}]"]


def failures(sentences: list[Sentence], rows: list[Figures]) -> None:
    """Print the sentences that are never right, with what their first picture shows."""
    wrong = [(s, row) for s, row in zip(sentences, rows, strict=True) if share(row, "sentence", PARTS[:2]) == 0]
    print("Never right, and what the first picture shows:")
    for s, row in wrong:
        print(f"  {s.kind:10}  {s.text}  ->  {', '.join(row['sentence'][0].get('things', '?'))}")


def claims(rows: list[Figures]) -> None:
    found = over(rows)
    if found is None:
        return
    passed(f"sentences right: {found.sentence.value:.1%}, at least {CLAIM:.0%}", found.sentence.value >= CLAIM)
    below = -found.difference.value
    passed(f"{100 * below:.1f} points below the template, at most {100 * BEHIND:.0f}", below <= BEHIND)


if __name__ == "__main__":
    run(main)
