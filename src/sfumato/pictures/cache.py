"""The cache folder of decoded pictures, and remembered facts of files that were read before."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from pathlib import Path

from sfumato.errors import UserError
from sfumato.files import write_json

FRESH_NS = 2_000_000_000  # a file this new may change again without a new time stamp


def cache_folder() -> Path:
    """`$SFUMATO_CACHE`, else the platform's folder for a user's caches."""
    if chosen := os.environ.get("SFUMATO_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "sfumato" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sfumato"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sfumato"


class Memory:
    """Facts about files, valid while a file's size and times stay the same.

    One small JSON per data set in the cache folder; without it the files are read again.
    """

    def __init__(self, name: str) -> None:
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
        self.path = cache_folder() / "index" / f"{digest[:32]}.json"
        self.facts: dict[str, list[object]] = {}
        self.changed = False
        with contextlib.suppress(OSError, ValueError):
            read = json.loads(self.path.read_text(encoding="utf-8"))
            self.facts = read if isinstance(read, dict) else {}

    def recall(self, key: str, stat: os.stat_result) -> list[object] | None:
        """The facts of a file, or None if there are none or it has changed."""
        entry = self.facts.get(key)
        if not isinstance(entry, list) or entry[:3] != [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]:
            return None
        return entry[3:]

    def learn(self, key: str, stat: os.stat_result, facts: list[object]) -> None:
        """Store facts of a file whose state was `stat`."""
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > FRESH_NS:
            self.facts[key] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, *facts]
            self.changed = True

    def save(self, keep: set[str]) -> None:
        """Write the facts of the files in `keep`; a cache that cannot be written is skipped."""
        kept = {key: entry for key, entry in self.facts.items() if key in keep}
        if self.changed or len(kept) != len(self.facts):
            with contextlib.suppress(OSError, UserError):
                write_json(self.path, kept)
            self.changed = False
