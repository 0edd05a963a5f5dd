"""`sfumato doctor`."""

from __future__ import annotations

from sfumato.cli.console import JSON, answer


def doctor(json: bool = JSON) -> None:
    """Report what this machine can run: devices, memory, versions, data, models, speed, and what must be downloaded."""
    from sfumato.doctor import diagnose

    report = diagnose()
    if json:
        answer(report.to_json())
        return
    for name, value in report.rows():
        print(f"{name:<22} {value}")
