"""The machine code that records an op's call: autograd.graph.record and saving.Recipe.save for what is most common.

note(result, *values): a node for op(values) -> result, if this thread records and one of the values asks for it. %self is

    (state, hooks, numbers, slow, diff_index, known, defaults)

`known` has by which inputs ask for gradients the recipe, its class of nodes, the positions of arguments, results and
(position, slot) of facts that it saves, and whether what it saves counts as tensors. Whatever else there may be, lists of
tensors, subclasses, other dtypes, hooks of saved tensors, goes to slow(result, *values), before anything has been changed.
"""

from __future__ import annotations

from flambeau.runtime.calls_code import MOST, Code, loop

STATE, HOOKS, NUMBERS, SLOW, DIFF, KNOWN, DEFAULTS = range(7)


def version(c: Code) -> str:
    """The version of the memory of a tensor, as a new reference."""
    c("entry:")
    counter = c.some(c.get("%x", "_vc"), "none")
    own = c.let(f"icmp eq ptr {counter}, {c.get('%x', '_storage')}")
    c(f"  br i1 {own}, label %mine, label %apart", "mine:")
    number = c.some(c.get(counter, "version"), "none")
    c(f"  call void @Py_IncRef(ptr {number})", f"  ret ptr {number}", "apart:")
    c(f"  ret ptr {c.let(f'call ptr @PyObject_GetAttrString(ptr {counter}, ptr @version)')}", "none:", "  ret ptr null")
    return c.text("define internal ptr @version_of(ptr %x)")


def kind(c: Code) -> str:
    """0: neither Tensor nor the second class, 1: one of float32 or float64, 2: of int64, 3: of something else."""
    c("entry:")
    cls = c.get("%x", "type")
    for n, known in enumerate(("@flambeau_Tensor", c.let("load ptr, ptr @flambeau_second"))):
        c(f"  br i1 {c.let(f'icmp eq ptr {cls}, {known}')}, label %tensor, label %not{n}", f"not{n}:")
    c("  ret i64 0", "tensor:")
    d = c.get("%x", "_dtype")
    for n, (name, answer) in enumerate((("float32", 1), ("float64", 1), ("int64", 2))):
        c(f"  br i1 {c.let(f'icmp eq ptr {d}, @flambeau_{name}')}, label %is{n}, label %no{n}", f"is{n}:", f"  ret i64 {answer}", f"no{n}:")
    c("  ret i64 3")
    return c.text("define internal i64 @kind_of(ptr %x)")


def attach(c: Code) -> str:
    """node becomes the history of a tensor, which is its output i."""
    c("entry:")
    number = c.some(c.let("call ptr @PyLong_FromLongLong(i64 %i)"), "bad")
    for slot, value in (("_grad_fn", "%node"), ("_requires_grad", "@flambeau_True"), ("_output_nr", number)):
        place = c.let(f"getelementptr i8, ptr %t, i64 {c.at[slot]}")
        old = c.let(f"load ptr, ptr {place}")
        if value != number:
            c(f"  call void @Py_IncRef(ptr {value})")
        c(f"  store ptr {value}, ptr {place}", f"  call void @Py_DecRef(ptr {old})")
    c("  ret i1 true", "bad:", "  ret i1 false")
    return c.text("define internal i1 @attach(ptr %t, ptr %node, i64 %i)")


