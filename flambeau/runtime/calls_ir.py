"""The machine code of calls.py, as LLVM text: what each builtin does is told there, how in the names below.

References follow CPython's rules: what a function returns is the caller's, what it is given is borrowed, unless it says
"takes". Every function of CPython that can fail is looked at; on failure all that was made is let go.
"""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.runtime import launch
from flambeau.runtime.allocator import PEAK, SMALL_SAMPLE

METH_NOARGS, METH_O, METH_FASTCALL = 0x4, 0x8, 0x80
BUILTINS = {"fresh": METH_FASTCALL, "alias": METH_FASTCALL, "call": METH_FASTCALL, "plain": METH_NOARGS, "end": METH_NOARGS, "size": METH_O,
            "planned": METH_FASTCALL, "note": METH_FASTCALL, "walk": METH_FASTCALL, "number": METH_NOARGS, "give": METH_O, "changed": METH_FASTCALL}  # fmt: skip
WORDS = 6  # of a table before the sizes of rooms
MAX_BASES = 64  # outputs, operands, numbers and rooms of a call, and one

GEOMETRY = ("_numel", "_shape", "_strides", "_dense", "_dtype")  # of a tensor to come; its number of bytes follows
VIEWED = GEOMETRY[:4]  # of a view; the offset in elements and in bytes follow
MEMORY = ("_storage", "_ptr", "_vc")
NOTHING = ("_grad_fn", "_grad", "_base", "_hooks", "_accumulate", "_post_hooks")  # None in a new tensor
ZERO = ("_output_nr", "_view_version")
TENSOR_SLOTS = (*GEOMETRY, *MEMORY, *NOTHING, *ZERO, "_offset", "_requires_grad")
BIN_SLOTS = ("pop", "release", "size")
STORAGE_SLOTS = ("ptr", "nbytes", "_release", "version")

API = (
    "PyFloat_FromDouble", "PyLong_FromLongLong", "PyNumber_Add", "PyObject_CallNoArgs", "PyObject_CallFunctionObjArgs", "PyObject_CallOneArg",
    "PyObject_GetAttrString", "PyObject_Vectorcall", "PyDict_GetItemWithError",
    "PyTuple_New", "PyTuple_SetItem", "PyTuple_Size", "PyType_IsSubtype", "Py_DecRef",
)  # fmt: skip
OBJECTS = {"flambeau_False": False, "flambeau_True": True, "flambeau_int": int, "flambeau_str": str, "flambeau_dtype": dt.dtype, "flambeau_tuple": tuple,
           "flambeau_slice": slice, "flambeau_list": list, "flambeau_float32": dt.float32, "flambeau_float64": dt.float64, "flambeau_int64": dt.int64}  # fmt: skip
PLAIN = ("None", "False", "True")  # objects that stand for themselves in a key


def module(at: dict) -> str:
    """All of it, for objects that keep their slots `at` these offsets."""
    c = Code(at)
    return "\n".join((launch.common(at["type"]), HEAD, take(c), give(c), new_tensor(c), fresh(c), alias(c), plain(c), end(c), size(c), number(c), changed(c), call(c), planned(c)))


HEAD = """
@flambeau_False = external global i8
@flambeau_Tensor = external global i8
@flambeau_second = external global ptr
@flambeau_True = external global i8
@flambeau_tuple = external global i8
@flambeau_Storage = external global i8
@flambeau_allocate = external global i8
@flambeau_dtype = external global i8
@flambeau_str = external global i8
@flambeau_int = external global i8
@flambeau_item = external global i8
@flambeau_tuple_item = external global i8
@flambeau_slice = external global i8
@flambeau_Size = external global i8
@flambeau_plain_of = external global i8
@flambeau_number_of = external global i8
@flambeau_float32 = external global i8
@flambeau_float64 = external global i8
@flambeau_int64 = external global i8
@flambeau_empty = external global i8
@flambeau_zero = external global i8
@flambeau_one = external global i8
@flambeau_pops = external global i8
@flambeau_pushes = external global i8
@flambeau_most = external global i64
@flambeau_counts = external global i64
@flambeau_recent = external global i8
@no_tensor = private constant [27 x i8] c"a call takes Tensors first\\00"
@no_geometry = private constant [33 x i8] c"a geometry is a tuple of 6 items\\00"
@miscounted = private constant [48 x i8] c"a call was given another number of arguments...\\00"
@version = private constant [8 x i8] c"version\\00"

declare ptr @flambeau_new(ptr, ptr, ptr)
declare ptr @flambeau_new_tuple(ptr, ptr, ptr)
declare ptr @PyFloat_FromDouble(double)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyNumber_Add(ptr, ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare ptr @PyObject_CallFunctionObjArgs(ptr, ...)
declare ptr @PyObject_CallOneArg(ptr, ptr)
declare ptr @PyObject_GetAttrString(ptr, ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyDict_GetItemWithError(ptr, ptr)
declare ptr @PyList_New(i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)
declare i32 @PyObject_SetAttrString(ptr, ptr, ptr)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare i64 @PyTuple_Size(ptr)
declare i32 @PyType_IsSubtype(ptr, ptr)
declare void @Py_DecRef(ptr)
"""


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


