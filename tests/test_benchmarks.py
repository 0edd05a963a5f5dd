"""Benchmarks run for hours, so they are not run here; but what they call is there, with these arguments."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WRONG = re.compile(r"\[(call-arg|name-defined)\]|Module \"sfumato.* has no attribute")  # others are of peers' types


def complaints(tmp_path: Path, *files: Path) -> list[str]:
    """What mypy says of arguments and names that do not exist."""
    settings = tmp_path / "mypy.ini"
    settings.write_text(
        f"[mypy]\nignore_missing_imports = true\nfollow_imports = silent\ncheck_untyped_defs = true\n"
        f"mypy_path = {ROOT / 'src'}:{ROOT / 'benchmarks'}\ncache_dir = {tmp_path}\n"
    )
    words = [sys.executable, "-m", "mypy", "--config-file", str(settings), *map(str, files)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if WRONG.search(line)]


@pytest.mark.slow
def test_benchmarks_call_what_is_there(tmp_path: Path) -> None:
    files = sorted((ROOT / "benchmarks").glob("*.py"))
    assert files
    bad = tmp_path / "bad.py"
    bad.write_text("import sfumato\n\nsfumato.judge('mini', pictures=3)\n")
    found = complaints(tmp_path, *files, bad)
    assert [line for line in found if line.startswith("bad.py")], "the check itself"
    assert not [line for line in found if not line.startswith("bad.py")]
