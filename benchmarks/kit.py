"""Train the shipped models from one queue on any device, an hour at a time or all within a few minutes.

    python benchmarks/kit.py pack                          wheels, data and font for a machine without network: kit/
    python benchmarks/kit.py run --minutes 60              train another hour of every training; repeat to resume
    python benchmarks/kit.py run --minutes 9 --within      finish every training within nine minutes, for a GPU
    python benchmarks/kit.py status                        list the packed files and each training's progress
    python benchmarks/kit.py ship OUT                      write model folders from the exported files of a run

The queue is `benchmarks/kit.yaml`. It needs a checkout, torch and the packages of benchmarks/README.md, "The kit".
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import kit_table
from kit_table import Job, events, finished

WORK, KIT = Path("runs/kit"), Path("kit")


def parse() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("pack", "run", "status", "ship", "job"))
    p.add_argument("name", nargs="?", help="ship: the folder of what a run gave out")
    p.add_argument("--minutes", type=float, default=60, help="of this call [60]")
    p.add_argument("--within", action="store_true", help="fit whole trainings into the minutes")
    p.add_argument("--only", nargs="+", default=[], help="jobs or groups of the table")
    p.add_argument("--work", type=Path, default=WORK, help=f"folder of the runs [{WORK}]")
    p.add_argument("--out", type=Path, help="of run: weights with their figures [WORK/out]; of pack: [kit]; of ship: "
                   "the models [NAME/models]")  # fmt: skip
    p.add_argument(
        "--kit", type=Path, nargs="+", default=[KIT], help=f"folders that pack made, or parts of them [{KIT}]"
    )
    p.add_argument("--table", type=Path, default=kit_table.TABLE, help="the queue [benchmarks/kit.yaml]")
    p.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="[JOB:]KEY=VALUE", help="changes to recipes"
    )
    p.add_argument("--threads", type=int, help="of torch in each training [1, on a GPU 4]")
    p.add_argument("--nice", type=int, default=19, help="priority of trainings on a CPU: 19 lowest, 0 as others [19]")
    p.add_argument("--together", action=argparse.BooleanOptionalAction,
                   help="prepare all trainings at once, while one trains [on a GPU]")  # fmt: skip
    p.add_argument("--python", default="3.12", help="pack: the Python that the wheels are for [3.12]")
    args = p.parse_args()
    if args.what in ("ship", "job") and args.name is None:
        p.error(f"{args.what} needs a name")
    return args


def main() -> None:
    args = parse()
    kit_table.settle(args.kit, args.work)
    from common import run

    run(lambda: {"pack": pack, "run": train, "status": status, "ship": ship, "job": job}[args.what](args))


def pack(args: argparse.Namespace) -> None:
    import kit_pack

    kit_pack.pack(args.out or KIT, args.python)


def train(args: argparse.Namespace) -> None:
    """Exit status 1 if a job failed, 3 if the call was stopped."""
    import kit_queue
    from sfumato.device import best_device

    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    jobs = kit_table.read(args.table, args.only)
    out = args.out or args.work / "out"
    out.mkdir(parents=True, exist_ok=True)
    cpu = best_device() == "cpu"
    together = args.together if args.together is not None else not cpu
    threads = args.threads or (1 if cpu else 4)
    words = ["--work", args.work, "--out", out, "--table", args.table, "--kit", *args.kit]
    words += ["--nice", args.nice, *(["--within"] if args.within else [])]
    words += ["--set", *args.set] if args.set else []
    kit = kit_queue.Kit(jobs, list(map(str, words)), args.work, args.minutes, args.within, together, threads)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: kit.stop())
    kit.run()
    rescue(kit, args.work, out)
    summary = {child.job.name: {"state": child.state, **child.result} for child in kit.children}
    (out / "kit.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    failed = any(child.state == "failed" for child in kit.children)
    sys.exit(1 if failed else 3 if kit.stopping else 0)


def rescue(kit: Any, work: Path, out: Path) -> None:
    """Write weights of jobs that did not come to it, and of those whose followers have none."""
    given = {child.job.name for child in kit.children if child.result.get("files")}
    for child in kit.children:
        name = child.job.name
        follower = any(other.job.after == name and other.job.name in given for other in kit.children)
        saved = any((work / name / "checkpoints").glob("[0-9]*"))
        if name in given or not saved or (not child.job.export and follower):
            continue
        from kit_export import export
        from sfumato.errors import UserError

        try:
            child.result |= export(child.job, work / name, out)
            print(f"{name}: wrote {', '.join(child.result['files'])}", flush=True)
        except (UserError, OSError, ValueError, KeyError) as error:
            print(f"{name}: nothing to give out: {error}", flush=True)


def job(args: argparse.Namespace) -> None:
    """Inside `run`: one training."""
    from kit_job import work_on
    from sfumato.device import best_device

    if best_device() == "cpu" and hasattr(os, "nice"):
        os.nice(args.nice)
        with contextlib.suppress(OSError):  # Linux weighs sessions against each other first, where it groups by them
            Path("/proc/self/autogroup").write_text(str(args.nice), encoding="ascii")
    chosen = next(job for job in kit_table.read(args.table) if job.name == args.name)
    work_on(chosen, args.kit, args.work, args.out, args.within, own(args.set, args.name))


def own(changes: list[str], name: str) -> list[str]:
    """The changes for a job: those that name none, then those of `JOB:KEY=VALUE`."""
    plain, named = [], []
    for text in changes:
        key, colon, change = text.partition(":")
        if not colon or "=" in key:
            plain.append(text)
        elif key == name:
            named.append(change)
    return plain + named


def status(args: argparse.Namespace) -> None:
    from common import table

    files = sorted(path for kit in args.kit for path in kit.rglob("*") if path.is_file())
    table(f"packed in {', '.join(map(str, args.kit))}", ("file", "MB"),
          [(str(path), round(path.stat().st_size / 1e6, 1)) for path in files])  # fmt: skip
    head = ("job", "state", "images", "of", "images/s", "left", "held out", "minutes")
    table(f"runs in {args.work}", head, [row(job, args.work) for job in kit_table.read(args.table, args.only)])


def row(job: Job, work: Path) -> tuple[object, ...]:
    """What the log and the newest checkpoint of a run say."""
    from kit_queue import clock

    run = work / job.name
    rows = events(run)
    if not any(event["event"] == "start" for event in rows):  # a note may come before
        return job.name, "not begun" if not rows else "begun", *[None] * 6
    latest = kit_table.last(rows)
    saved = sorted((run / "checkpoints").glob("[0-9]*/config.json"))
    of = json.loads(saved[-1].read_text("utf-8"))["recipe"]["train"]["images"] if saved else latest["of"]
    rate, images = latest.get("images_per_second"), latest["images"]
    state = "finished" if finished(work, job.name) else "saved" if rows[-1]["event"] in ("end", "save") else "begun"
    left = clock((of - images) / rate) if rate and state != "finished" else None
    return (
        job.name,
        state,
        f"{images:,}",
        f"{of:,}",
        rate,
        left,
        latest.get("held_out"),
        round(latest["trained"] / 60, 1),
    )


def ship(args: argparse.Namespace) -> None:
    import kit_export

    for folder in kit_export.ship(Path(args.name), args.out or Path(args.name) / "models"):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