def take(c: Code) -> str:
    """A Storage of so many bytes; `number` says the same as a Python int."""
    c("entry:", "  %push = alloca ptr", "  %block = alloca ptr")
    most = c.let("load i64, ptr @flambeau_most")
    c(f"  br i1 {c.let(f'icmp sle i64 %n, {most}')}, label %small, label %other", "small:")
    line = c.let(f"lshr i64 {c.let('add i64 %n, 63')}, 6")
    pop, push = (c.let(f"load ptr, ptr {c.let(f'getelementptr ptr, ptr @flambeau_{x}, i64 {line}')}") for x in ("pops", "pushes"))
    block = c.some(c.let(f"call ptr @PyObject_CallNoArgs(ptr {pop})"), "none")
    c(f"  store ptr {push}, ptr %push", f"  store ptr {block}, ptr %block", "  br label %have", "other:")
    c.unless(c.let(f"icmp sge i64 {most}, 0"), "ask")
    bin = c.some(c.let("call ptr @PyDict_GetItemWithError(ptr @flambeau_recent, ptr %number)"), "unknown")
    block = c.some(c.let(f"call ptr @PyObject_CallNoArgs(ptr {c.get(bin, 'pop')})"), "none")
    c(f"  store ptr {c.get(bin, 'release')}, ptr %push", f"  store ptr {block}, ptr %block")
    used = c.let(f"add i64 {c.let('load i64, ptr @flambeau_counts')}, {c.whole(c.get(bin, 'size'))}")
    c(f"  store i64 {used}, ptr @flambeau_counts")
    sample, peak = (c.let(f"getelementptr i64, ptr @flambeau_counts, i64 {i}") for i in (SMALL_SAMPLE, PEAK))
    total, old = c.let(f"add i64 {used}, {c.let(f'load i64, ptr {sample}')}"), c.let(f"load i64, ptr {peak}")
    higher = c.let(f"icmp sgt i64 {total}, {old}")
    c(f"  store i64 {c.let(f'select i1 {higher}, i64 {total}, i64 {old}')}, ptr {peak}", "  br label %have", "have:")
    block, push = c.let("load ptr, ptr %block"), c.let("load ptr, ptr %push")
    storage = c.some(c.let("call ptr @flambeau_new(ptr @flambeau_Storage, ptr @flambeau_empty, ptr null)"), "back")
    c.set(storage, "ptr", block)
    c.share(storage, "_release", push)
    c.share(storage, "nbytes", "%number")
    c.share(storage, "version", "@flambeau_zero")
    c(f"  ret ptr {storage}", "back:")
    returned = c.let(f"call ptr @PyObject_CallOneArg(ptr {push}, ptr {block})")
    c(f"  call void @Py_DecRef(ptr {block})", "  br label %lost", "lost:")
    c.some(returned, "gone")
    c(f"  call void @Py_DecRef(ptr {returned})", "  br label %gone", "gone:", "  ret ptr null")
    c("unknown:", "  br label %none", "none:", "  call void @PyErr_Clear()", "  br label %ask", "ask:")
    c(f"  ret ptr {c.let('call ptr @PyObject_CallOneArg(ptr @flambeau_allocate, ptr %number)')}")
    return c.text("define internal ptr @take(i64 %n, ptr %number)")


def give(c: Code) -> str:
    """The end of a large block: back to its bin, and no longer in use; %self is (push, size)."""
    c("entry:")
    items = c.let(f"getelementptr i8, ptr %self, i64 {c.at['items']}")
    done = c.some(c.let(f"call ptr @PyObject_CallOneArg(ptr {c.item(items, 0)}, ptr %block)"), "null")
    left = c.let(f"sub i64 {c.let('load i64, ptr @flambeau_counts')}, {c.whole(c.item(items, 1))}")
    c(f"  store i64 {left}, ptr @flambeau_counts", f"  ret ptr {done}", "null:", "  ret ptr null")
    return c.text("define ptr @flambeau_give(ptr %self, ptr %block)")


def blank(c: Code, target: str) -> str:
    """A tensor without geometry and memory."""
    t = c.some(c.let("call ptr @flambeau_new(ptr @flambeau_Tensor, ptr @flambeau_empty, ptr null)"), target)
    for slot in NOTHING:
        if slot != "_base":
            c.share(t, slot, "@flambeau_None")
    c.share(t, "_requires_grad", "@flambeau_False")
    c.share(t, "_output_nr", "@flambeau_zero")
    return t


