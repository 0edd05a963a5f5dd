"""What can run on this machine: device, memory, versions, data, models, extras, and what must be downloaded."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sfumato.doctor import holdings, machine, pace
from sfumato.doctor.machine import Found
from sfumato.files import Json
from sfumato.version import __version__


@dataclass(frozen=True)
class Finding:
    """One subject, in words and as JSON; both report a check that failed."""

    name: str
    words: str
    value: object


@dataclass(frozen=True)
class Diagnosis:
    """The findings in the order of the report."""

    findings: list[Finding]

    def rows(self) -> list[tuple[str, str]]:
        """(subject, words)."""
        return [(finding.name, finding.words) for finding in self.findings]

    def to_json(self) -> Json:
        """Subject -> finding; `{"error": ...}` for a check that failed."""
        return {finding.name.replace(" ", "_"): finding.value for finding in self.findings}


def diagnose() -> Diagnosis:
    """Run all checks and time one small network: a few seconds, without network access, never an exception."""
    timed: dict[str, float] = {}
    checks: dict[str, Callable[[], Found]] = {
        "sfumato": lambda: (__version__, __version__),
        "python": lambda: (f"{platform.python_version()} on {platform.platform()}",) * 2,
        "packages": machine.packages,
        "devices": machine.devices,
        "memory": machine.memory,
        "disk": machine.disk,
        "datasets": holdings.datasets,
        "models": holdings.models,
        "extras": holdings.extras,
        "downloads": holdings.downloads,
        "train": partial(pace.train, timed),
        "sample": partial(pace.sample, timed),
        "judge": pace.judge,
    }
    return Diagnosis([_guarded(name, check) for name, check in checks.items()])


def _guarded(name: str, check: Callable[[], Found]) -> Finding:
    try:
        return Finding(name, *check())
    except Exception as error:  # one failed check must not hide the others
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return Finding(name, f"check failed ({why})", {"error": why})
