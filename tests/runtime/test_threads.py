import os
import threading

import numpy as np
import pytest

from flambeau.runtime import jit, launch, threads, threads_ir, threads_os, threads_worker

from .kernels_for_tests import ADD, NESTED, PARTS

SERIAL = 1 << 60
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(autouse=True)
def four_threads():
    old = threads.get_num_threads()
    threads.set_num_threads(4)
    yield
    threads.set_num_threads(old)


@pytest.fixture(scope="module")
def add():
    return launch.bind(jit.compile(ADD, "add"))


def hammer(add, rounds, seed, size=600):
    """Random extents and grains against NumPy."""
    rng = np.random.default_rng(seed)
    a, expected = np.zeros(size, np.int64), np.zeros(size, np.int64)
    extents = rng.integers(1, size + 1, rounds).tolist()
    grains = rng.choice([1, 3, 50, 200], rounds).tolist()
    for extent, grain in zip(extents, grains, strict=True):
        add(extent, grain, a.ctypes.data, extent)
        expected[:extent] += extent
    return bool((a == expected).all())


def parts_of(extent, grain):
    table = np.full((16, 2), -1, np.int64)
    launch.bind(jit.compile(PARTS, "parts"))(extent, grain, table.ctypes.data)
    return [tuple(row) for row in table.tolist() if row[0] >= 0]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_every_element_once(add, count):
    threads.set_num_threads(count)
    assert hammer(add, 2000, count)


