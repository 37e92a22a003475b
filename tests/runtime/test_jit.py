import ctypes
import math
import threading

import pytest

from flambeau.runtime import jit

from .kernels_for_tests import constant


def call(address, result, *types):
    return ctypes.CFUNCTYPE(result, *types)(address)


def test_compiles_once_and_loads_what_was_compiled(cache_dir):
    before = jit.stats.compiled, jit.stats.loaded_from_cache
    address = jit.compile(constant(41), "constant")
    assert call(address, ctypes.c_int64)() == 41
    assert jit.compile(constant(41), "constant") == address
    assert (jit.stats.compiled, jit.stats.loaded_from_cache) == (before[0] + 1, before[1])
    jit._loaded.clear()
    again = jit.compile(constant(41), "constant")
    assert again != address and call(again, ctypes.c_int64)() == 41
    assert (jit.stats.compiled, jit.stats.loaded_from_cache) == (before[0] + 1, before[1] + 1)


def test_same_name_in_many_modules(cache_dir):
    addresses = [jit.compile(constant(n), "constant") for n in range(20)]
    assert [call(a, ctypes.c_int64)() for a in addresses] == list(range(20))


def test_libm_resolves(cache_dir):
    text = """
    declare double @expm1(double)
    define double @f(double %x) {
      %y = call double @expm1(double %x)
      ret double %y
    }"""
    assert call(jit.compile(text, "f"), ctypes.c_double, ctypes.c_double)(7.5) == math.expm1(7.5)


def test_registered_symbol_resolves_from_the_cache_too(cache_dir):
    target = call(jit.compile(constant(5), "constant"), ctypes.c_int64)
    address = ctypes.cast(target, ctypes.c_void_p).value
    jit.register_symbol("flambeau_test_symbol", address)
    text = """
    declare i64 @flambeau_test_symbol()
    define i64 @f() {
      %x = call i64 @flambeau_test_symbol()
      ret i64 %x
    }"""
    for _ in range(2):
        assert call(jit.compile(text, "f"), ctypes.c_int64)() == 5
        jit._loaded.clear()


def test_floating_point_is_as_written(cache_dir):
    """No contraction: a*b + c rounds twice; and no algebra that assumes finite numbers."""
    text = """
    define double @f(double %a, double %b, double %c) {
      %p = fmul double %a, %b
      %s = fadd double %p, %c
      ret double %s
    }
    define double @g(double %x) {
      %d = fsub double %x, %x
      ret double %d
    }"""
    found = jit.load(text, ("f", "g"))
    double = ctypes.c_double
    f, g = call(found["f"], double, double, double, double), call(found["g"], double, double)
    a = 1 + 2.0**-30
    assert f(a, a, -(a * a)) == 0.0
    assert math.isnan(g(math.inf))


def test_always_inline_and_inline_assembly(cache_dir):
    text = """
    define internal i64 @twice(i64 %x) alwaysinline {
      %y = shl i64 %x, 1
      ret i64 %y
    }
    define i64 @f(i64 %x) {
      call void asm sideeffect "nop", ""()
      %y = call i64 @twice(i64 %x)
      ret i64 %y
    }"""
    assert call(jit.compile(text, "f"), ctypes.c_int64, ctypes.c_int64)(21) == 42


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("define void @f( {", "LLVM rejects"),
        ("define i64 @f() {\n  ret i64 %x\n}", "LLVM rejects"),
        (
            "declare void @no_such_function()\ndefine void @f() {\n"
            "  call void @no_such_function()\n"
            "  ret void\n}",
            "no_such_function",
        ),
    ],
)
def test_bad_modules_raise(cache_dir, text, said):
    with pytest.raises(RuntimeError, match=said):
        jit.compile(text, "f")


def test_threads_share_one_kernel(cache_dir):
    found, before = set(), jit.stats.compiled
    threads = [
        threading.Thread(target=lambda: found.add(jit.compile(constant(77), "constant")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1 and jit.stats.compiled == before + 1


def test_import_loads_no_llvm(python):
    out = python("""
        import sys
        from flambeau.runtime import jit, launch, memory, threads
        memory.allocate(100)
        threads.get_num_threads()
        print("llvmlite" in sys.modules)
    """)
    assert out.strip() == "False"


def test_second_process_compiles_nothing(python, tmp_path):
    script = """
        import ctypes
        from flambeau.runtime import jit, memory
        memory.zeroed(100)
        print(jit.stats.compiled, jit.stats.loaded_from_cache)
    """
    environ = {"FLAMBEAU_CACHE_DIR": str(tmp_path / "c")}
    compiled, loaded = map(int, python(script, **environ).split())
    assert compiled > 0 and loaded == 0
    assert python(script, **environ).split() == ["0", str(compiled)]
