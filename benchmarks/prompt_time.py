"""Time for a prompt: drawing four pictures with `mini` by guidance, and the whole command with its start.

Claims: drawing takes at most 3 seconds, a command at most 12, the median of `--rounds`; `import sfumato` under 0.3.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from common import Cells, Figures, arguments, passed, run, table

PROMPT = "a red apple on a blue background"
DRAWING, COMMAND, IMPORT = 3.0, 12.0, 0.3


def main() -> None:
    p = arguments(__doc__ or "", n=4)
    p.add_argument("--rounds", type=int, default=5, help="cold starts")
    args = p.parse_args()
    settings = {"n": args.n, "seed": args.seed, "threads": args.threads, "rounds": args.rounds}

    def figures() -> Figures:
        rows = [once(args.n, args.seed, args.threads) for _ in range(args.rounds)]
        return {key: statistics.median(row[key] for row in rows) for key in rows[0]}

    f = Cells("prompt-time", args).measure("mini", settings, figures)["figures"]
    table(f"mini, {args.n} pictures, 20 steps, guidance, seconds", tuple(f), [[f"{value:.2f}" for value in f.values()]])
    for key, most in (("drawing", DRAWING), ("command", COMMAND), ("import", IMPORT)):
        passed(f"{key}: {f[key]:.2f} s, at most {most}", f[key] <= most)


def once(n: int, seed: int, threads: int) -> Figures:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        told = ["sample", "mini", "--prompt", PROMPT, "-n", n, "--seed", seed, "--steps", 20, "--out", folder, "--json"]
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "sfumato", *map(str, told)], capture_output=True, check=True, env=environment
        )
        command = time.perf_counter() - began
    timed = "import time; began = time.perf_counter(); import sfumato; print(time.perf_counter() - began)"
    imported = subprocess.run([sys.executable, "-c", timed], capture_output=True, check=True, env=environment)
    return {"drawing": json.loads(done.stdout)["seconds"], "command": command, "import": float(imported.stdout)}


if __name__ == "__main__":
    run(main)
