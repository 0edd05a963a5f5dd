"""The arrows between the rooms of the house run one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sfumato

HOUSE = Path(sfumato.__file__).parent
SHARED = {"errors", "files", "recipe", "device", "verb", "yaml12", "sections"}
KNOWS = {
    "diffusion": set(),
    "pictures": SHARED,
    "noises": set(),
    "nets": {"diffusion"},
    "show": SHARED,
    "named": SHARED | {"diffusion", "pictures", "nets"},
    "text": SHARED | {"diffusion", "pictures", "nets", "show", "model", "named"},
    "train": SHARED | {"diffusion", "noises", "pictures", "nets", "show", "text", "model", "named", "zoo"},
    "denoise": SHARED | {"diffusion", "pictures", "model"},
    "judge": SHARED | {"diffusion", "pictures", "nets", "show", "text", "train", "denoise", "model", "named", "zoo"},
    "tune": SHARED | {"diffusion", "pictures", "nets", "show", "text", "train", "judge", "model", "named", "zoo"},
}


def imported(file: Path) -> set[str]:
    """Rooms of the house that a file imports from, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "sfumato":
                names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("sfumato.")}
    return names - {"__version__"}


@pytest.mark.parametrize("room", KNOWS)
def test_a_room_knows_only_those_below_it(room: str) -> None:
    files = [*(HOUSE / room).glob("**/*.py"), *HOUSE.glob(f"{room}.py")]
    assert files
    for file in files:
        assert imported(file) <= KNOWS[room] | {room}, file


def test_nobody_imports_the_command_line() -> None:
    for file in HOUSE.glob("**/*.py"):
        if file.parent.name != "cli" and file.name != "__main__.py":
            assert "cli" not in imported(file), file
