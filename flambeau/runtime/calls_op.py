"""The machine code of whole ops: the call that a table describes, and the op that finds it by its arguments' geometry."""

from __future__ import annotations

from flambeau.runtime import launch
from flambeau.runtime.calls_code import GEOMETRY, MOST, Code, items_of, loop
from flambeau.runtime.calls_tensor import blank, put

WORDS = 6  # of a table before the sizes of rooms
MAX_BASES = 64  # outputs, operands, numbers and rooms of a call, and one
PLAIN = ("None", "False", "True")  # objects that stand for themselves in a key


def call(c: Code) -> str:
    """The call that a table describes: its words are told in calls.bind. %self is (its address, geometries, ...)."""
    loops = ("operands", "numbers", "outs", "rooms", "launches", "args", "free", "result", "undo")
    c("entry:", f"  %bases = alloca [{MAX_BASES} x i64]", f"  %held = alloca [{MAX_BASES} x ptr]")
    c(f"  %slots = alloca [{launch.MAX_ARGS} x i64], align 16", "  %count_held = alloca i64", "  store i64 0, ptr %count_held")
    c("  %all = alloca i64", "  store i64 -1, ptr %all")
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
        c.unless(c.let(f"call i1 @convert(ptr {x}, ptr {to})"), "failed")

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
        t = at("%held", "ptr", "0")
        for slot in GEOMETRY[:4]:
            c.share(t, slot, c.get(x, slot))
        c.share(t, "_dtype", at(geometries, "ptr", "0"))
        nbytes = c.let(f"mul i64 {n}, {itemsize}")
        number = c.some(c.let(f"call ptr @PyLong_FromLongLong(i64 {nbytes})"), "failed")
        storage = c.let(f"call ptr @take(i64 {nbytes}, ptr {number})")
        c(f"  call void @Py_DecRef(ptr {number})")
        put(c, t, c.some(storage, "failed"))
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

    c(f"  br i1 {c.let(f'icmp sgt i64 {itemsize}, 0')}, label %begin, label %begun", "begin:")
    hold(blank(c, "null"))  # may collect garbage, which may change the operands: before they are looked at
    c("  br label %begun", "begun:")
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
    c("strange:", "  call void @PyErr_SetString(ptr @flambeau_TypeError, ptr @no_tensor)", "  br label %failed")
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


def module(c: Code) -> str:
    """All of it."""
    return "\n".join((call(c), planned(c)))