def new_tensor(c: Code) -> str:
    """A tensor of a geometry's items; takes its storage."""
    c("entry:")
    t = blank(c, "lost")
    for i, slot in enumerate(GEOMETRY):
        c.share(t, slot, c.item("%items", i))
    c.share(t, "_ptr", c.get("%storage", "ptr"))
    c.share(t, "_vc", "%storage")
    c.set(t, "_storage", "%storage")
    c.share(t, "_base", "@flambeau_None")
    c.share(t, "_offset", "@flambeau_zero")
    c.share(t, "_view_version", "@flambeau_zero")
    c(f"  ret ptr {t}", "lost:", "  call void @Py_DecRef(ptr %storage)", "  ret ptr null")
    return c.text("define internal ptr @new_tensor(ptr %items, ptr %storage)")


def items_of(c: Code, geometry: str) -> str:
    """Where the items of a geometry are; other things go to `wrong`."""
    size = c.let(f"call i64 @PyTuple_Size(ptr {geometry})")
    c.unless(c.let(f"icmp eq i64 {size}, 6"), "wrong")
    return c.let(f"getelementptr i8, ptr {geometry}, i64 {c.at['items']}")


def fresh(c: Code) -> str:
    """fresh(geometry), or fresh(geometry, take) with memory from take(bytes)."""
    c("entry:", "  %storage = alloca ptr")
    c.unless(c.let("icmp sge i64 %count, 1"), "wrong")
    items = items_of(c, c.item("%objects", 0))
    number = c.item(items, 5)
    c.unless(c.let("icmp eq i64 %count, 1"), "given")
    own = c.some(c.let(f"call ptr @take(i64 {c.whole(number)}, ptr {number})"), "null")
    c(f"  store ptr {own}, ptr %storage", "  br label %make", "given:")
    other = c.some(c.let(f"call ptr @PyObject_CallOneArg(ptr {c.item('%objects', 1)}, ptr {number})"), "null")
    c(f"  store ptr {other}, ptr %storage", "  br label %make", "make:")
    storage = c.let("load ptr, ptr %storage")
    c(f"  ret ptr {c.let(f'call ptr @new_tensor(ptr {items}, ptr {storage})')}")
    c("null:", "  ret ptr null")
    c.fail("wrong", "@no_geometry")
    return c.text("define ptr @flambeau_fresh(ptr %self, ptr %objects, i64 %count)")


def alias(c: Code) -> str:
    """alias(x, geometry): the geometry is (numel, shape, strides, dense, offset from x in elements, and in bytes)."""
    c("entry:")
    c.unless(c.let("icmp eq i64 %count, 2"), "wrong")
    x = c.item("%objects", 0)
    c.tensor(x, "strange")
    items = items_of(c, c.item("%objects", 1))
    old_offset, old_ptr, versions = (c.some(c.get(x, slot), "strange") for slot in ("_offset", "_ptr", "_vc"))
    offset = c.some(c.let(f"call ptr @PyNumber_Add(ptr {old_offset}, ptr {c.item(items, 4)})"), "null")
    ptr = c.some(c.let(f"call ptr @PyNumber_Add(ptr {old_ptr}, ptr {c.item(items, 5)})"), "drop_offset")
    version = c.some(c.let(f"call ptr @PyObject_GetAttrString(ptr {versions}, ptr @version)"), "drop_ptr")
    t = blank(c, "drop_version")
    for i, slot in enumerate(VIEWED):
        c.share(t, slot, c.item(items, i))
    for slot in ("_storage", "_dtype", "_vc"):
        c.share(t, slot, c.get(x, slot))
    for slot, value in (("_offset", offset), ("_ptr", ptr), ("_view_version", version)):
        c.set(t, slot, value)
    base = c.get(x, "_base")
    own = c.let(f"icmp eq ptr {base}, @flambeau_None")
    c.share(t, "_base", c.let(f"select i1 {own}, ptr {x}, ptr {base}"))
    c(f"  ret ptr {t}")
    for label, value in (("drop_version", version), ("drop_ptr", ptr), ("drop_offset", offset)):
        c(f"{label}:", f"  call void @Py_DecRef(ptr {value})", f"  br label %{AFTER[label]}")
    c("null:", "  ret ptr null")
    c.fail("strange", "@no_tensor")
    c.fail("wrong", "@no_geometry")
    return c.text("define ptr @flambeau_alias(ptr %self, ptr %objects, i64 %count)")


AFTER = {"drop_version": "drop_ptr", "drop_ptr": "drop_offset", "drop_offset": "null"}


def plain(c: Code) -> str:
    """The elements of %self as a tensor without history that counts versions with it."""
    c("entry:")
    c.some(c.get("%self", "_ptr"), "other")
    t = blank(c, "null")
    for slot in (*GEOMETRY, *MEMORY, "_offset"):
        c.share(t, slot, c.get("%self", slot))
    c.share(t, "_base", "@flambeau_None")
    c.share(t, "_view_version", "@flambeau_zero")
    c(f"  ret ptr {t}", "null:", "  ret ptr null", "other:")
    c(f"  ret ptr {c.let('call ptr @PyObject_CallOneArg(ptr @flambeau_plain_of, ptr %self)')}")
    return c.text("define ptr @flambeau_plain(ptr %self, ptr %ignored)")


