"""What the machine can do: fused multiply-adds and memory traffic a second, on N threads at once."""

from __future__ import annotations

import ctypes
import threading
import time

import numpy as np

LANES, CHAINS, ROUNDS = 16, 20, 1 << 22  # 20 independent chains of fma hide the latency of two units


def fma_loop():
    """A native function of one count: CHAINS fma of LANES float32 a round."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    v = f"<{LANES} x float>"
    names = range(CHAINS)
    phis = "\n".join(f"%a{k} = phi {v} [zeroinitializer, %entry], [%b{k}, %loop]" for k in names)
    work = "\n".join(f"%b{k} = call {v} @llvm.fma.v{LANES}f32({v} %x, {v} %x, {v} %a{k})" for k in names)
    sums = "\n".join(f"%s{k + 1} = fadd {v} %s{k}, %b{k}" for k in names)
    text = f"""
    declare {v} @llvm.fma.v{LANES}f32({v}, {v}, {v})
    define void @run(i64 %n, ptr %out) {{
    entry:
      %x = load {v}, ptr %out, align 4
      br label %loop
    loop:
      %i = phi i64 [0, %entry], [%j, %loop]
      {phis}
      {work}
      %j = add i64 %i, 1
      %more = icmp ult i64 %j, %n
      br i1 %more, label %loop, label %end
    end:
      %s0 = fadd {v} %x, %x
      {sums}
      store {v} %s{CHAINS}, ptr %out, align 4
      ret void
    }}"""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):  # else LLVM halves the vectors of some machines
        features["prefer-256-bit"] = False
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=2
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    fn = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(engine.get_function_address("run"))
    fn.engine = engine
    return fn


def together(threads: int, fn) -> float:
    """Seconds until fn(k) has ended on every thread; the best of many: now and then two threads share a core for a while."""
    best = float("inf")
    for _ in range(20):
        workers = [threading.Thread(target=fn, args=(k,)) for k in range(threads)]
        start = time.perf_counter()
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        best = min(best, time.perf_counter() - start)
    return best


def fma_peak(threads: int) -> float:
    """Floating point operations a second in float32 (a multiply-add counts two)."""
    run = fma_loop()
    places = [np.zeros(LANES, np.float32) for _ in range(threads)]
    seconds = together(threads, lambda k: run(ROUNDS, places[k].ctypes.data))
    return 2.0 * LANES * CHAINS * ROUNDS * threads / seconds


def bandwidth(threads: int, size: int = 1 << 26) -> float:
    """Bytes a second read and written in copying arrays that no cache holds."""
    sources = [np.ones(size, np.float32) for _ in range(threads)]
    targets = [np.empty_like(s) for s in sources]
    for s, t in zip(sources, targets, strict=True):
        np.copyto(t, s)
    return 8.0 * size * threads / together(threads, lambda k: np.copyto(targets[k], sources[k]))
