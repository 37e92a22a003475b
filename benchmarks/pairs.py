"""Timing two libraries in turn: what every benchmark here shares."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

SETTLE = 0.004  # seconds: OpenMP's threads spin for about 2 ms after their last call, on the core the other side needs


def interleaved(fns: dict[str, Callable], seconds: float, round_seconds: float) -> dict[str, list[float]]:
    """{side: [seconds per call, ...]}: after warming up, rounds of `round_seconds`, one side after the other.

    Each round begins with calls that are not timed, until the other side's idle threads are asleep.
    """
    for fn in fns.values():
        for _ in range(3):
            fn()
    start = time.perf_counter()
    next(iter(fns.values()))()
    count = max(1, int(round_seconds / max(time.perf_counter() - start, 1e-7)))
    times: dict[str, list[float]] = {side: [] for side in fns}
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or min(map(len, times.values())) < 3:
        for side, fn in fns.items():
            start = time.perf_counter()
            while time.perf_counter() - start < SETTLE:
                fn()
            start = time.perf_counter()
            for _ in range(count):
                fn()
            times[side].append((time.perf_counter() - start) / count)
    return times


def summary(times: dict[str, list[float]]) -> dict[str, float]:
    """Medians in seconds; `ratio` is the median of torch / flambeau round by round, above 1 where flambeau is faster."""
    out = {side: statistics.median(t) for side, t in times.items()}
    if "torch" in times:
        out["ratio"] = statistics.median(b / a for a, b in zip(times["flambeau"], times["torch"], strict=True))
    return out


def line(name: str, row: dict, scale: float, note: str = "") -> str:
    """A row of the table; `scale` turns seconds into the printed unit."""
    theirs = f"{row['torch'] * scale:12.2f} {row['ratio']:7.2f}" if "torch" in row else " " * 20
    return f"{name:20} {row['flambeau'] * scale:12.2f} {theirs}  {note}"


def libraries(threads: int) -> dict:
    """{"flambeau": module, "torch": module where installed}, all on `threads` threads, seeded alike."""
    import flambeau

    found = {"flambeau": flambeau}
    try:
        import torch

        found["torch"] = torch
    except ImportError:
        pass
    for t in found.values():
        t.set_num_threads(threads)
        t.manual_seed(0)
    return found
