"""Timing two libraries in turn: what every benchmark here shares.

A benchmark is a function `measure(sides, seconds, names)` that yields (name, summary, bytes moved, operations) of each
measurement; `main` prints them as a table, `run.py` prints all benchmarks and keeps the figures.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterable

import machine

SETTLE = 0.02  # seconds: OpenMP's threads spin for some 17 ms after their last call, on the core the other side needs


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
    jax = f" jax {row['jax'] * scale:.2f}" if "jax" in row else ""
    return f"{name:28} {row['flambeau'] * scale:12.2f} {theirs}  {note}{jax}"


def share(row: dict, moved: int, work: int, peak: float, speed: float) -> str:
    """What part of the machine flambeau uses, kept in the row: of its multiply-adds, else of its bandwidth in copies."""
    if not moved and not work:
        return ""
    row["share of the machine"] = work / row["flambeau"] / peak if work else moved / row["flambeau"] / speed
    return f"{row['share of the machine']:4.0%} of {'peak' if work else 'copying'}"


def print_table(rows: Iterable, unit: str, peak: float, speed: float) -> dict[str, dict]:
    """Print measurements as they come, in "us" or "ms", and the geometric mean of their ratios; returns them by name."""
    print(f"{unit:28} {'flambeau':>12} {'torch':>12} {'ratio':>7}", flush=True)
    found = {}
    for name, row, moved, work in rows:
        found[name] = row
        print(line(name, row, {"us": 1e6, "ms": 1e3}[unit], share(row, moved, work, peak, speed)), flush=True)
    if ratios := [row["ratio"] for row in found.values() if "ratio" in row]:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"{len(ratios)} rows: geometric mean {mean:.2f}, least {min(ratios):.2f}, below 1: {sum(r < 1 for r in ratios)}")
    return found


def main(doc: str, measure: Callable, unit: str = "us", seconds: float = 0.5) -> None:
    """The command line of one benchmark."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("names", nargs="*", help="beginnings of names; none: everything")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=seconds, help="for each measurement")
    args = parser.parse_args()
    peak, speed = machine.fma_peak(args.threads), machine.bandwidth(args.threads)
    print(f"{args.threads} threads: {peak / 1e9:.0f} GFLOP/s of multiply-adds, copies at {speed / 1e9:.1f} GB/s")
    print_table(measure(libraries(args.threads), args.seconds, tuple(args.names)), unit, peak, speed)


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