def end(c: Code) -> str:
    """Storage.__del__: self._release(self.ptr)."""
    c("entry:")
    release, ptr = c.some(c.get("%self", "_release"), "none"), c.some(c.get("%self", "ptr"), "none")
    done = c.some(c.let(f"call ptr @PyObject_CallOneArg(ptr {release}, ptr {ptr})"), "null")
    c(f"  call void @Py_DecRef(ptr {done})", "  br label %none")
    c("none:", "  call void @Py_IncRef(ptr @flambeau_None)", "  ret ptr @flambeau_None", "null:", "  ret ptr null")
    return c.text("define ptr @flambeau_end(ptr %self, ptr %ignored)")


CALL = "call ptr (ptr, ...) @PyObject_CallFunctionObjArgs(ptr {}, ptr %self, ptr %index, ptr null)"


def size(c: Code) -> str:
    """Size.__getitem__: an item, a slice as a Size, or what Python says of other indices."""
    c("entry:")
    kind = c.get("%index", "type")
    c(f"  br i1 {c.let(f'icmp eq ptr {kind}, @flambeau_slice')}, label %slice, label %no_slice", "slice:")
    part = c.some(c.let(CALL.format("@flambeau_tuple_item")), "null")
    row = c.let("call ptr @PyTuple_New(i64 1)")
    c(f"  br i1 {c.let(f'icmp ne ptr {row}, null')}, label %filled, label %drop", "filled:")
    c(f"  call i32 @PyTuple_SetItem(ptr {row}, i64 0, ptr {part})")
    made = c.let(f"call ptr @flambeau_new_tuple(ptr @flambeau_Size, ptr {row}, ptr null)")
    c(f"  call void @Py_DecRef(ptr {row})", f"  ret ptr {made}", "drop:", f"  call void @Py_DecRef(ptr {part})", "  br label %null")
    c("null:", "  ret ptr null", "no_slice:")
    c.unless(c.let(f"icmp eq ptr {kind}, @flambeau_int"), "other")
    i = c.whole("%index")
    c(f"  br i1 {c.let(f'icmp eq i64 {i}, -1')}, label %doubt, label %sure", "doubt:", "  %error = call ptr @PyErr_Occurred()")
    c("  call void @PyErr_Clear()", f"  br i1 {c.let('icmp eq ptr %error, null')}, label %sure, label %other", "sure:")
    n = c.let("call i64 @PyTuple_Size(ptr %self)")
    negative, counted = c.let(f"icmp slt i64 {i}, 0"), c.let(f"add i64 {i}, {n}")
    at = c.let(f"select i1 {negative}, i64 {counted}, i64 {i}")
    c.unless(c.let(f"icmp ult i64 {at}, {n}"), "other")
    items = c.let(f"getelementptr i8, ptr %self, i64 {c.at['items']}")
    item = c.let(f"load ptr, ptr {c.let(f'getelementptr ptr, ptr {items}, i64 {at}')}")
    c(f"  call void @Py_IncRef(ptr {item})", f"  ret ptr {item}", "other:")
    c(f"  ret ptr {c.let(CALL.format('@flambeau_item'))}")
    return c.text("define ptr @flambeau_size(ptr %self, ptr %index)")


def number(c: Code) -> str:
    """Tensor.item of what has one element, of the usual dtypes."""
    c("entry:")
    ptr = c.some(c.get("%self", "_ptr"), "other")
    c.unless(c.let(f"icmp eq i64 {c.whole(c.get('%self', '_numel'))}, 1"), "other")
    at, d = c.let(f"call ptr @PyLong_AsVoidPtr(ptr {ptr})"), c.get("%self", "_dtype")
    for name in ("float32", "float64", "int64"):
        c(f"  br i1 {c.let(f'icmp eq ptr {d}, @flambeau_{name}')}, label %{name}, label %no_{name}", f"{name}:")
        if name == "int64":
            value = c.let(f"load i64, ptr {at}")
            c(f"  ret ptr {c.let(f'call ptr @PyLong_FromLongLong(i64 {value})')}")
        else:
            value = c.let(f"load {'float' if name == 'float32' else 'double'}, ptr {at}")
            wide = c.let(f"fpext float {value} to double") if name == "float32" else value
            c(f"  ret ptr {c.let(f'call ptr @PyFloat_FromDouble(double {wide})')}")
        c(f"no_{name}:")
    c("  br label %other", "other:")
    c(f"  ret ptr {c.let('call ptr @PyObject_CallOneArg(ptr @flambeau_number_of, ptr %self)')}")
    return c.text("define ptr @flambeau_number(ptr %self, ptr %ignored)")


