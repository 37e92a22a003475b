"""Everything we claim, measured: python benchmarks/run.py [section ...] [--threads N] [--quick] (or `make bench`)

flambeau beside PyTorch (where it is installed) in one process, round by round on equal threads, JAX as a third column where it
is installed; what needs a fresh process (import, first call, peak memory) in processes of its own. Prints tables; with all
sections, writes benchmarks/results/PROCESSOR.json and docs/benchmarks.png.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import convolutions
import dispatch
import inference
import jax_side
import machine
import micro
import pairs
import products
import rows
import training
import workloads
from tqdm import tqdm

HERE = Path(__file__).parent
SECTIONS = {  # name: (what it is, measure, unit, seconds for each measurement)
    "dispatch": ("around the kernels", dispatch.measure, "us", 0.4),
    "micro": ("single operations", micro.measure, "us", 0.4),
    "products": ("matrix products", products.measure, "us", 0.4),
    "convolutions": ("convolutions", convolutions.measure, "us", 0.4),
    "rows": ("rows, attention, recurrence", rows.measure, "us", 0.4),
    "training": ("training steps", training.measure, "ms", 4.0),
    "inference": ("inference", inference.measure, "ms", 2.0),
}
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
    env = {**os.environ, **env}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages have their bytecode
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
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
        } for name in tqdm(workloads.WORKLOADS, desc="peak memory", leave=False)
    }  # fmt: skip


def chart(results: dict, path: Path) -> None:
    """Ratios as bars, a panel for each section, logarithmic, a line at 1."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = {s: {n: r["ratio"] for n, r in results[s].items() if "ratio" in r} for s in SECTIONS if results.get(s)}
    panels = {s: found for s, found in panels.items() if found}
    if not panels:
        return
    columns: list[list[str]] = [[], [], []]
    for s in sorted(panels, key=lambda s: -len(panels[s])):  # the longest first, each where there is most room
        min(columns, key=lambda c: sum(len(panels[x]) + 4 for x in c)).append(s)
    height = max(sum(len(panels[s]) + 4 for s in c) for c in columns)
    fig = plt.figure(figsize=(18, 0.19 * height + 0.6), layout="constrained")
    for part, names in zip(fig.subfigures(1, 3), columns, strict=True):
        sizes = [len(panels[s]) + 4 for s in names]
        room = height - sum(sizes)
        axes = part.subplots(len(names) + 1, 1, height_ratios=[*sizes, max(room, 0.01)], squeeze=False)[:, 0] if names else []
        for ax, s in zip(axes, names, strict=False):
            bars(ax, panels[s], SECTIONS[s][0])
        if names:
            axes[-1].axis("off")
    versions = " and ".join(f"{s} {v}" for s, v in results["versions"].items())
    fig.suptitle(f"PyTorch's time / flambeau's: right of 1 flambeau is faster. {results['threads']} threads, {results['processor']}, {versions}")
    fig.savefig(path, dpi=80)


def bars(ax, ratios: dict, title: str) -> None:
    """One panel of the chart."""
    names, values = list(ratios), list(ratios.values())
    ax.barh(names, [v - 1 for v in values], left=1, color=["#2a9d8f" if v >= 1 else "#e76f51" for v in values])
    ax.set_xscale("log")
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16]
    ax.set_xlim(min(0.4, *values) * 0.9, max(4.0, *values) * 1.1)
    ax.set_xticks([t for t in ticks if ax.get_xlim()[0] < t < ax.get_xlim()[1]])
    ax.set_xticklabels([f"{t:g}" for t in ax.get_xticks()], fontsize=7)
    ax.minorticks_off()
    ax.tick_params(axis="y", labelsize=7)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.margins(y=0.01)
    ax.invert_yaxis()
    ax.set_title(title, fontsize=9)


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((s.split(":", 1)[1].strip() for s in lines if s.startswith("model name")), platform.processor())


def with_jax(sides: dict, threads: int) -> dict:
    """{section: sides with JAX's functions}, where JAX is installed."""
    if importlib.util.find_spec("jax") is None:
        return {}
    jax = jax_side.load(threads)
    steps = {name: (lambda make=make: make(jax)) for name, make in jax_side.WORKLOADS.items()}
    return {"micro": {**sides, "jax": jax_side.operations(jax)}, "training": {**sides, "jax": steps}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="of " + ", ".join(SECTIONS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="shorter runs, no peak memory, nothing written")
    args = parser.parse_args()
    sides = pairs.libraries(args.threads)
    more = with_jax(sides, args.threads)
    peak, speed = machine.fma_peak(args.threads), machine.bandwidth(args.threads)
    results: dict = {
        "threads": args.threads, "processor": processor(), "versions": {s: str(t.__version__) for s, t in sides.items()},
        "peak GFLOP/s": peak / 1e9, "bandwidth GB/s": speed / 1e9,
    }  # fmt: skip
    print(f"{args.threads} threads of {results['processor']}: {peak / 1e9:.0f} GFLOP/s, copies at {speed / 1e9:.1f} GB/s")
    for section in args.sections or SECTIONS:
        what, measure, unit, seconds = SECTIONS[section]
        print(f"\n{what}")
        found = measure(more.get(section, sides), seconds / (4 if args.quick else 1))
        results[section] = pairs.print_table(found, unit, peak, speed)
    if args.sections:
        return
    results["startup"] = startup(sides)
    print("\nimport above NumPy's, s:", {s: round(v, 3) for s, v in results["startup"]["import"].items()})
    for which in ("first call, compiling", "first call, cached"):
        print(f"{which}, ms:", [round(v, 2) for v in results["startup"][which]])
    print("on disk, MB:", {s: round(v / 1e6, 1) for s, v in results["startup"]["bytes"].items()})
    if args.quick:
        return
    results["peak memory"] = peak_memory(sides, args.threads)
    for name, row in results["peak memory"].items():
        print(f"peak memory {name:14}", {s: f"{v / 1e6:.0f} MB" for s, v in row.items()})
    name = "".join(c if c.isalnum() else "_" for c in results["processor"])
    (HERE / "results" / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    chart(results, HERE.parent / "docs" / "benchmarks.png")


if __name__ == "__main__":
    main()