def note(c: Code) -> str:
    """See the module's docstring."""
    at = c.at["items"]
    c("entry:", f"  %values = alloca [{MOST} x ptr]", "  %node_at = alloca ptr", "  %any = alloca i1", "  %holds = alloca i1")
    c(*[f"  %at_{name} = alloca i64" for name in ("fill", "edges", "args", "results", "facts", "outs", "check", "items")])
    c("  store i1 false, ptr %any")

    def items(holder: str) -> str:
        return c.let(f"getelementptr i8, ptr {holder}, i64 {at}")

    def nth(pointers: str, i: str) -> str:
        return c.let(f"load ptr, ptr {c.let(f'getelementptr ptr, ptr {pointers}, i64 {i}')}")

    def size(holder: str) -> str:
        return c.let(f"call i64 @PyTuple_Size(ptr {holder})")

    def drop(value: str) -> None:
        c(f"  call void @Py_DecRef(ptr {value})")

    def put(array: str, i: str, value: str) -> None:
        c(f"  store ptr {value}, ptr {c.let(f'getelementptr ptr, ptr {array}, i64 {i}')}")

    own = items("%self")
    result = c.item("%objects", 0)
    recording = c.some(c.let(f"call ptr @PyObject_GetAttrString(ptr {c.item(own, STATE)}, ptr @grad)"), "null")
    drop(recording)
    c(f"  br i1 {c.let(f'icmp eq ptr {recording}, @flambeau_True')}, label %on, label %as_it_is", "on:")
    watched = c.some(c.let(f"call ptr @PyObject_GetAttrString(ptr {c.item(own, HOOKS)}, ptr @watched)"), "null")
    drop(watched)
    c.unless(c.let(f"icmp ne ptr {watched}, @flambeau_True"), "slow")
    defaults = c.item(own, DEFAULTS)
    total, given = size(defaults), c.let("sub i64 %count, 1")
    c.unless(c.let(f"icmp ule i64 {total}, {MOST}"), "slow")
    c.unless(c.let(f"icmp ule i64 {given}, {total}"), "slow")
    rest = items(defaults)

    def fill(i: str) -> None:
        late = c.let(f"icmp sge i64 {i}, {given}")
        source = c.let(f"select i1 {late}, ptr {rest}, ptr {c.let('getelementptr ptr, ptr %objects, i64 1')}")
        put("%values", i, nth(source, i))

    loop(c, "fill", total, fill)
    diff = c.item(own, DIFF)
    count, places = size(diff), items(diff)
    edges = c.some(c.let(f"call ptr @PyTuple_New(i64 {count})"), "null")
    needs = c.some(c.let(f"call ptr @PyTuple_New(i64 {count})"), "drop_edges")
    edge_items, need_items = items(edges), items(needs)

    def edge(i: str) -> None:
        v = nth("%values", c.whole(nth(places, i)))
        which = c.let(f"call i64 @kind_of(ptr {v})")
        c(f"  switch i64 {which}, label %tensor [ i64 0, label %other ]", "tensor:")
        wants = c.let(f"icmp eq ptr {c.get(v, '_requires_grad')}, @flambeau_True")
        c(f"  br i1 {wants}, label %wanted, label %no_edge", "wanted:")
        base = c.let(f"icmp eq ptr {c.get(v, '_base')}, @flambeau_None")
        c(f"  br i1 {base}, label %sure, label %viewed", "viewed:")
        now = c.some(c.let(f"call ptr @version_of(ptr {v})"), "failed_edges")
        drop(now)  # small numbers are one object each; others are looked at in Python
        c.unless(c.let(f"icmp eq ptr {now}, {c.get(v, '_view_version')}"), "odd_edges")
        c("  br label %sure", "sure:")
        one = c.some(c.let("call ptr @PyTuple_New(i64 4)"), "failed_edges")  # may collect garbage: before what is borrowed
        fn = c.get(v, "_grad_fn")
        leaf = c.let(f"icmp eq ptr {fn}, @flambeau_None")
        target = c.let(f"select i1 {leaf}, ptr {v}, ptr {fn}")
        number = c.let(f"select i1 {leaf}, ptr @flambeau_leaf, ptr {c.get(v, '_output_nr')}")
        inner = items(one)
        for j, value in enumerate((target, number, c.get(v, "_shape"), c.get(v, "_dtype"))):
            c(f"  call void @Py_IncRef(ptr {value})")
            put(inner, str(j), value)
        put(edge_items, i, one)
        c("  call void @Py_IncRef(ptr @flambeau_True)")
        put(need_items, i, "@flambeau_True")
        c("  store i1 true, ptr %any", "  br label %next_edge", "other:")
        cls = c.get(v, "type")  # None and numbers need no gradient; what may hold tensors is for Python
        for n, name in enumerate(("list", "tuple")):
            c(f"  br i1 {c.let(f'icmp eq ptr {cls}, @flambeau_{name}')}, label %odd_edges, label %none{n}", f"none{n}:")
        c.unless(c.let(f"icmp eq i32 {c.let(f'call i32 @PyType_IsSubtype(ptr {cls}, ptr @flambeau_Tensor)')}, 0"), "odd_edges")
        c("  br label %no_edge", "no_edge:")
        for thing, array in (("None", edge_items), ("False", need_items)):
            c(f"  call void @Py_IncRef(ptr @flambeau_{thing})")
            put(array, i, f"@flambeau_{thing}")
        c("  br label %next_edge", "next_edge:")

    loop(c, "edges", count, edge)
    c(f"  br i1 {c.let('load i1, ptr %any')}, label %look, label %unneeded", "look:")
    found = c.let(f"call ptr @PyDict_GetItemWithError(ptr {c.item(own, KNOWN)}, ptr {needs})")
    c.some(found, "unknown")
    about = items(found)
    recipe, cls, args, results, facts, frees = (c.item(about, i) for i in range(6))

    several = c.let(f"icmp eq ptr {c.get(result, 'type')}, @flambeau_tuple")  # can all results be told?
    c(f"  br i1 {several}, label %many_first, label %one_first", "one_first:")
    c.unless(c.let(f"icmp eq i64 {c.let(f'call i64 @kind_of(ptr {result})')}, 1"), "odd_edges")
    c("  br label %go_on", "many_first:")

    def check(i: str) -> None:
        which = c.let(f"call i64 @kind_of(ptr {nth(items(result), i)})")
        low, high = c.let(f"icmp eq i64 {which}, 1"), c.let(f"icmp eq i64 {which}, 2")
        c.unless(c.let(f"or i1 {low}, {high}"), "odd_edges")

    loop(c, "check", size(result), check)
    c("  br label %go_on", "go_on:")
    count_args, count_results, count_facts = size(args), size(results), size(facts)
    tensors = c.let(f"add i64 {count_args}, {count_results}")
    saved = c.some(c.let(f"call ptr @PyList_New(i64 {c.let(f'add i64 {tensors}, {count_facts}')})"), "failed_edges")
    versions = c.some(c.let(f"call ptr @PyList_New(i64 {tensors})"), "drop_saved")
    c(f"  store i1 {c.let(f'icmp eq ptr {frees}, @flambeau_True')}, ptr %holds")

    def keep(i: str, value: str, number: str) -> None:
        """One saved value and its version; takes both references."""
        c(f"  call i32 @PyList_SetItem(ptr {saved}, i64 {i}, ptr {value})")
        c(f"  call i32 @PyList_SetItem(ptr {versions}, i64 {i}, ptr {number})")

    def arg(i: str) -> None:
        v = nth("%values", c.whole(nth(items(args), i)))
        c(f"  switch i64 {c.let(f'call i64 @kind_of(ptr {v})')}, label %keep_tensor [ i64 0, label %keep_other ]", "keep_tensor:")
        c("  store i1 true, ptr %holds")
        number = c.some(c.let(f"call ptr @version_of(ptr {v})"), "failed_saved")
        c(f"  call void @Py_IncRef(ptr {v})")
        keep(i, v, number)
        c("  br label %kept", "keep_other:")
        kind = c.get(v, "type")
        c(f"  br i1 {c.let(f'icmp eq ptr {kind}, @flambeau_list')}, label %odd_saved, label %no_list", "no_list:")
        c.unless(c.let(f"icmp eq i32 {c.let(f'call i32 @PyType_IsSubtype(ptr {kind}, ptr @flambeau_Tensor)')}, 0"), "odd_saved")
        c(f"  br i1 {c.let(f'icmp eq ptr {kind}, @flambeau_tuple')}, label %row, label %plain_value", "row:")

        def whole(k: str) -> None:
            c.unless(c.let(f"icmp eq ptr {c.get(nth(items(v), k), 'type')}, @flambeau_int"), "odd_saved")

        loop(c, "items", size(v), whole)
        c("  br label %plain_value", "plain_value:", f"  call void @Py_IncRef(ptr {v})", "  call void @Py_IncRef(ptr @flambeau_None)")
        keep(i, v, "@flambeau_None")
        c("  br label %kept", "kept:")

    def output(i: str) -> None:
        n = c.whole(nth(items(results), i))
        c(f"  br i1 {several}, label %of_many, label %of_one", "of_many:")
        part = c.let(f"call ptr @PyTuple_GetItem(ptr {result}, i64 {n})")
        c(f"  store ptr {part}, ptr %node_at", "  br label %of_any", "of_one:", f"  store ptr {result}, ptr %node_at", "  br label %of_any")
        c("of_any:")
        t = c.some(c.let("load ptr, ptr %node_at"), "failed_saved")
        alone = c.some(c.let(f"call ptr @flambeau_plain(ptr {t}, ptr null)"), "failed_saved")
        number = c.let(f"call ptr @version_of(ptr {alone})")
        c(f"  br i1 {c.let(f'icmp ne ptr {number}, null')}, label %counted, label %uncounted", "uncounted:")
        drop(alone)
        c("  br label %failed_saved", "counted:")
        keep(c.let(f"add i64 {count_args}, {i}"), alone, number)

    def fact(i: str) -> None:
        pair = items(nth(items(facts), i))
        v = nth("%values", c.whole(c.item(pair, 0)))
        c.unless(c.let(f"icmp ne i64 {c.let(f'call i64 @kind_of(ptr {v})')}, 0"), "odd_saved")
        place = c.let(f"getelementptr i8, ptr {v}, i64 {c.whole(c.item(pair, 1))}")
        value = c.let(f"load ptr, ptr {place}")
        c(f"  call void @Py_IncRef(ptr {value})")
        c(f"  call i32 @PyList_SetItem(ptr {saved}, i64 {c.let(f'add i64 {tensors}, {i}')}, ptr {value})")

    loop(c, "args", count_args, arg)
    loop(c, "results", count_results, output)
    loop(c, "facts", count_facts, fact)
    seq = c.some(c.let(f"call ptr @PyIter_Next(ptr {c.item(own, NUMBERS)})"), "failed_saved")
    node = c.let(f"call ptr @flambeau_new(ptr {cls}, ptr @flambeau_empty, ptr null)")
    c(f"  br i1 {c.let(f'icmp ne ptr {node}, null')}, label %made, label %unmade", "unmade:")
    drop(seq)
    c("  br label %failed_saved", "made:")
    c.set(node, "_edges", edges)
    c.set(node, "_seq", seq)
    c.share(node, "recipe", recipe)
    c.set(node, "saved", saved)
    holds = c.let("load i1, ptr %holds")
    numbers = c.let(f"select i1 {holds}, ptr {versions}, ptr @flambeau_empty")
    c.share(node, "versions", numbers)
    drop(versions)
    drop(needs)
    c(f"  br i1 {several}, label %many, label %one", "one:")
    c.unless(c.let(f"call i1 @attach(ptr {result}, ptr {node}, i64 0)"), "failed_node")
    c("  br label %done", "many:")
    n = size(result)
    length = c.some(c.let(f"call ptr @PyLong_FromLongLong(i64 {n})"), "failed_node")
    told = c.let(f"call i32 @PyObject_SetAttrString(ptr {node}, ptr @outputs, ptr {length})")
    drop(length)
    c.unless(c.let(f"icmp eq i32 {told}, 0"), "failed_node")

    def result_of(i: str) -> None:
        t = nth(items(result), i)
        which = c.let(f"call i64 @kind_of(ptr {t})")
        c(f"  br i1 {c.let(f'icmp eq i64 {which}, 1')}, label %floats, label %attached", "floats:")
        c.unless(c.let(f"call i1 @attach(ptr {t}, ptr {node}, i64 {i})"), "failed_node")
        c("  br label %attached", "attached:")

    loop(c, "outs", n, result_of)
    c("  br label %done", "done:")
    drop(node)
    c("  br label %as_it_is", "as_it_is:", f"  call void @Py_IncRef(ptr {result})", f"  ret ptr {result}")
    c("unneeded:")
    drop(edges)
    drop(needs)
    c("  br label %as_it_is", "unknown:")
    error = c.let("call ptr @PyErr_Occurred()")
    c(f"  br i1 {c.let(f'icmp eq ptr {error}, null')}, label %odd_edges, label %failed_edges")
    c("odd_saved:")
    drop(saved)
    drop(versions)
    c("  br label %odd_edges", "odd_edges:")
    drop(edges)
    drop(needs)
    c("  br label %slow", "slow:")
    c(f"  ret ptr {c.let(f'call ptr @PyObject_Vectorcall(ptr {c.item(own, SLOW)}, ptr %objects, i64 %count, ptr null)')}")
    c("failed_saved:")
    drop(versions)
    c("  br label %drop_saved", "drop_saved:")
    drop(saved)
    c("  br label %failed_edges", "failed_edges:")
    drop(needs)
    c("  br label %drop_edges", "drop_edges:")
    drop(edges)
    c("  br label %null", "failed_node:")
    drop(node)
    c("  br label %null", "null:", "  ret ptr null")
    return c.text("define ptr @flambeau_note(ptr %self, ptr %objects, i64 %count)")


def module(c: Code) -> str:
    """All of it."""
    return "\n".join((version(c), kind(c), attach(c), note(c)))
