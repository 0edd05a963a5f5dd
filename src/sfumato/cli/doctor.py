"""`sfumato doctor`."""

from __future__ import annotations

from sfumato.cli.console import JSON, answer


def doctor(json: bool = JSON) -> None:
    """Device, memory, versions, what can run here, and what would have to be downloaded."""
    from sfumato.doctor import diagnose

    found = diagnose()
    if json:
        answer(found.to_json())
        return
    for name, value in found.rows():
        print(f"{name:<22} {value}")
