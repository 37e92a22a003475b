"""The machine code around tensors: memory taken and given back, tensors and views made, their sizes and numbers read."""

from __future__ import annotations

from flambeau.runtime.allocator import PEAK, SMALL_SAMPLE
from flambeau.runtime.calls_code import GEOMETRY, MEMORY, NOTHING, Code, items_of, loop

VIEWED = GEOMETRY[:4]  # of a view; the offset in elements and in bytes follow


def take(c: Code) -> str:
    """A Storage of so many bytes; `number` says the same as a Python int."""
    c("entry:", "  %push = alloca ptr", "  %block = alloca ptr")
    most = c.let("load i64, ptr @flambeau_most")
    c.unless(c.let("icmp sge i64 %n, 0"), "none")  # more than 64 bits tell: an error is set
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
    c(f"  call void @PyObject_GC_UnTrack(ptr {storage})", f"  ret ptr {storage}", "back:")
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


def untrack(c: Code) -> str:
    """memory.untrack, quicker."""
    c("entry:", "  call void @PyObject_GC_UnTrack(ptr %storage)", "  call void @Py_IncRef(ptr @flambeau_None)", "  ret ptr @flambeau_None")
    return c.text("define ptr @flambeau_untrack(ptr %self, ptr %storage)")


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
    put(c, t, "%storage")
    c(f"  ret ptr {t}", "lost:", "  call void @Py_DecRef(ptr %storage)", "  ret ptr null")
    return c.text("define internal ptr @new_tensor(ptr %items, ptr %storage)")


def put(c: Code, t: str, storage: str) -> None:
    """Put a tensor into memory of its own, which takes the storage."""
    c.share(t, "_ptr", c.get(storage, "ptr"))
    c.share(t, "_vc", storage)
    c.set(t, "_storage", storage)
    c.share(t, "_base", "@flambeau_None")
    c.share(t, "_offset", "@flambeau_zero")
    c.share(t, "_view_version", "@flambeau_zero")


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
    t = blank(c, "null")  # may collect garbage, which may change x: before that is looked at
    old_offset, old_ptr, versions = (c.some(c.get(x, slot), "hollow") for slot in ("_offset", "_ptr", "_vc"))
    offset = c.some(c.let(f"call ptr @PyNumber_Add(ptr {old_offset}, ptr {c.item(items, 4)})"), "drop")
    ptr = c.some(c.let(f"call ptr @PyNumber_Add(ptr {old_ptr}, ptr {c.item(items, 5)})"), "drop_offset")
    version = c.some(c.let(f"call ptr @PyObject_GetAttrString(ptr {versions}, ptr @version)"), "drop_ptr")
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
    for label, value, after in (("drop_ptr", ptr, "drop_offset"), ("drop_offset", offset, "drop"), ("drop", t, "null")):
        c(f"{label}:", f"  call void @Py_DecRef(ptr {value})", f"  br label %{after}")
    c("null:", "  ret ptr null", "hollow:", f"  call void @Py_DecRef(ptr {t})", "  br label %strange")
    c.fail("strange", "@no_tensor")
    c.fail("wrong", "@no_geometry")
    return c.text("define ptr @flambeau_alias(ptr %self, ptr %objects, i64 %count)")


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
    c.unless(c.let(f"icmp eq ptr {c.get('%self', '_numel')}, @flambeau_one"), "other")
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


def module(c: Code) -> str:
    """All of it."""
    return "\n".join(f(c) for f in (take, give, untrack, new_tensor, fresh, alias, plain, end, size, number, changed))