@pytest.mark.parametrize("extent", [2, 3, 5, 7, 100, 511, 2047, 2048, 2049, 10_001, 1_000_000])
@pytest.mark.parametrize("grain", [0, 1, 64, 1000])
def test_parts_cover_the_extent_in_order(extent, grain):
    parts = parts_of(extent, grain)
    assert parts[0][0] == 0 and parts[-1][1] == extent
    assert all(a[1] == b[0] for a, b in zip(parts, parts[1:], strict=False))
    assert all(begin < end for begin, end in parts)
    assert all(end - begin >= grain for begin, end in parts[:-1])
    assert len(parts) <= max(1, min(4, extent // max(grain, 1)))
    if extent // 4 >= 512:
        assert all(begin % 64 == 0 for begin, _ in parts)
    assert parts_of(extent, grain) == parts


@pytest.mark.parametrize("count", [1, 2, 3, 4, 256])
def test_a_launch_has_no_more_parts_than_it_says(count):
    parts = parts_of(10_001, threads.within(1, count))
    assert len(parts) == min(count, 4) and parts[-1][1] == 10_001
    if count >= 4:
        assert parts == parts_of(10_001, 1)
    assert parts_of(1000, threads.within(1000, count)) == [(0, 1000)]


def test_nested_loops_run_in_their_caller():
    nested = launch.bind(jit.compile(NESTED, "nested"))
    for _ in range(300):
        a = np.zeros((8, 50), np.int64)
        nested(8, 1, a.ctypes.data, 50)
        assert (a == 1).all()


def test_a_serial_kernel_may_call_the_pool():
    nested = launch.bind(jit.compile(NESTED, "nested"))
    a = np.zeros((2, 1000), np.int64)
    nested(2, SERIAL, a.ctypes.data, 1000)
    assert (a == 1).all()


def test_a_kernel_alone_finds_the_pool(python):
    """Nothing but jit.compile: the pool is registered when a kernel asks for it."""
    python("""
        import ctypes
        from flambeau.runtime import jit
        from tests.runtime.kernels_for_tests import NESTED
        a = (ctypes.c_int64 * 1000)()
        args = (ctypes.c_int64 * 2)(ctypes.addressof(a), 1000)
        f = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] + [ctypes.c_int64] * 3)
        f(jit.compile(NESTED, "nested"))(ctypes.addressof(args), 0, 1, 0)
        assert list(a) == [1] * 1000
    """)


def test_several_callers(add):
    good = []
    callers = [
        threading.Thread(target=lambda seed=seed: good.append(hammer(add, 3000, seed)))
        for seed in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert good == [True] * 4


def test_workers_start_at_the_first_parallel_job(python):
    out = python("""
        import numpy as np
        from flambeau.runtime import jit, launch, threads
        from tests.runtime.kernels_for_tests import ADD
        threads.set_num_threads(3)
        add = launch.bind(jit.compile(ADD, "add"))
        a = np.zeros(100, np.int64)
        add(100, 1 << 60, a.ctypes.data, 1)
        print(threads.workers_alive())
        add(100, 1, a.ctypes.data, 1)
        print(threads.workers_alive())
    """)
    assert out.split() == ["0", "2"]


STRESS = """
    import os, random, sys, threading, warnings
    import numpy as np
    import numpy.random  # loaded lazily: a fork in the middle of an import would leave its lock held
    from flambeau.runtime import jit, launch, threads, threads_os
    if "{backend}":
        threads_os._own_backend = lambda machine: "{backend}"
    from tests.runtime.kernels_for_tests import ADD
    from tests.runtime.test_threads import hammer
    warnings.simplefilter("error")
    threads.set_num_threads(4)
    add = launch.bind(jit.compile(ADD, "add"))
    failed = []
    def run(seed):
        if not hammer(add, 4000, seed):
            failed.append(seed)
    callers = [threading.Thread(target=run, args=(seed,)) for seed in range(3)]
    for caller in callers:
        caller.start()
    while any(caller.is_alive() for caller in callers):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the callers are threads
            pid = os.fork()
        if pid == 0:
            assert threads.workers_alive() == 0
            assert hammer(add, 100, 9)
            assert threads.workers_alive() == 3
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert not failed, failed
    # Alone in the process, the pool leaves nothing behind that makes a fork unsafe.
    hammer(add, 10, 1)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    print("done")
"""


@needs_fork
@pytest.mark.parametrize("backend", ["", "pthread"])
@pytest.mark.parametrize("spin", ["0", "50"])
def test_callers_and_forks_at_once(python, backend, spin):
    out = python(STRESS.replace("{backend}", backend), FLAMBEAU_SPIN_US=spin)
    assert out.strip() == "done"


def test_exit_with_busy_workers(python):
    """The interpreter ends while a daemon thread is inside parallel kernels."""
    python("""
        import threading, time
        import numpy as np
        from flambeau.runtime import jit, launch, threads
        from tests.runtime.kernels_for_tests import ADD
        threads.set_num_threads(4)
        add = launch.bind(jit.compile(ADD, "add"))
        a = np.zeros(100_000, np.int64)
        def run():
            while True:
                add(100_000, 1, a.ctypes.data, 1)
        threading.Thread(target=run, daemon=True).start()
        time.sleep(0.05)
    """)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_interrupt_ends_a_loop_of_kernels(python):
    python("""
        import os, signal, threading, time
        import numpy as np
        from flambeau.runtime import jit, launch, threads
        from tests.runtime.kernels_for_tests import ADD
        threads.set_num_threads(4)
        add = launch.bind(jit.compile(ADD, "add"))
        a = np.zeros(100_000, np.int64)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            while True:
                add(100_000, 1, a.ctypes.data, 1)
        except KeyboardInterrupt:
            pass
        a[:] = 0
        add(100_000, 1, a.ctypes.data, 1)
        assert (a == 1).all()
    """)


def test_set_num_threads_checks():
    for wrong in (0, -1):
        with pytest.raises(RuntimeError, match="positive"):
            threads.set_num_threads(wrong)
    for wrong in (1.0, "2", None):
        with pytest.raises(TypeError):
            threads.set_num_threads(wrong)
    threads.set_num_threads(3)
    assert threads.get_num_threads() == 3
    threads.set_num_threads(1 << 20)
    assert threads.get_num_threads() == threads_worker.MAX_THREADS


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"FLAMBEAU_NUM_THREADS": "1000"}, threads_worker.MAX_THREADS),
        ({"FLAMBEAU_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3),
        ({"FLAMBEAU_NUM_THREADS": "", "OMP_NUM_THREADS": "2"}, 2),
        ({"FLAMBEAU_NUM_THREADS": "", "OMP_NUM_THREADS": "5,3"}, 5),
    ],
)
def test_thread_count_from_the_environment(python, environ, expected):
    out = python(
        "from flambeau.runtime import threads; print(threads.get_num_threads())", **environ
    )
    assert int(out) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_default_count_respects_affinity(python):
    out = python(
        """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        from flambeau.runtime import threads
        print(threads.get_num_threads())
        """,
        FLAMBEAU_NUM_THREADS="",
        OMP_NUM_THREADS="",
    )
    assert out.strip() == "1"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64", "other"])
@pytest.mark.parametrize("backend", threads_os.BACKENDS)
def test_pool_is_valid_ir_everywhere(monkeypatch, machine, backend):
    llvm = pytest.importorskip("llvmlite.binding")
    if backend == "futex" and machine == "other":
        pytest.skip("no futex call known")
    monkeypatch.setattr(threads_os.platform, "machine", lambda: machine)
    module = llvm.parse_assembly(threads_ir.module(backend))
    module.verify()
    defined = {f.name for f in module.functions if not f.is_declaration}
    assert set(threads_ir.EXPORTS) - {"flambeau_pool"} <= defined
