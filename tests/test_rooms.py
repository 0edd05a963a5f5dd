"""The arrows between the rooms of the house run one way, those inside functions too; families stay in their rooms."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

import sfumato

HOUSE = Path(sfumato.__file__).parent
PAGE = Path(__file__).parent.parent / "ARCHITECTURE.md"
BASIC = ("errors", "files", "device", "yaml12", "progress", "version")
"""Modules at the top that hold no decision, and know each other alone."""
PARTS = ("registry", "recipe", "diffusion", "nets", "pictures", "show", "runs", "denoising")
"""What models are made of, and what is done with pictures: the rooms models, training and judging know them."""
KNOWS = {
    **{module: set(BASIC) for module in BASIC},
    "registry": {"errors"},
    "recipe": {*BASIC, "registry"},
    "diffusion": set(),
    "noises": set(),
    "nets": {"diffusion"},
    "pictures": {*BASIC, "registry", "recipe"},
    "show": {*BASIC, "pictures"},
    "runs": {*BASIC, "recipe"},
    "denoising": {*BASIC, "diffusion", "pictures"},
    "models": {*BASIC, *PARTS},
    "lora": {*BASIC, "recipe", "diffusion", "models"},
    "zoo": {*BASIC, "models", "lora"},
    "training": {*BASIC, *PARTS, "noises", "models", "zoo"},
    "judging": {*BASIC, *PARTS, "models", "zoo"},
    "tuning": {
        *(*BASIC, "recipe", "diffusion", "pictures", "show", "runs"),
        *("models", "lora", "zoo", "training", "judging"),
    },
}
"""For each room all that it may import from, below it in this order."""
TOP = {"api", "doctor", "demo", "cli", "__main__"}
"""What stands above all rooms: these may import from any, and in this order from each other."""
FAMILY_WORDS = re.compile(r"\bunet\b|\btext_encoders?\b|\btokenizers?\b|\bnet\.text\b", re.IGNORECASE)
EXEMPT = {
    "nets": "the U-Net of pixels",
    "registry.py": "the U-Net of pixels, a value of net.kind",
    "doctor/pace.py": "times the U-Net of pixels",
    "training/job.py": "names the kind of a pixel network",
    "recipe": "its own keys: net.kind, tune.text_encoder",
    "cli/tune.py": "--text-encoder, the recipe's key",
    "tuning/task.py": "tune.text_encoder, the recipe's key",
    "lora/adapter.py": "tune.text_encoder, the recipe's key",
    "pictures/tokenizer.py": "learns one from captions, for any family of CLIP's",
    "judging/features.py": "CLIP as features of pictures, which is no base",
}
"""Files outside of models/ that may say a word of FAMILY_WORDS in code, and why."""


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
    return names


def files_of(room: str) -> list[Path]:
    return [*(HOUSE / room).glob("**/*.py"), *HOUSE.glob(f"{room}.py")]


@pytest.mark.parametrize("room", sorted(KNOWS))
def test_a_room_knows_only_those_below_it(room: str) -> None:
    files = files_of(room)
    assert files
    for file in files:
        assert imported(file) <= KNOWS[room] | {room}, file


def test_every_room_has_its_arrows() -> None:
    rooms = {path.stem for path in HOUSE.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert rooms == {*KNOWS, *TOP, "__init__"}


def test_no_arrow_leads_back() -> None:
    """Each room may know only rooms that are listed before it: so there is no circle."""
    before: set[str] = set(BASIC)
    for room, below in KNOWS.items():
        assert below <= before, room
        before.add(room)


def test_nobody_below_imports_what_stands_above() -> None:
    above = {"api": {"demo", "doctor", "cli"}, "doctor": {"demo", "cli"}, "demo": {"doctor", "cli"}, "cli": set()}
    for room, forbidden in above.items():
        for file in files_of(room):
            assert not imported(file) & forbidden, file


def code_of(file: Path) -> list[tuple[int, str]]:
    """A file's lines without comments and docstrings."""
    source = file.read_text("utf-8")
    doc = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return [
        (token.start[0], token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type in (tokenize.NAME, tokenize.STRING) and token.start[0] not in doc
    ]


def test_nothing_outside_of_models_names_the_parts_of_a_family() -> None:
    named = {}
    for file in HOUSE.glob("**/*.py"):
        place = file.relative_to(HOUSE)
        if place.parts[0] == "models":
            continue
        words = [f"{line}: {text}" for line, text in code_of(file) if FAMILY_WORDS.search(text)]
        lines = file.read_text("utf-8").splitlines()
        words += [f"{number}: {line}" for number, line in enumerate(lines, 1) if re.search(r"\bnet\.text\b", line)]
        if words:
            named[str(place)] = words
    unexpected = {
        place: words for place, words in named.items() if place not in EXEMPT and place.split("/")[0] not in EXEMPT
    }
    assert not unexpected
    unused = {place for place in EXEMPT if place not in named and place not in {each.split("/")[0] for each in named}}
    assert not unused  # an exemption that nothing needs goes


def rooms_table() -> str:
    """The table of ARCHITECTURE.md: each room, what its own first line says, and what it may import."""
    rows = ["| room | what is in it | may import |", "|---|---|---|"]
    for room, below in KNOWS.items():
        folder = (HOUSE / room).is_dir()
        file = HOUSE / room / "__init__.py" if folder else HOUSE / f"{room}.py"
        about = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").splitlines()[0].rstrip(".")
        shown = [other for other in KNOWS if other in below - set(BASIC)]
        basic = "the basic modules" if below & set(BASIC) and room not in BASIC else ""
        knows = ", ".join([*([basic] if basic else []), *(f"`{other}`" for other in shown)])
        rows.append(f"| `{room}{'/' if folder else '.py'}` | {about} | {knows or 'nothing'} |")
    return "\n".join(rows) + "\n"


def test_the_page_has_this_table() -> None:
    """`PYTHONPATH=src python -m tests.test_rooms` writes it anew."""
    page = PAGE.read_text("utf-8")
    assert rooms_table() in page


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    first = text.index("| room | what is in it")
    PAGE.write_text(text[:first] + rooms_table() + text[text.index("\n\n", first) + 1 :], "utf-8")


def module_imports(name: str, file: Path, known: set[str]) -> set[str]:
    """Modules that a module imports when it runs, inside functions too: all but those for types alone."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(file.read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & known) or {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return (names & known) - {name}


def test_no_circle_of_modules() -> None:
    """Also where an import inside a function would hide it."""
    files = {
        ".".join(("sfumato", *f.relative_to(HOUSE).with_suffix("").parts)).removesuffix(".__init__"): f
        for f in HOUSE.glob("**/*.py")
    }
    knows = {name: module_imports(name, file, set(files)) for name, file in files.items()}
    while free := [name for name, others in knows.items() if not others]:
        knows = {name: others - set(free) for name, others in knows.items() if name not in free}
    assert not knows, "these import each other, or what does"


def test_few_know_which_family_is_trained_here() -> None:
    """Two tasks train networks of one family, with what they share; all others ask a model for its family."""
    family = re.compile(r"sfumato\.models\.sd(xl)?\b")
    naming = {str(f.relative_to(HOUSE)) for f in HOUSE.glob("**/*.py") if family.search(f.read_text("utf-8"))}
    outside = {place for place in naming if not place.startswith("models/")}
    assert outside == {"training/latents.py", "training/tasks/autoencoder.py", "training/tasks/text.py"}
