"""Files that matter: whole or as before, with nothing left beside them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sfumato.errors import UserError
from sfumato.files import aside, disk_trouble, replace_folder, save_tensors, sha256, write_json, write_text


def test_it_is_written_beside_and_renamed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.txt"
    with aside(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError("cut"), KeyboardInterrupt(), SystemExit(3), ValueError("\n")])
@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: BaseException, there: bool) -> None:
    path = tmp_path / "a.json"
    if there:
        path.write_text("old")

    def fail() -> None:
        with aside(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert [p.read_text() for p in tmp_path.iterdir()] == (["old"] if there else [])


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), aside(path):
        pass
    assert path.read_text() == "old"


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with aside(path) as one, aside(path) as two:
        assert one != two
        one.write_text("1")
        two.write_text("2")
    assert path.read_text() == "1"  # the outer block ends last
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from sfumato.errors import UserError\n"
        "from sfumato.files import aside, write_text\n"
        "path = Path(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "for write in (lambda: write_text(path, 'x' * 5000), None):\n"
        "    try:\n"
        "        if write: write()\n"
        "        else:\n"
        "            with aside(path) as temporary, temporary.open('wb') as file:\n"
        "                file.write(b'x' * 5000)\n"
        "    except UserError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(f"no room to write {path}" in line and "free some space" in line for line in lines)
    assert done.stderr == ""
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    (tmp_path / "folder").mkdir()
    for path in (file / "a.txt", file / "b" / "a.txt", tmp_path / "folder", tmp_path / ("n" * 300)):
        with pytest.raises(UserError, match="cannot write") as caught:
            write_text(path, "new")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert file.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match=r"cannot write .*Permission denied.*--out"):
            write_text(tmp_path / "a", "new")
    finally:
        tmp_path.chmod(0o700)


def test_which_errors_are_the_disks() -> None:
    path = Path("runs/a")
    for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        assert "no room" in str(disk_trouble(OSError(number, "x"), path))
        text = f'Error while serializing: I/O error: Os {{ message: "x" }} (os error {number})'
        assert "no room" in str(disk_trouble(RuntimeError(text), path))
    for number in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        assert os.strerror(number) in str(disk_trouble(OSError(number, "x"), path))
    for error in (OSError(errno.ENOENT, "x"), OSError(errno.EIO, "x"), ValueError("os error"), KeyboardInterrupt()):
        assert disk_trouble(error, path) is None


def test_text_and_json_as_they_are(tmp_path: Path) -> None:
    value = {"ü": ["日本", 1.5, None, True], "line": "a\nb"}
    write_json(tmp_path / "a.json", value)
    content = (tmp_path / "a.json").read_bytes()
    assert json.loads(content) == value
    assert "日本".encode() in content
    assert content.endswith(b"\n")
    write_text(tmp_path / "a.json", "")
    assert (tmp_path / "a.json").read_bytes() == b""
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_tensors_are_readable_by_others(tmp_path: Path) -> None:
    """As any other file is."""
    (tmp_path / "plain").touch()
    save_tensors(tmp_path / "t.safetensors", {"a": torch.ones(2, 3).T})
    assert (tmp_path / "t.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert torch.equal(load_file(tmp_path / "t.safetensors")["a"], torch.ones(3, 2))


def test_equal_tensors_and_metadata_give_equal_bytes(tmp_path: Path) -> None:
    """safetensors alone writes the metadata in another order each time."""
    texts = {f"key {k}": f'text "{k}" é\n' for k in range(12)}
    tensors = {"a": torch.arange(5.0), "b": torch.ones(2, 3, dtype=torch.float16)}
    for k in range(3):
        save_tensors(tmp_path / f"{k}.safetensors", tensors, dict(list(texts.items())[k:] + list(texts.items())[:k]))
    files = [(tmp_path / f"{k}.safetensors").read_bytes() for k in range(3)]
    assert files[0] == files[1] == files[2]
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata() == texts
        assert torch.equal(file.get_tensor("b"), tensors["b"])


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / ".a.png.0123abcd.png", tmp_path / ".a.png.89abcdef.png"
    other = tmp_path / ".a.png.notes.png"
    for path in (old, new, other):
        path.write_text("left")
    for path in (old, other):
        os.utime(path, (0, 0))
    with aside(tmp_path / "a.png") as temporary:
        temporary.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([new, other, tmp_path / "a.png"])


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, made = tmp_path / "folder", tmp_path / "made"
    for path, text in ((folder, "old"), (made, "new")):
        path.mkdir()
        (path / "a").write_text(text)
    rename = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: rename(self, to) if self != made else rename(self, "/proc/a"))
    with pytest.raises(OSError, match="proc"):
        replace_folder(made, folder)
    assert (folder / "a").read_text() == "old"
    monkeypatch.undo()
    replace_folder(made, folder)
    assert (folder / "a").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]
