"""Shared by all benchmarks: arguments, facts about the machine, one JSON file for each cell, tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from sfumato.errors import UserError
from sfumato.files import aside, write_json

PACKAGES = ("sfumato", "torch", "numpy", "accelerate", "diffusers", "safetensors")
RESULTS = Path(__file__).parent / "results"
Figures = dict[str, Any]


def arguments(about: str, n: int | None = None) -> argparse.ArgumentParser:
    """A parser with what all scripts take; n: pictures drawn a cell, where any are."""
    p = argparse.ArgumentParser(description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files, one a cell")
    p.add_argument("--work", type=Path, default=Path("runs/benchmarks"), help="folder of weights, samples and grids")
    p.add_argument("--again", action="store_true", help="measure cells anew whose JSON exists")
    p.add_argument("--seed", type=int, default=0, help="picture k is drawn with the seed SEED + k")
    p.add_argument("--threads", type=int, default=all_threads(), help="threads of torch")
    if n is not None:
        p.add_argument("-n", type=int, default=n, help="pictures drawn a cell")
    return p


def all_threads() -> int:
    """As many as OMP_NUM_THREADS allows, or the cores this process may use."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return int(allowed) if allowed.isdigit() and int(allowed) else cores()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


def run(main: Callable[[], None]) -> None:
    """Call main; an error a person can mend is one line and exit status 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def shelf(*needs: str) -> Path:
    """`$SFUMATO_DATA`, with all of `needs` in it. Raises UserError."""
    folder = os.environ.get("SFUMATO_DATA")
    if not folder:
        raise UserError(f"SFUMATO_DATA is not set: name the folder that holds {' and '.join(needs)}")
    for need in needs:
        if not (Path(folder) / need).exists():
            raise UserError(f"SFUMATO_DATA={folder} has no {need}: bring it there, or name another folder")
    return Path(folder)


class Cells:
    """The JSON files of one benchmark, `results/BENCHMARK/CELL.json`. A cell that is there is not measured again."""

    def __init__(self, benchmark: str, args: argparse.Namespace) -> None:
        self.benchmark, self.args = benchmark, args
        self.folder = Path(args.results) / benchmark
        self.work = Path(args.work) / benchmark

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def known(self, name: str, settings: Figures) -> Figures | None:
        """A cell measured before with these settings, None if there is none or --again was given.

        Raises UserError if it was measured with others: figures of different settings never share a table.
        """
        if self.args.again or not self.path(name).is_file():
            return None
        cell: Figures = json.loads(self.path(name).read_text(encoding="utf-8"))
        same(cell["settings"], settings, f"{self.path(name)}", "--again replaces it, --results keeps both")
        return cell

    def measure(self, name: str, settings: Figures, figures: Callable[[], Figures]) -> Figures:
        """The cell, measured unless it is known; `figures()` gives its numbers."""
        cell = self.known(name, settings)
        if cell is not None:
            print(f"{self.benchmark}/{name}: measured before", flush=True)
            return cell
        print(f"{self.benchmark}/{name}: measuring", flush=True)
        facts = machine(self.args.threads)
        began = time.time()
        found = figures()
        cell = {
            "benchmark": self.benchmark,
            "cell": name,
            "settings": settings,
            "seed": self.args.seed,
            "n": getattr(self.args, "n", None),
            "figures": found,
            "machine": facts,
            "versions": versions(),
            "date": time.strftime("%Y-%m-%d", time.gmtime(began)),
            "seconds": round(time.time() - began, 1),
        }
        write_json(self.path(name), cell)
        return cell

    def read(self, name: str) -> Figures:
        """The figures of a cell that has been measured."""
        cell: Figures = json.loads(self.path(name).read_text(encoding="utf-8"))
        return cell["figures"]

    def alone(self, script: str, name: str) -> None:
        """Call the script again with `--inside NAME`: one cell in a process of its own. Raises UserError."""
        threads = str(self.args.threads)
        env = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        done = subprocess.run([sys.executable, script, *sys.argv[1:], "--inside", name], env=env)
        if done.returncode:
            raise UserError(f"cell {name} ended with status {done.returncode}; the cells measured before are kept")

    def fresh(self, *parts: str) -> Path:
        """An empty folder under --work."""
        folder = self.work.joinpath(*parts)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def in_turn(
    script: str, ways: Sequence[str], folder: Path, args: argparse.Namespace
) -> tuple[dict[str, Figures], dict[str, list[Figures]]]:
    """All ways in turn, `args.rounds` times, each in a process of its own: `--inside WAY FOLDER` prints its figures.

    Returns the medians of each way's figures, and all of them.
    """
    found: dict[str, list[Figures]] = {way: [] for way in ways}
    env = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    for _ in range(args.rounds):
        for way, rows in found.items():
            words = [sys.executable, script, *sys.argv[1:], "--inside", way, str(folder)]
            done = subprocess.run(words, env=env, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(way, rows[-1], flush=True)
    medians = {way: {k: statistics.median(row[k] for row in rows) for k in rows[0]} for way, rows in found.items()}
    return medians, found


def same(old: Figures, new: Figures, where: str, mend: str) -> None:
    """Raises UserError naming the first setting that differs."""
    new = json.loads(json.dumps(new))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            raise UserError(f"{where} was made with {key}={old.get(key)}, not {new.get(key)}: {mend}")


def machine(threads: int) -> Figures:
    """What the figures were measured on; `load` is the load average of the last minute, before the measurement."""
    import psutil
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "threads": threads,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(psutil.getloadavg()[0], 2),
    }


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version(), "commit": commit()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def commit() -> str | None:
    """The commit of this checkout, with `+` if source files differ from it; None outside a checkout."""
    here = Path(__file__).resolve().parent.parent
    try:
        head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True)
        state = subprocess.run(["git", "status", "--short", "src"], cwd=here, capture_output=True, text=True)
    except OSError:
        return None
    return f"{head.stdout.strip()}{'+' if state.stdout.strip() else ''}" if head.returncode == 0 else None


def peak_mb() -> float:
    """Most memory this process has held, in MB."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / 2**20 if sys.platform == "darwin" else most / 2**10, 1)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; the first column is flush left, the others flush right."""
    texts = [list(head), *([_shown(value) for value in row] for row in rows)]
    widths = [max(len(row[k]) for row in texts) for k in range(len(head))]
    print(f"\n{title}")
    for number, row in enumerate(texts):
        cells = [t.ljust(w) if k == 0 else t.rjust(w) for k, (t, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells))
        if number == 0:
            print("  ".join("-" * width for width in widths))
    print(flush=True)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def passed(claim: str, holds: bool) -> None:
    """Print whether a claim holds."""
    print(f"{'PASS' if holds else 'FAIL'}: {claim}", flush=True)


