"""Stopping a process from outside: by signals, and when the process that started it dies."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import psutil

from sfumato.errors import UserError
from sfumato.progress import Stop

PARENT = "SFUMATO_PARENT"
"""The variable with the number of the process that this one must not outlive."""
EVERY = 1.0  # seconds between two checks whether it is alive
_SET_PDEATHSIG = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>


@contextlib.contextmanager
def stopping(stop: Stop) -> Iterator[None]:
    """Within the block Ctrl-C, SIGTERM and SIGHUP request a stop; a second Ctrl-C raises KeyboardInterrupt.

    A SIGHUP that is ignored, as by nohup, stays ignored. Outside the main thread the caller handles signals.
    """
    pressed = False

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if number == signal.SIGINT and pressed:
            raise KeyboardInterrupt
        pressed = pressed or number == signal.SIGINT
        stop.request(signal.Signals(number).name)

    before: dict[int, Callable[[int, FrameType | None], object] | int | signal.Handlers | None] = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
            continue
        with contextlib.suppress(ValueError):  # not the main thread
            before[number] = signal.signal(number, request)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def has_parent() -> bool:
    """Whether SFUMATO_PARENT is set."""
    return PARENT in os.environ


def follow_parent() -> None:
    """End by SIGTERM, which saves a training, when the process that SFUMATO_PARENT names dies, or has died already.

    Under a launcher (torchrun) the named process is not the direct parent: then the death of either ends this process.
    On Linux the kernel sends the signal at once; it treats the *thread* that started this process as its parent.
    Raises UserError if SFUMATO_PARENT is not a number. Without SFUMATO_PARENT nothing is done.
    """
    named = os.environ.get(PARENT)
    if named is None:
        return
    if not named.isdecimal():
        raise UserError(f"{PARENT}={named}: give the number of a process")
    direct = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if direct != int(named) or sys.platform != "linux":
        threading.Thread(target=_watch, args=(int(named), direct), daemon=True, name="follow-parent").start()
    if os.getppid() != direct:  # it died before prctl was called
        os.kill(os.getpid(), signal.SIGTERM)


def _watch(named: int, direct: int) -> None:
    """Wait until the named process ends or this process gets another parent, then send SIGTERM to this process."""
    try:
        followed = psutil.Process(named)
        pause = threading.Event()
        while followed.is_running() and followed.status() != psutil.STATUS_ZOMBIE and os.getppid() == direct:
            pause.wait(EVERY)
    except psutil.NoSuchProcess:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
