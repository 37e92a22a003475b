"""The machine code of calls.py, as LLVM text: how it is written, and what it knows of CPython and of our objects.

The builtins are in calls_tensor (tensors, memory), calls_op (whole calls), calls_record (history) and calls_backward. References
follow CPython's rules: what a function returns is the caller's, what it is given is borrowed, unless it says "takes". Every
function of CPython that can fail is looked at; on failure all that was made is let go.
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau.core import dtypes as dt

GEOMETRY = ("_numel", "_shape", "_strides", "_dense", "_dtype")  # of a tensor to come; its number of bytes follows
MEMORY = ("_storage", "_ptr", "_vc")
NOTHING = ("_grad_fn", "_grad", "_base", "_hooks", "_accumulate", "_post_hooks")  # None in a new tensor
TENSOR_SLOTS = (*GEOMETRY, *MEMORY, *NOTHING, "_output_nr", "_view_version", "_offset", "_requires_grad")
STORAGE_SLOTS = ("ptr", "nbytes", "_release", "version")
BIN_SLOTS = ("pop", "release", "size")
NODE_SLOTS = ("_edges", "_seq", "recipe", "saved", "versions")
RECIPE_SLOTS = ("calls", "flags")
MOST = 16  # arguments of an op that is known by its geometry, or recorded

API = {
    "PyDict_Contains": "i32 (ptr, ptr)",
    "PyDict_DelItem": "i32 (ptr, ptr)",
    "PyDict_GetItemWithError": "ptr (ptr, ptr)",
    "PyDict_SetItem": "i32 (ptr, ptr, ptr)",
    "PyFloat_FromDouble": "ptr (double)",
    "PyIter_Next": "ptr (ptr)",
    "PyList_Append": "i32 (ptr, ptr)",
    "PyList_GetItem": "ptr (ptr, i64)",
    "PyList_New": "ptr (i64)",
    "PyList_SetItem": "i32 (ptr, i64, ptr)",
    "PyList_SetSlice": "i32 (ptr, i64, i64, ptr)",
    "PyList_Size": "i64 (ptr)",
    "PyLong_FromLongLong": "ptr (i64)",
    "PyNumber_Add": "ptr (ptr, ptr)",
    "PyObject_CallFunctionObjArgs": "ptr (ptr, ...)",
    "PyObject_CallNoArgs": "ptr (ptr)",
    "PyObject_CallOneArg": "ptr (ptr, ptr)",
    "PyObject_GC_UnTrack": "void (ptr)",
    "PyObject_GetAttrString": "ptr (ptr, ptr)",
    "PyObject_IsTrue": "i32 (ptr)",
    "PyObject_RichCompareBool": "i32 (ptr, ptr, i32)",
    "PyObject_SetAttrString": "i32 (ptr, ptr, ptr)",
    "PyObject_Vectorcall": "ptr (ptr, ptr, i64, ptr)",
    "PySequence_GetItem": "ptr (ptr, i64)",
    "PySequence_Size": "i64 (ptr)",
    "PyTuple_GetItem": "ptr (ptr, i64)",
    "PyTuple_New": "ptr (i64)",
    "PyTuple_SetItem": "i32 (ptr, i64, ptr)",
    "PyTuple_Size": "i64 (ptr)",
    "PyType_IsSubtype": "i32 (ptr, ptr)",
    "Py_DecRef": "void (ptr)",
}  # functions of CPython: result (arguments)

OBJECTS = {  # objects that are there before ours
    "False": False, "True": True, "int": int, "str": str, "tuple": tuple, "slice": slice, "list": list, "dtype": dt.dtype,
    "float32": dt.float32, "float64": dt.float64, "int64": dt.int64, "empty": (), "zero": 0, "one": 1, "leaf": -1,
    "tuple_item": tuple.__getitem__,
}  # fmt: skip
OURS = (  # and those that calls.install adds
    "Tensor", "Storage", "Size", "OpNode", "FREED", "allocate", "item", "number_of", "plain_of", "recent", "pops", "pushes",
)  # fmt: skip
COUNTS = {"most": "i64", "counts": "i64", "second": "ptr"}  # memory that holds more than an object
TEXTS = {
    "no_tensor": "a call takes Tensors first", "no_geometry": "a geometry is a tuple of 6 items", "version": "version", "grad": "grad",
    "miscounted": "a call was given another number of arguments", "watched": "watched", "outputs": "_outputs", "hooks": "_hooks",
    "post_hooks": "_post_hooks", "seq": "_seq", "edges": "_edges",
}  # fmt: skip


def head() -> str:
    """Declarations of all of these."""
    lines = [f"@flambeau_{name} = external global i8" for name in (*OBJECTS, *OURS)]
    lines += [f"@flambeau_{name} = external global {kind}" for name, kind in COUNTS.items()]
    lines += [f'@{name} = private constant [{len(text) + 1} x i8] c"{text}\\00"' for name, text in TEXTS.items()]
    lines += [f"declare {s.partition(' ')[0]} @{name}{s.partition(' ')[2]}" for name, s in API.items()]
    lines += [f"declare ptr @flambeau_{name}(ptr, ptr, ptr)" for name in ("new", "new_tuple")]
    return "\n".join((*lines, ""))


class Code:
    """Lines of one function, in a few idioms."""

    def __init__(self, at: dict):
        self.at, self.count, self.lines = at, 0, []

    def __call__(self, *lines: str) -> None:
        """Lines as they are."""
        self.lines += lines

    def text(self, head: str) -> str:
        """The function; the next one begins."""
        lines, self.lines = self.lines, []
        return "\n".join((head + " {", *lines, "}\n"))

    def name(self) -> str:
        self.count += 1
        return f"%v{self.count}"

    def let(self, what: str) -> str:
        """A new name for a value."""
        name = self.name()
        self(f"  {name} = {what}")
        return name

    def get(self, holder: str, slot: str | int) -> str:
        """What a slot refers to."""
        p = self.let(f"getelementptr i8, ptr {holder}, i64 {self.at.get(slot, slot)}")
        return self.let(f"load ptr, ptr {p}")

    def set(self, holder: str, slot: str, value: str) -> None:
        """Fill an empty slot, which takes the reference."""
        p = self.let(f"getelementptr i8, ptr {holder}, i64 {self.at[slot]}")
        self(f"  store ptr {value}, ptr {p}")

    def share(self, holder: str, slot: str, value: str) -> None:
        """Fill an empty slot with one more reference."""
        self(f"  call void @Py_IncRef(ptr {value})")
        self.set(holder, slot, value)

    def item(self, pointers: str, i: int) -> str:
        """One of several pointers in a row."""
        p = self.let(f"getelementptr ptr, ptr {pointers}, i64 {i}")
        return self.let(f"load ptr, ptr {p}")

    def whole(self, number: str) -> str:
        """A Python int that is known to fit."""
        return self.let(f"call i64 @PyLong_AsLongLong(ptr {number})")

    def truth(self, answer: str, no: str) -> None:
        """Go on if a function of CPython answers 1, to a block if it answers 0; -1 is an error: to `fail`."""
        yes = f"yes{self.name()[1:]}"
        self(f"  switch i32 {answer}, label %fail [ i32 0, label %{no} i32 1, label %{yes} ]", f"{yes}:")

    def unless(self, ok: str, target: str) -> None:
        """Go on if `ok`, else to a block."""
        label = f"go{self.name()[1:]}"
        self(f"  br i1 {ok}, label %{label}, label %{target}", f"{label}:")

    def some(self, value: str, target: str) -> str:
        """Go on if a pointer is not null, else to a block."""
        self.unless(self.let(f"icmp ne ptr {value}, null"), target)
        return value

    def tensor(self, value: str, target: str) -> None:
        """Go on if an object is a Tensor, else to a block."""
        kind = self.get(value, "type")
        n = self.name()[1:]
        same = self.let(f"icmp eq ptr {kind}, @flambeau_Tensor")
        self(f"  br i1 {same}, label %is{n}, label %ask{n}", f"ask{n}:")
        sub = self.let(f"call i32 @PyType_IsSubtype(ptr {kind}, ptr @flambeau_Tensor)")
        self(f"  br i1 {self.let(f'icmp ne i32 {sub}, 0')}, label %is{n}, label %{target}", f"is{n}:")

    def fail(self, label: str, text: str) -> None:
        """A block that ends in a TypeError."""
        self(f"{label}:", f"  call void @PyErr_SetString(ptr @flambeau_TypeError, ptr {text})", "  ret ptr null")


def loop(c: Code, name: str, count: str, body: Callable[[str], None]) -> None:
    """body(index) for 0 <= index < count."""
    c(f"  store i64 0, ptr %at_{name}", f"  br label %{name}", f"{name}:")
    i = c.let(f"load i64, ptr %at_{name}")
    more = c.let(f"icmp slt i64 {i}, {count}")
    c(f"  br i1 {more}, label %{name}_body, label %{name}_end", f"{name}_body:")
    body(i)
    c(f"  store i64 {c.let(f'add i64 {i}, 1')}, ptr %at_{name}", f"  br label %{name}", f"{name}_end:")


def items_of(c: Code, geometry: str) -> str:
    """Where the items of a geometry are; other things go to `wrong`."""
    size = c.let(f"call i64 @PyTuple_Size(ptr {geometry})")
    c.unless(c.let(f"icmp eq i64 {size}, 6"), "wrong")
    return c.let(f"getelementptr i8, ptr {geometry}, i64 {c.at['items']}")
