"""A few threads whose results are returned in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

THREADS = min(8, os.cpu_count() or 1)
T = TypeVar("T")
R = TypeVar("R")


def ordered(work: Callable[[T], R], items: Sequence[T], chunk: int) -> Iterator[R]:
    """`work(item)` for each item, in order, `chunk` items a task; the threads stay at most a few tasks ahead."""
    pool = ThreadPoolExecutor(THREADS)
    try:
        waiting: deque[Future[list[R]]] = deque()
        for start in range(0, len(items), chunk):
            waiting.append(pool.submit(lambda part: [work(item) for item in part], items[start : start + chunk]))
            if len(waiting) > 2 * THREADS:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
