"""What the house allows itself, counted in its syntax trees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import sfumato

HOUSE = Path(sfumato.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
ANY, IGNORED = 40, 10  # lines in all, fewer than
LINES, PARAMETERS = 60, 8  # of a public function, at most

Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines_with(pattern: str) -> list[str]:
    found = re.compile(pattern)
    return [
        f"{file.relative_to(HOUSE)}:{number}: {line.strip()}"
        for file in FILES
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if found.search(line)
    ]


def public(file: Path) -> Iterator[tuple[str, Function, int]]:
    """Functions and methods with no underscore before their names, and how many parameters each has."""

    def within(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Function, int]]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from within(node.body, f"{node.name}.")
            elif isinstance(node, Function) and (not node.name.startswith("_") or node.name == "__init__"):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                yield f"{prefix}{node.name}", node, len([each for each in given if each.arg not in ("self", "cls")])

    yield from within(ast.parse(file.read_text("utf-8")).body, "")


def test_few_lines_say_that_anything_goes() -> None:
    assert len(found := lines_with(r"\bAny\b")) < ANY, "\n".join(found)


def test_few_lines_are_hidden_from_the_type_checker() -> None:
    assert len(found := lines_with(r"type: ignore")) < IGNORED, "\n".join(found)


def test_public_functions_are_short_and_take_few_arguments() -> None:
    """Those of the command line aside, whose arguments are the options."""
    large = [
        f"{file.relative_to(HOUSE)} {name}: {lines} lines, {count} parameters"
        for file in FILES
        if file.relative_to(HOUSE).parts[0] != "cli"
        for name, node, count in public(file)
        if (lines := code_lines(node)) > LINES or count > PARAMETERS
    ]
    assert not large, "\n".join(large)


def code_lines(node: Function) -> int:
    """Lines of a function without its docstring, which for a verb is a page of its own."""
    first = node.body[0]
    doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    whole = (node.end_lineno or node.lineno) - node.lineno + 1
    return whole - ((first.end_lineno or first.lineno) - first.lineno + 1 if doc else 0)


def test_no_public_function_takes_options_by_no_name() -> None:
    """But for those that pass on what somebody else names: a network's own settings, torch's, fields of a model."""
    passing = {"nets/unet.py build", "training/optimizer.py Muon.__init__"}
    catching = {
        f"{file.relative_to(HOUSE)} {name}"
        for file in FILES
        if file.relative_to(HOUSE).parts[0] != "models"
        for name, node, _ in public(file)
        if node.args.kwarg and ast.unparse(node.args.kwarg.annotation or node) != "Tensor"
    }
    assert catching == passing


def test_low_precision_is_decided_in_one_place() -> None:
    """But for what is kept or written in half precision, and Muon's products, which bear it."""
    files = {"lora/formats.py", "models/pipelines.py", "models/singles.py"}
    known = {"device.py", "training/latents.py", "training/optimizer.py", *files}
    found = {line.split(":")[0] for line in lines_with(r"torch\.(bfloat16|float16|half)\b|\.half\(\)")}
    assert found == known


def test_psnr_and_intervals_are_computed_in_one_place() -> None:
    assert {line.split(":")[0] for line in lines_with(r"\blog10\(")} == {"pictures/pixels.py", "training/plan.py"}
    assert {line.split(":")[0] for line in lines_with(r"def wilson|def psnr|1\.96")} == {
        "pictures/pixels.py", "judging/stats.py", "judging/distance.py",
    }  # fmt: skip
