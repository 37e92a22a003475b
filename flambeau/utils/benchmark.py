"""Timing a statement: torch.utils.benchmark's Timer."""

from __future__ import annotations

import statistics
import timeit as _timeit
from dataclasses import dataclass, field

from flambeau.runtime.threads import get_num_threads, set_num_threads

__all__ = ["Compare", "Measurement", "Timer"]


@dataclass
class Measurement:
    """Times of one statement, in seconds per run."""

    number_per_run: int
    raw_times: list[float]
    stmt: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    num_threads: int = 1
    metadata: dict = field(default_factory=dict)

    @property
    def times(self) -> list[float]:
        """Seconds per run of each block."""
        return [t / self.number_per_run for t in self.raw_times]

    @property
    def median(self) -> float:
        """The median time of a run."""
        return statistics.median(self.times)

    @property
    def mean(self) -> float:
        """The mean time of a run."""
        return statistics.fmean(self.times)

    @property
    def iqr(self) -> float:
        """The distance between the quartiles."""
        if len(self.times) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.times, n=4, method="inclusive")
        return high - low

    def __repr__(self) -> str:
        scale, unit = next(((s, u) for s, u in ((1, "s"), (1e-3, "ms"), (1e-6, "us")) if self.median >= s), (1e-9, "ns"))
        runs = f"{len(self.raw_times)} measurement{'s' * (len(self.raw_times) > 1)}, {self.number_per_run} runs per measurement"
        return (
            f"<{__name__}.Measurement object>\n{self.label or self.stmt}\n  Median: {self.median / scale:.2f} {unit}\n"
            f"  IQR:    {self.iqr / scale:.2f} {unit}\n  {runs}, {self.num_threads} thread{'s' * (self.num_threads > 1)}"
        )


class Timer:
    """Times a statement on `num_threads` threads.

    Source:   torch.utils.benchmark.Timer
    """

    def __init__(self, stmt="pass", setup="pass", global_setup="", timer=_timeit.default_timer, globals=None, label=None,
                 sub_label=None, description=None, env=None, num_threads=1, language="python"):  # fmt: skip
        if str(language).rpartition(".")[2].lower() not in ("python", "py"):
            raise NotImplementedError(f"Timer: only Python statements are timed, got language={language!r}")
        self.names = {"stmt": stmt, "label": label, "sub_label": sub_label, "description": description}
        self.num_threads = num_threads
        space = dict(globals or {})
        import flambeau

        space.setdefault("torch", flambeau)
        self.timer = _timeit.Timer(stmt, setup, timer, space)

    def _blocks(self, number: int, count: int) -> Measurement:
        before = get_num_threads()
        set_num_threads(self.num_threads)
        try:
            times = [self.timer.timeit(number) for _ in range(count)]
        finally:
            set_num_threads(before)
        return Measurement(number, times, num_threads=self.num_threads, **self.names)

    def timeit(self, number: int = 1000000) -> Measurement:
        """`number` runs timed together, after a few to warm up."""
        self._blocks(max(1, number // 100), 1)
        return self._blocks(number, 1)

    def blocked_autorange(self, callback=None, min_run_time: float = 0.2) -> Measurement:
        """Blocks of runs, each long enough to be timed well, for at least min_run_time seconds."""
        number = 1
        while (took := self._blocks(number, 1).raw_times[0]) < min_run_time / 1000 and number < 1 << 30:
            number *= 2 if took > min_run_time / 10000 else 10
        count = max(1, int(min_run_time / max(took, 1e-9)))
        return self._blocks(number, count)

    def adaptive_autorange(self, threshold: float = 0.1, *, min_run_time: float = 0.01, max_run_time: float = 10.0,
                           callback=None) -> Measurement:  # fmt: skip
        """Blocks until the quartiles lie within `threshold` of the median, or max_run_time is over."""
        run = min_run_time
        while True:
            found = self.blocked_autorange(min_run_time=run)
            if found.iqr <= threshold * found.median or run >= max_run_time:
                return found
            run = min(2 * run, max_run_time)


class Compare:
    """Measurements as a table: a row per label and statement, a column per description."""

    def __init__(self, results):
        self.results = list(results)

    def extend_results(self, results) -> None:
        """Add measurements."""
        self.results.extend(results)

    def __str__(self) -> str:
        columns = list(dict.fromkeys(r.description or "time" for r in self.results))
        rows: dict = {}
        for r in self.results:
            rows.setdefault((r.label or "", r.sub_label or r.stmt, r.num_threads), {})[r.description or "time"] = r.median
        lines = [f"{'':40}" + "".join(f"{c:>16}" for c in columns)]
        for (label, sub, threads), cells in rows.items():
            values = "".join(f"{cells[c] * 1e6:16.2f}" if c in cells else f"{'':16}" for c in columns)
            lines.append(f"{f'{label} {sub} ({threads})'.strip()[:40]:40}{values}")
        return "\n".join([*lines, "Times are in microseconds (us)."])

    def print(self) -> None:
        """Print the table."""
        print(self)
