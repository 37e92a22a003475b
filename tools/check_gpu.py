"""Run the parity expressions with every generated kernel on an NVIDIA GPU: python tools/check_gpu.py [--groups a,b]

Tensors then lie in page-locked memory that the GPU reads and writes at the same addresses, and each launch goes to the PTX
of the same loop nest (codegen/ptx.py) instead of machine code. The results must be PyTorch's recorded ones, as in
tests/parity. A launch with an address elsewhere (memory of NumPy's own) runs on the CPU and is counted. It shows that the
kernels are right on a GPU, and says nothing about their speed.
"""

from __future__ import annotations

import argparse
import ctypes
import struct
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
THREADS = 32  # of one block: `worker` must stay below the number of threads that scratch is made for


class Driver:
    """The few calls of the CUDA driver API that a launch needs."""

    def __init__(self):
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.call("cuInit", 0)
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.call("cuCtxSetLimit", 0, ctypes.c_size_t(64 << 10))  # stack of a thread
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(major), 75, device)
        self.call("cuDeviceGetAttribute", ctypes.byref(minor), 76, device)
        self.chip = f"sm_{major.value}{minor.value}"

    def call(self, name: str, *args) -> None:
        """Call, and raise RuntimeError where the driver refuses."""
        code = getattr(self.cuda, name)(*args)
        if code:
            text = ctypes.c_char_p()
            self.cuda.cuGetErrorString(code, ctypes.byref(text))
            raise RuntimeError(f"{name}: {code} {(text.value or b'').decode()}")

    def pinned(self, size: int) -> int:
        """The address, on both sides, of zeroed page-locked memory."""
        at, device = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuMemHostAlloc", ctypes.byref(at), ctypes.c_size_t(size), 1 | 2)  # portable, mapped
        self.call("cuMemHostGetDevicePointer_v2", ctypes.byref(device), at, 0)
        if at.value != device.value:
            raise RuntimeError("this system gives the GPU other addresses for page-locked memory")
        ctypes.memset(at.value, 0, size)
        return at.value or 0

    def entry(self, text: str) -> ctypes.c_void_p:
        """The entry point `k` of a PTX module."""
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), text.encode() + b"\0")
        self.call("cuModuleGetFunction", ctypes.byref(function), module, b"k")
        return function

    def run(self, function, args: int, extent: int) -> None:
        """One block of THREADS over [0, extent), to its end."""
        values = (ctypes.c_uint64(args), ctypes.c_int64(extent))
        packed = (ctypes.c_void_p * 2)(*(ctypes.addressof(v) for v in values))
        self.call("cuLaunchKernel", function, 1, 1, 1, THREADS, 1, 1, 0, None, packed, None)
        self.call("cuCtxSynchronize")


class Pinned:
    """Memory of page-locked blocks, in the place of the allocator's mappings; nothing is given back."""

    driver: Driver
    regions: list[tuple[int, int]] = []

    def __init__(self, size: int):
        self.size = size
        self.ptr = self.driver.pinned(size)
        self.regions.append((self.ptr, self.ptr + size))

    def pin(self) -> None:
        pass

    unmap = pin


class Launches:
    """What stands in for runtime.kernels.compile_program, and what it counted."""

    def __init__(self, driver: Driver, on_cpu):
        self.driver, self.on_cpu = driver, on_cpu
        self.kernels, self.gpu, self.cpu = [], 0, 0
        self.slots = driver.pinned(4096)

    def compile(self, program):
        """A launcher of the same form that runs on the GPU."""
        from flambeau.codegen import ptx
        from flambeau.ir import kernel as K

        pointers = [i for i, p in enumerate(program.params) if p[1] is K.Ptr]
        name, native = program.name, self.on_cpu(program)
        try:
            entry = self.driver.entry(ptx.assembly(program, self.driver.chip))
        except RuntimeError as e:
            raise AssertionError(f"{name}: {e}") from e
        self.kernels.append(name)

        def launch(extent, grain, *args):
            if extent <= 0:
                return
            if not all(any(a <= args[i] < b for a, b in Pinned.regions) for i in pointers if args[i]):
                self.cpu += 1
                native(extent, grain, *args)
                return
            packed = struct.pack(f"{len(args)}q", *map(bits, args))
            ctypes.memmove(self.slots, packed, len(packed))
            self.gpu += 1
            try:
                self.driver.run(entry, self.slots, extent)
            except RuntimeError as e:  # the context is lost: nothing after it would run
                print(f"kernel {name}, extent {extent}, args {args}: {e}", flush=True)
                sys.exit(2)

        return launch


def bits(value) -> int:
    """An argument as the launch builtin passes it."""
    return struct.unpack("q", struct.pack("d", value))[0] if isinstance(value, float) else int(value)


def arrays_of(torch, cases, expression: str) -> dict:
    """The inputs of an expression in flambeau's memory, not NumPy's."""
    out = {}
    for name, a in cases.inputs(expression).items():
        room = torch.empty(a.shape, dtype=torch.from_numpy(a).dtype).numpy()
        room[...] = a
        out[name] = room
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--groups", default="", help="names of groups in tests/parity/cases.py, separated by commas")
    args = parser.parse_args()
    Pinned.driver = driver = Driver()

    import flambeau as torch
    from flambeau.ir import kernel as K
    from flambeau.runtime import allocator, kernels, memory
    from tests.parity import cases, test_parity

    allocator.Mapping = Pinned
    for box in memory._allocator.bins.values():
        box.free.clear()
    memory._allocator.arenas.clear()
    launches = Launches(driver, kernels.compile_program)
    K.compile_program = launches.compile
    torch.set_num_threads(THREADS)
    failed, done, start = [], 0, time.perf_counter()
    for group in args.groups.split(",") if args.groups else [g for g in cases.GROUPS if g != "errors"]:
        for i, expression in enumerate(cases.cases(group)):
            try:
                test_parity.check(f"{group}/{i}", expression, arrays_of(torch, cases, expression))
            except AssertionError as e:
                failed.append(f"{expression}: {' '.join(str(e).split())[:300]}")
            done += 1
        print(f"{group}: {done} expressions, {len(failed)} failed, {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{driver.chip}: {len(launches.kernels)} kernels, {launches.gpu} launches on the GPU, {launches.cpu} on the CPU")
    print(*failed, sep="\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
