"""Everything we claim, measured: python benchmarks/run.py [--threads N] [--quick] (or `make bench`)

flambeau beside PyTorch (where it is installed) in one process, round by round on equal threads; what needs a fresh process
(import, first call, peak memory) in processes of its own. Prints tables; writes benchmarks/results.json and docs/benchmarks.png.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
import micro
import pairs
import training
from tqdm import tqdm

HERE = Path(__file__).parent
PEAK = """
import sys
sys.path.insert(0, {here!r})
import memory, workloads, {side} as t
t.set_num_threads({threads})
t.manual_seed(0)
step = workloads.WORKLOADS[{name!r}].training(t)
before = memory.start()
for _ in range(5):
    step()
print(memory.peak() - before)
"""
FIRST = """
import time, flambeau as t
x, y = t.randn(4, 8), t.randn(8, 4)
def timed(fn):
    start = time.perf_counter(); fn(); return (time.perf_counter() - start) * 1e3
print([timed(f) for f in (lambda: x * 2 + 1, lambda: x.sum(1), lambda: x @ y, lambda: x.softmax(1), lambda: x.exp())])
"""


def python(code: str, **env: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **env})
    return done.stdout.strip()


def import_seconds(module: str) -> float:
    """Seconds that `import module` takes above NumPy's import; the least of five processes."""
    code = f"import numpy, time; s = time.perf_counter(); import {module}; print(time.perf_counter() - s)"
    return min(float(python(code)) for _ in range(5))


def installed_bytes(*packages: str) -> int:
    """The size of the packages' files."""
    total = 0
    for package in packages:
        for f in importlib.metadata.files(package) or ():
            path = Path(f.locate())
            total += path.stat().st_size if path.is_file() else 0
    return total


def startup(sides: dict) -> dict:
    """Import, first calls with an empty and a filled cache of compiled kernels (ms each), sizes on disk."""
    out: dict = {"import": {side: import_seconds(side) for side in sides}}
    with tempfile.TemporaryDirectory() as cache:
        for which in ("first call, compiling", "first call, cached"):
            out[which] = json.loads(python(FIRST, FLAMBEAU_CACHE_DIR=cache))
    source = sum(f.stat().st_size for f in (HERE.parent / "flambeau").rglob("*.py"))
    out["bytes"] = {"flambeau": source, "numpy + llvmlite": installed_bytes("numpy", "llvmlite")}
    if "torch" in sides:
        out["bytes"]["torch"] = installed_bytes("torch")
    return out


def peak_memory(sides: dict, threads: int) -> dict:
    """{workload: {side: bytes that five training steps take at their peak, above what network and data take}}."""
    return {
        name: {
            side: int(python(PEAK.format(here=str(HERE), side=side, threads=threads, name=name))) for side in sides
        } for name in tqdm(training.WORKLOADS, desc="peak memory", leave=False)
    }  # fmt: skip


def chart(results: dict, path: Path) -> None:
    """Ratios as bars, logarithmic, a line at 1."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [(n, r["ratio"]) for part in ("micro", "training") for n, r in results[part].items() if "ratio" in r]
    if not rows:
        return
    fig, ax = plt.subplots(figsize=(8, 0.26 * len(rows) + 1.2))
    names, ratios = [r[0] for r in rows], [r[1] for r in rows]
    ax.barh(names, [r - 1 for r in ratios], left=1, color=["#2a9d8f" if r >= 1 else "#e76f51" for r in ratios])
    ax.set_xscale("log")
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.axvline(1, color="black", linewidth=0.8)
    ax.invert_yaxis()
    ax.set_xlabel("PyTorch's time / flambeau's (right of 1: flambeau is faster)")
    ax.set_title(f"{results['threads']} threads, {results['processor']}", fontsize=9)
    fig.tight_layout()
    fig.savefig(path, dpi=110)


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((s.split(":", 1)[1].strip() for s in lines if s.startswith("model name")), platform.processor())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="shorter runs, no peak memory")
    args = parser.parse_args()
    sides = pairs.libraries(args.threads)
    peak, speed = machine.fma_peak(args.threads), machine.bandwidth(args.threads)
    results: dict = {
        "threads": args.threads, "processor": processor(), "versions": {s: str(t.__version__) for s, t in sides.items()},
        "peak GFLOP/s": peak / 1e9, "bandwidth GB/s": speed / 1e9, "micro": {}, "training": {},
    }  # fmt: skip
    print(f"{args.threads} threads of {results['processor']}: {peak / 1e9:.0f} GFLOP/s, copies at {speed / 1e9:.1f} GB/s")
    print(f"{'microseconds':20} {'flambeau':>12} {'torch':>12} {'ratio':>7}")
    for name, row, moved, work in micro.measure(sides, 0.2 if args.quick else 0.6):
        share = moved / row["flambeau"] / speed if moved else work / row["flambeau"] / peak
        if share:
            row["share of the machine"] = share
        results["micro"][name] = row
        of = "copy bandwidth" if moved else "peak"
        tqdm.write(pairs.line(name, row, 1e6, f"{micro.rate(row, moved, work)} {share:.0%} of {of}" if share else ""))
    print(f"\n{'ms per step':20} {'flambeau':>12} {'torch':>12} {'ratio':>7}")
    for name, row in training.measure(sides, 1.0 if args.quick else 4.0):
        results["training"][name] = row
        print(pairs.line(name, row, 1e3), flush=True)
    results["startup"] = startup(sides)
    print("\nimport above NumPy's, s:", {s: round(v, 3) for s, v in results["startup"]["import"].items()})
    for which in ("first call, compiling", "first call, cached"):
        print(f"{which}, ms:", [round(v, 2) for v in results["startup"][which]])
    print("on disk, MB:", {s: round(v / 1e6, 1) for s, v in results["startup"]["bytes"].items()})
    if not args.quick:
        results["peak memory"] = peak_memory(sides, args.threads)
        for name, row in results["peak memory"].items():
            print(f"peak memory {name:14}", {s: f"{v / 1e6:.0f} MB" for s, v in row.items()})
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    chart(results, HERE.parent / "docs" / "benchmarks.png")


if __name__ == "__main__":
    main()