def save_grid(pictures: Any, path: Path, captions: list[str] | None = None, columns: int | None = None) -> None:
    """Write pictures, uint8 (N, C, H, W), as one PNG."""
    from sfumato.show.grid import grid

    with aside(path) as temporary:
        grid(pictures, columns=columns, captions=captions).save(temporary, format="PNG")


def judged(samples: Any, store: Any, features: Any, seed: int) -> Figures:
    """The judge's figures for samples, uint8 (n, C, H, W), against the store's training pictures."""
    from sfumato.judging.generate import judge_generated

    verdict = judge_generated(samples, store.train, store.held_out, features, seed=seed, digest=store.digest)
    found = verdict.to_json()
    return {key: found[key] for key in ("fd", "kid", "kid_error", "precision", "recall", "memorised", "features", "n")}


def span(fd: Figures) -> str:
    """An FD with its interval, for a table."""
    return f"{fd['value']:.4g} [{fd['low']:.4g}, {fd['high']:.4g}]"


def note_steps(task: Any, marks: Sequence[int] | None = None) -> list[float]:
    """Note the moments at which a task's `draw` is called, which a training loop does once a step.

    marks: the calls before which the GPU is waited for; left out: none need be, as on a CPU.
    """
    import torch

    draw = task.draw
    moments: list[float] = []

    def noted(*args: Any) -> Any:
        if marks is not None and len(moments) in marks and torch.cuda.is_available():
            torch.cuda.synchronize()
        moments.append(time.perf_counter())
        return draw(*args)

    task.draw = noted
    return moments