def changed(c: Code) -> str:
    """changed(tensors, itemsize): see calls.changed, which it asks where the tensors are not of one dtype, shape and dense."""
    c("entry:", "  %at_check = alloca i64", "  %at_bump = alloca i64", "  %found = alloca ptr", "  store ptr null, ptr %found")
    c.unless(c.let("icmp eq i64 %count, 2"), "wrong")
    tensors = c.item("%objects", 0)
    c.unless(c.let(f"icmp eq ptr {c.get(tensors, 'type')}, @flambeau_tuple"), "wrong")
    n, items = c.let(f"call i64 @PyTuple_Size(ptr {tensors})"), c.let(f"getelementptr i8, ptr {tensors}, i64 {c.at['items']}")
    c.unless(c.let(f"icmp sgt i64 {n}, 0"), "wrong")
    mask = c.let(f"sub i64 {c.whole(c.item('%objects', 1))}, 1")
    first = c.item(items, 0)
    c.tensor(first, "ask")
    found = c.some(c.let(f"call ptr @PyList_New(i64 {n})"), "null")
    c(f"  store ptr {found}, ptr %found")

    def nth(i: str) -> str:
        return c.let(f"load ptr, ptr {c.let(f'getelementptr ptr, ptr {items}, i64 {i}')}")

    def check(i: str) -> None:
        x = nth(i)
        c.tensor(x, "ask")
        c.unless(c.let(f"icmp eq ptr {c.get(x, '_dense')}, @flambeau_True"), "ask")
        c.unless(c.let(f"icmp eq ptr {c.get(x, '_dtype')}, {c.get(first, '_dtype')}"), "ask")
        shapes = [c.some(c.get(t, "_shape"), "ask") for t in (x, first)]
        same = c.let(f"call i32 @PyObject_RichCompareBool(ptr {shapes[0]}, ptr {shapes[1]}, i32 2)")
        c.unless(c.let(f"icmp eq i32 {same}, 1"), "ask")
        for slot in ("_vc", "_storage"):
            c.some(c.get(x, slot), "ask")
        ptr = c.some(c.get(x, "_ptr"), "ask")
        c.unless(c.let(f"icmp eq i64 {c.let(f'and i64 {c.whole(ptr)}, {mask}')}, 0"), "ask")
        c(f"  call void @Py_IncRef(ptr {ptr})", f"  call i32 @PyList_SetItem(ptr {found}, i64 {i}, ptr {ptr})")

    def bump(i: str) -> None:
        c(f"  br i1 {c.let(f'icmp eq i64 {i}, 1')}, label %bumped, label %count_up", "count_up:")
        counter = c.get(nth(i), "_vc")
        old = c.some(c.let(f"call ptr @PyObject_GetAttrString(ptr {counter}, ptr @version)"), "fail")
        more = c.let(f"call ptr @PyNumber_Add(ptr {old}, ptr @flambeau_one)")
        c(f"  call void @Py_DecRef(ptr {old})")
        c.some(more, "fail")
        told = c.let(f"call i32 @PyObject_SetAttrString(ptr {counter}, ptr @version, ptr {more})")
        c(f"  call void @Py_DecRef(ptr {more})")
        c.unless(c.let(f"icmp eq i32 {told}, 0"), "fail")
        c("  br label %bumped", "bumped:")

    loop(c, "check", n, check)
    loop(c, "bump", n, bump)
    c(f"  ret ptr {found}", "ask:", "  call void @PyErr_Clear()")
    c(f"  call void @Py_DecRef(ptr {c.let('load ptr, ptr %found')})", "  call void @Py_IncRef(ptr @flambeau_None)")
    c("  ret ptr @flambeau_None", "fail:", f"  call void @Py_DecRef(ptr {found})", "  br label %null", "null:", "  ret ptr null")
    c.fail("wrong", "@miscounted")
    return c.text("define ptr @flambeau_changed(ptr %self, ptr %objects, i64 %count)")


def loop(c: Code, name: str, count: str, body) -> None:
    """body(index) for 0 <= index < count."""
    c(f"  store i64 0, ptr %at_{name}", f"  br label %{name}", f"{name}:")
    i = c.let(f"load i64, ptr %at_{name}")
    more = c.let(f"icmp slt i64 {i}, {count}")
    c(f"  br i1 {more}, label %{name}_body, label %{name}_end", f"{name}_body:")
    body(i)
    c(f"  store i64 {c.let(f'add i64 {i}, 1')}, ptr %at_{name}", f"  br label %{name}", f"{name}_end:")


