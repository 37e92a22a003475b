"""Kernels as CPython builtins: one compiled trampoline, shared by all kernels, no ctypes per call.

`k = bind(address)`; `k(extent, grain, *args)` runs the kernel's body over [0, extent):

    extent <= 0       nothing
    extent <= grain   in the calling thread, holding the GIL
    extent > grain    over the pool in parts of at least `grain`, the GIL released
    grain < 0         in the calling thread, the GIL released

A kernel with scratch memory for so many workers is given within(grain, workers), from runtime.threads.
"""

import ctypes
import sys
from collections.abc import Callable, Iterable

from flambeau.runtime import jit, threads, threads_worker
from flambeau.runtime.locks import ForkSafeLock

__all__ = ["MAX_ARGS", "bind"]

MAX_ARGS = 128

METH_FASTCALL = 0x80


class MethodDef(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("method", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


_definition = None  # kept for ever: every builtin points to it
_lock = ForkSafeLock()
at_start: list[Callable[[], None]] = []  # what else is to be made when machine code is first used


def bind(address: int) -> Callable[..., None]:
    """A builtin `k(extent, grain, *args)` that calls the kernel at `address`.

    Each of `args` is an int or bool (passed as i64) or a float (the bits of its double).
    Errors: TypeError for other types and for more than MAX_ARGS args; OverflowError for an int
    beyond 64 bits. The kernel does not run then.
    """
    global _definition
    if not isinstance(address, int) or address <= 0:
        raise ValueError(f"bind(address): expected a function's address, got {address!r}")
    if _definition is None:
        with _lock:
            if _definition is None:
                _definition = pinned(_define())
                for start in at_start:
                    start()
    return new_builtin(ctypes.addressof(_definition), address, None)


def pinned(thing):
    """thing, which now outlives all modules: builtins are called until the interpreter is gone."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    return thing


new_builtin = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
)(("PyCFunction_NewEx", ctypes.pythonapi))


def _define():
    prepare()
    address = jit.compile(trampoline(type_offset()), "flambeau_launch")
    doc = b"kernel(extent, grain, *args)\n--\n\nRun a compiled kernel over [0, extent)."
    return MethodDef(b"kernel", address, METH_FASTCALL, doc)


def prepare(functions: Iterable[str] = ()) -> None:
    """Let machine code use CPython's functions by name: those of a launch, and more."""
    threads.prepare()
    for name in (*_API, *functions):
        function = getattr(ctypes.pythonapi, name)
        jit.register_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
    for name, thing in _OBJECTS.items():
        jit.register_symbol(name, id(thing))


def type_offset():
    """Where an object keeps its type, or None where that cannot be told from two samples."""
    word = ctypes.sizeof(ctypes.c_void_p)
    for offset in range(0, min(sys.getsizeof(1.0), sys.getsizeof(1)) - word + 1, word):
        samples = (1.5, 7, object)
        if all(
            ctypes.c_void_p.from_address(id(sample) + offset).value == id(type(sample))
            for sample in samples
        ):
            return offset
    return None


_API = (
    "PyErr_Clear",
    "PyErr_ExceptionMatches",
    "PyErr_Occurred",
    "PyErr_SetString",
    "PyEval_RestoreThread",
    "PyEval_SaveThread",
    "PyFloat_AsDouble",
    "PyIndex_Check",
    "PyLong_AsLongLong",
    "PyLong_AsVoidPtr",
    "Py_IncRef",
)
_OBJECTS = {"flambeau_None": None, "flambeau_float": float, "flambeau_TypeError": TypeError}


def common(type_offset) -> str:
    """IR of what builtins share: `convert` an object, `run` a kernel; floats are told by their type where that is known."""
    if type_offset is None:
        tell = "  br label %integer"
    else:
        tell = f"""  %type_at = getelementptr i8, ptr %object, i64 {type_offset}
  %type = load ptr, ptr %type_at
  %is_float = icmp eq ptr %type, @flambeau_float
  br i1 %is_float, label %real, label %integer"""
    return f"""
@flambeau_None = external global i8
@flambeau_float = external global i8
@flambeau_TypeError = external global i8
@flambeau_pool = external global i8

declare void @PyErr_Clear()
declare i32 @PyErr_ExceptionMatches(ptr)
declare ptr @PyErr_Occurred()
declare void @PyErr_SetString(ptr, ptr)
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyEval_SaveThread()
declare double @PyFloat_AsDouble(ptr)
declare i32 @PyIndex_Check(ptr)
declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyLong_AsVoidPtr(ptr)
declare void @Py_IncRef(ptr)
declare void @flambeau_parallel_for(ptr, ptr, i64, i64)

define internal i1 @convert(ptr %object, ptr %slot) {{
entry:
{tell}
integer:
  %whole = call i64 @PyLong_AsLongLong(ptr %object)
  store i64 %whole, ptr %slot
  %odd = icmp eq i64 %whole, -1
  br i1 %odd, label %doubt, label %good
doubt:
  %error = call ptr @PyErr_Occurred()
  %fine = icmp eq ptr %error, null
  br i1 %fine, label %good, label %other
other:
  %index = call i32 @PyIndex_Check(ptr %object)
  %no_index = icmp eq i32 %index, 0
  br i1 %no_index, label %second, label %bad
second:
  call void @PyErr_Clear()
  br label %real
real:
  %number = call double @PyFloat_AsDouble(ptr %object)
  store double %number, ptr %slot
  %odd2 = fcmp oeq double %number, -1.0
  br i1 %odd2, label %doubt2, label %good
doubt2:
  %error2 = call ptr @PyErr_Occurred()
  %fine2 = icmp eq ptr %error2, null
  br i1 %fine2, label %good, label %bad
good:
  ret i1 true
bad:
  ret i1 false
}}

define internal void @run(ptr %body, ptr %args, i64 %extent, i64 %grain) {{
entry:
  %work = icmp sgt i64 %extent, 0
  br i1 %work, label %choose, label %done
choose:
  %least = and i64 %grain, {~threads_worker.MOST}
  %small = icmp sle i64 %extent, %least
  br i1 %small, label %here, label %large
here:
  call void %body(ptr %args, i64 0, i64 %extent, i64 0)
  br label %done
large:
  %alone = icmp slt i64 %least, 0
  br i1 %alone, label %released, label %ask
released:
  %state0 = call ptr @PyEval_SaveThread()
  call void %body(ptr %args, i64 0, i64 %extent, i64 0)
  call void @PyEval_RestoreThread(ptr %state0)
  br label %done
ask:
  %threads_at = getelementptr i8, ptr @flambeau_pool, i64 {threads_worker.THREADS}
  %threads = load atomic i32, ptr %threads_at monotonic, align 4
  %several = icmp sgt i32 %threads, 1
  br i1 %several, label %parallel, label %here
parallel:
  %state = call ptr @PyEval_SaveThread()
  call void @flambeau_parallel_for(ptr %body, ptr %args, i64 %extent, i64 %grain)
  call void @PyEval_RestoreThread(ptr %state)
  br label %done
done:
  ret void
}}
"""


def trampoline(type_offset) -> str:
    """IR of the builtin's function."""
    return common(type_offset) + f"""
@few = private constant [50 x i8] c"a kernel takes (extent, grain, *args): too few...\\00"
@many = private constant [50 x i8] c"a kernel takes (extent, grain, *args): over {MAX_ARGS:5}\\00"

define internal i1 @whole(ptr %object, ptr %slot) {{
  %value = call i64 @PyLong_AsLongLong(ptr %object)
  store i64 %value, ptr %slot
  %odd = icmp eq i64 %value, -1
  br i1 %odd, label %doubt, label %good
doubt:
  %error = call ptr @PyErr_Occurred()
  %fine = icmp eq ptr %error, null
  br i1 %fine, label %good, label %bad
good:
  ret i1 true
bad:
  ret i1 false
}}

define ptr @flambeau_launch(ptr %self, ptr %objects, i64 %count) {{
entry:
  %slots = alloca [{MAX_ARGS + 2} x i64], align 16
  %short = icmp slt i64 %count, 2
  br i1 %short, label %too_few, label %enough
enough:
  %long = icmp sgt i64 %count, {MAX_ARGS + 2}
  br i1 %long, label %too_many, label %head
head:
  %extent_object = load ptr, ptr %objects
  %ok0 = call i1 @whole(ptr %extent_object, ptr %slots)
  br i1 %ok0, label %head2, label %fail
head2:
  %grain_at = getelementptr ptr, ptr %objects, i64 1
  %grain_object = load ptr, ptr %grain_at
  %slot1 = getelementptr i64, ptr %slots, i64 1
  %ok1 = call i1 @whole(ptr %grain_object, ptr %slot1)
  br i1 %ok1, label %loop, label %fail
loop:
  %i = phi i64 [ 2, %head2 ], [ %next, %convert ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %convert, label %run
convert:
  %next = add i64 %i, 1
  %object_at = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %object_at
  %slot = getelementptr i64, ptr %slots, i64 %i
  %ok = call i1 @convert(ptr %object, ptr %slot)
  br i1 %ok, label %loop, label %fail
run:
  %extent = load i64, ptr %slots
  %grain = load i64, ptr %slot1
  %args = getelementptr i64, ptr %slots, i64 2
  %body = call ptr @PyLong_AsVoidPtr(ptr %self)
  call void @run(ptr %body, ptr %args, i64 %extent, i64 %grain)
  call void @Py_IncRef(ptr @flambeau_None)
  ret ptr @flambeau_None
too_few:
  call void @PyErr_SetString(ptr @flambeau_TypeError, ptr @few)
  ret ptr null
too_many:
  call void @PyErr_SetString(ptr @flambeau_TypeError, ptr @many)
  ret ptr null
fail:
  ret ptr null
}}
"""