def call(c: Code) -> str:
    """The call that a table describes: its words are told in calls.bind. %self is (its address, geometries, ...)."""
    loops = ("operands", "numbers", "outs", "rooms", "launches", "args", "free", "result", "undo")
    c("entry:", f"  %bases = alloca [{MAX_BASES} x i64]", f"  %held = alloca [{MAX_BASES} x ptr]")
    c(f"  %slots = alloca [{launch.MAX_ARGS} x i64], align 16", "  %count_held = alloca i64", "  store i64 0, ptr %count_held")
    c("  %items = alloca [6 x ptr]", "  %all = alloca i64", "  store i64 -1, ptr %all")
    c("  %word_at = alloca ptr", *[f"  %at_{name} = alloca i64" for name in loops], "  store i64 0, ptr %bases")
    own = c.let(f"getelementptr i8, ptr %self, i64 {c.at['items']}")
    table = c.let(f"call ptr @PyLong_AsVoidPtr(ptr {c.item(own, 0)})")
    geometries = c.let(f"getelementptr i8, ptr {c.item(own, 1)}, i64 {c.at['items']}")

    def word(i: int) -> str:
        return at(table, "i64", str(i))

    def place(array: str, kind: str, i: str) -> str:
        return c.let(f"getelementptr {kind}, ptr {array}, i64 {i}")

    def at(array: str, kind: str, i: str) -> str:
        return c.let(f"load {kind}, ptr {place(array, kind, i)}")

    outs, operands, numbers, rooms, launches = (word(i) for i in range(5))
    itemsize = word(5)
    first = c.let(f"add i64 {outs}, 1")
    given = c.let(f"add i64 {operands}, {numbers}")
    c.unless(c.let(f"icmp eq i64 %count, {given}"), "wrong")

    def operand(i: str) -> None:
        x = at("%objects", "ptr", i)
        c.tensor(x, "strange")
        ptr = c.some(c.get(x, "_ptr"), "strange")
        c(f"  store i64 {c.whole(ptr)}, ptr {place('%bases', 'i64', c.let(f'add i64 {first}, {i}'))}")

    def number(i: str) -> None:
        j = c.let(f"add i64 {operands}, {i}")
        x = at("%objects", "ptr", j)
        to = place("%bases", "i64", c.let(f"add i64 {first}, {j}"))
        c.unless(c.let(f"call i1 @convert(ptr {x}, ptr {to})"), "null")

    def hold(thing: str) -> None:
        n = c.let("load i64, ptr %count_held")
        c(f"  store ptr {thing}, ptr {place('%held', 'ptr', n)}", f"  store i64 {c.let(f'add i64 {n}, 1')}, ptr %count_held")

    def output(i: str) -> None:
        items = items_of(c, at(geometries, "ptr", i))
        nbytes = c.item(items, 5)
        storage = c.some(c.let(f"call ptr @take(i64 {c.whole(nbytes)}, ptr {nbytes})"), "failed")
        t = c.some(c.let(f"call ptr @new_tensor(ptr {items}, ptr {storage})"), "failed")
        hold(t)
        c(f"  store i64 {c.whole(c.get(t, '_ptr'))}, ptr {place('%bases', 'i64', c.let(f'add i64 {i}, 1'))}")

    def alike(x: str) -> None:
        """The one output, of operand 0's geometry, which is dense, and a dtype of its own; none if that has no size."""
        n = c.whole(c.some(c.get(x, "_numel"), "strange"))
        c(f"  store i64 {n}, ptr %all", f"  br i1 {c.let(f'icmp slt i64 {itemsize}, 0')}, label %made, label %output", "output:")
        for i, slot in enumerate(GEOMETRY[:4]):
            c(f"  store ptr {c.get(x, slot)}, ptr {place('%items', 'ptr', str(i))}")
        c(f"  store ptr {at(geometries, 'ptr', '0')}, ptr {place('%items', 'ptr', '4')}")
        nbytes = c.let(f"mul i64 {n}, {itemsize}")
        number = c.some(c.let(f"call ptr @PyLong_FromLongLong(i64 {nbytes})"), "failed")
        storage = c.let(f"call ptr @take(i64 {nbytes}, ptr {number})")
        c(f"  call void @Py_DecRef(ptr {number})")
        hold(c.some(c.let(f"call ptr @new_tensor(ptr %items, ptr {c.some(storage, 'failed')})"), "failed"))
        t = at("%held", "ptr", "0")
        c(f"  store i64 {c.whole(c.get(t, '_ptr'))}, ptr {place('%bases', 'i64', '1')}")

    base_of_rooms = c.let(f"add i64 {first}, {given}")

    def room(i: str) -> None:
        n = at(table, "i64", c.let(f"add i64 {i}, {WORDS}"))
        nbytes = c.some(c.let(f"call ptr @PyLong_FromLongLong(i64 {n})"), "failed")
        storage = c.let(f"call ptr @take(i64 {n}, ptr {nbytes})")
        c(f"  call void @Py_DecRef(ptr {nbytes})")
        hold(c.some(storage, "failed"))
        c(f"  store i64 {c.whole(c.get(storage, 'ptr'))}, ptr {place('%bases', 'i64', c.let(f'add i64 {base_of_rooms}, {i}'))}")

    def launched(_: str) -> None:
        words = c.let("load ptr, ptr %word_at")
        body = c.let(f"load ptr, ptr {words}")
        own, grain, count = (at(words, "i64", str(i)) for i in (1, 2, 3))
        every = c.let("load i64, ptr %all")
        extent = c.let(f"select i1 {c.let(f'icmp slt i64 {every}, 0')}, i64 {own}, i64 {every}")
        pairs = place(words, "i64", "4")

        def argument(i: str) -> None:
            pair = place(pairs, "i64", c.let(f"shl i64 {i}, 1"))
            base = at("%bases", "i64", at(pair, "i64", "0"))
            value = at(pair, "i64", "1")
            c(f"  store i64 {c.let(f'add i64 {base}, {value}')}, ptr {place('%slots', 'i64', i)}")

        loop(c, "args", count, argument)
        c(f"  call void @run(ptr {body}, ptr %slots, i64 {extent}, i64 {grain})")
        c(f"  store ptr {place(pairs, 'i64', c.let(f'shl i64 {count}, 1'))}, ptr %word_at")

    def drop(i: str) -> None:
        c(f"  call void @Py_DecRef(ptr {at('%held', 'ptr', i)})")

    loop(c, "operands", operands, operand)
    loop(c, "numbers", numbers, number)
    c(f"  br i1 {c.let(f'icmp ne i64 {itemsize}, 0')}, label %alike, label %apart", "alike:")
    alike(at("%objects", "ptr", "0"))
    c("  br label %made", "apart:")
    loop(c, "outs", outs, output)
    c("  br label %made", "made:")
    loop(c, "rooms", rooms, room)
    c(f"  store ptr {place(table, 'i64', c.let(f'add i64 {rooms}, {WORDS}'))}, ptr %word_at")
    loop(c, "launches", launches, launched)
    loop(c, "free", rooms, lambda i: drop(c.let(f"add i64 {outs}, {i}")))
    one = at("%held", "ptr", "0")
    c(f"  switch i64 {outs}, label %many [ i64 0, label %none i64 1, label %one ]", "one:", f"  ret ptr {one}")
    c("none:", "  call void @Py_IncRef(ptr @flambeau_None)", "  ret ptr @flambeau_None", "many:")
    result = c.some(c.let(f"call ptr @PyTuple_New(i64 {outs})"), "failed")
    loop(c, "result", outs, lambda i: c(
        f"  call i32 @PyTuple_SetItem(ptr {result}, i64 {i}, ptr {at('%held', 'ptr', i)})"))
    c(f"  ret ptr {result}", "failed:")
    loop(c, "undo", c.let("load i64, ptr %count_held"), drop)
    c("  br label %null", "null:", "  ret ptr null")
    c.fail("strange", "@no_tensor")
    c.fail("wrong", "@miscounted")
    return c.text("define ptr @flambeau_call(ptr %self, ptr %objects, i64 %count)")


def planned(c: Code) -> str:
    """An op by what is known of its arguments' geometry; %self is (known calls, slow way, finish(result, *args)).

    The key has for each argument (dtype, shape, strides) of a tensor, else (type, value, None); other values than None,
    bools, numbers but 0.0 and NaN, strings, dtypes and tuples of ints, and other classes than Tensor and a second one, Parameter, go the slow way.
    """
    c("entry:", f"  %tensors = alloca [{MOST} x ptr]", f"  %all = alloca [{MOST + 1} x ptr]")
    c("  %made = alloca ptr", "  %at_args = alloca i64", "  %at_ints = alloca i64", "  %count_tensors = alloca i64", "  %wants = alloca i1")
    c("  store i64 0, ptr %count_tensors", "  store i1 false, ptr %wants")
    own = c.let(f"getelementptr i8, ptr %self, i64 {c.at['items']}")
    c.unless(c.let(f"icmp ule i64 %count, {MOST}"), "slow")
    key = c.some(c.let(f"call ptr @PyTuple_New(i64 {c.let('mul i64 %count, 3')})"), "null")
    words = c.let(f"getelementptr i8, ptr {key}, i64 {c.at['items']}")

    def argument(i: str) -> None:
        x = c.let(f"load ptr, ptr {c.let(f'getelementptr ptr, ptr %objects, i64 {i}')}")
        after = c.let(f"add i64 {i}, 1")
        c(f"  store ptr {x}, ptr {c.let(f'getelementptr ptr, ptr %all, i64 {after}')}")
        to = c.let(f"getelementptr ptr, ptr {words}, i64 {c.let(f'mul i64 {i}, 3')}")
        kind = c.get(x, "type")

        def put(j: int, value: str) -> None:
            c(f"  call void @Py_IncRef(ptr {value})", f"  store ptr {value}, ptr {c.let(f'getelementptr ptr, ptr {to}, i64 {j}')}")

        same = c.let(f"icmp eq ptr {kind}, @flambeau_Tensor")
        also = c.let(f"icmp eq ptr {kind}, {c.let('load ptr, ptr @flambeau_second')}")
        c(f"  br i1 {c.let(f'or i1 {same}, {also}')}, label %tensor, label %value", "tensor:")
        for j, slot in enumerate(("_dtype", "_shape", "_strides")):
            put(j, c.some(c.get(x, slot), "drop"))
        n = c.let("load i64, ptr %count_tensors")
        c(f"  store ptr {x}, ptr {c.let(f'getelementptr ptr, ptr %tensors, i64 {n}')}")
        c(f"  store i64 {c.let(f'add i64 {n}, 1')}, ptr %count_tensors")
        wants = c.let(f"icmp eq ptr {c.get(x, '_requires_grad')}, @flambeau_True")
        before = c.let("load i1, ptr %wants")
        c(f"  store i1 {c.let(f'or i1 {wants}, {before}')}, ptr %wants", "  br label %done_one", "value:")
        for n, thing in enumerate(PLAIN):
            c(f"  br i1 {c.let(f'icmp eq ptr {x}, @flambeau_{thing}')}, label %plain, label %not{n}", f"not{n}:")
        for n, cls in enumerate(("int", "str", "dtype")):
            c(f"  br i1 {c.let(f'icmp eq ptr {kind}, @flambeau_{cls}')}, label %plain, label %no{n}", f"no{n}:")
        c(f"  br i1 {c.let(f'icmp eq ptr {kind}, @flambeau_float')}, label %real, label %several", "real:")
        real = c.let(f"call double @PyFloat_AsDouble(ptr {x})")
        c(f"  br i1 {c.let(f'fcmp one double {real}, 0.0')}, label %plain, label %drop", "several:")
        c.unless(c.let(f"icmp eq ptr {kind}, @flambeau_tuple"), "drop")
        size = c.let(f"call i64 @PyTuple_Size(ptr {x})")
        items = c.let(f"getelementptr i8, ptr {x}, i64 {c.at['items']}")

        def whole(k: str) -> None:
            item = c.let(f"load ptr, ptr {c.let(f'getelementptr ptr, ptr {items}, i64 {k}')}")
            c.unless(c.let(f"icmp eq ptr {c.get(item, 'type')}, @flambeau_int"), "drop")

        loop(c, "ints", size, whole)
        c("  br label %plain", "plain:")
        for j, value in enumerate((kind, x, "@flambeau_None")):
            put(j, value)
        c("  br label %done_one", "done_one:")

    loop(c, "args", "%count", argument)
    found = c.let(f"call ptr @PyDict_GetItemWithError(ptr {c.item(own, 0)}, ptr {key})")
    c(f"  call void @Py_IncRef(ptr {found})", f"  call void @Py_DecRef(ptr {key})")
    c.some(found, "missing")
    kind = c.get(found, "type")
    c(f"  br i1 {c.let(f'icmp eq ptr {kind}, @flambeau_tuple')}, label %view, label %act", "view:")
    both = c.let("getelementptr ptr, ptr %tensors, i64 1")  # a view has one tensor
    c(f"  store ptr {found}, ptr {both}")
    c(f"  store ptr {c.let('call ptr @flambeau_alias(ptr null, ptr %tensors, i64 2)')}, ptr %made", "  br label %have", "act:")
    n = c.let("load i64, ptr %count_tensors")
    c(f"  store ptr {c.let(f'call ptr @PyObject_Vectorcall(ptr {found}, ptr %tensors, i64 {n}, ptr null)')}, ptr %made")
    c("  br label %have", "have:")
    result = c.let("load ptr, ptr %made")
    c(f"  call void @Py_DecRef(ptr {found})", f"  br i1 {c.let('load i1, ptr %wants')}, label %wanted, label %done")
    c("done:", f"  ret ptr {result}", "wanted:")
    c(f"  store ptr {c.some(result, 'null')}, ptr %all")
    total = c.let("add i64 %count, 1")
    finished = c.let(f"call ptr @PyObject_Vectorcall(ptr {c.item(own, 2)}, ptr %all, i64 {total}, ptr null)")
    c(f"  call void @Py_DecRef(ptr {result})", f"  ret ptr {finished}")
    c("missing:")
    error = c.let("call ptr @PyErr_Occurred()")
    c(f"  br i1 {c.let(f'icmp eq ptr {error}, null')}, label %slow, label %null")
    c("drop:", f"  call void @Py_DecRef(ptr {key})", "  br label %slow", "slow:")
    c(f"  ret ptr {c.let(f'call ptr @PyObject_Vectorcall(ptr {c.item(own, 1)}, ptr %objects, i64 %count, ptr null)')}")
    c("null:", "  ret ptr null")
    return c.text("define ptr @flambeau_planned(ptr %self, ptr %objects, i64 %count)")


MOST = 16  # arguments of a planned op
