"""The machine code of the backward pass: the walk of autograd.engine.run, and run_node for a node without hooks.

walk(arrived, counts, ready, leaves, keep) goes on until no node is ready; %self is

    (heappop, heappush, accumulate, unbroadcast, step, add, hooks)

step(node, gradients, keep) does in Python what is not told here: nodes that are no OpNode or have hooks, saved tensors that
were packed, freed or changed, anomaly mode. Passes that are themselves recorded do not come here.
"""

from __future__ import annotations

from flambeau.runtime.calls_code import Code, loop

POP, PUSH, ACCUMULATE, UNBROADCAST, STEP, ADD, HOOKS = range(7)
MOST = 32  # arguments of a rule; with more, Python calls it
GIVEN = 3  # places of a rule's arguments before the saved ones: the gradient, all of them, flags
FUSED, SPREAD, PLACES = 1, 4, 5  # of a recipe's call


class Keeper:
    """References that one function holds: let go when they are replaced, and all of them at its end."""

    def __init__(self, c: Code, *names: str):
        self.c, self.names = c, names

    def begin(self) -> None:
        for name in self.names:
            self.c(f"  %{name} = alloca ptr", f"  store ptr null, ptr %{name}")

    def get(self, name: str) -> str:
        return self.c.let(f"load ptr, ptr %{name}")

    def set(self, name: str, value: str) -> str:
        """Takes the reference."""
        old = self.get(name)
        self.c(f"  store ptr {value}, ptr %{name}", f"  call void @Py_DecRef(ptr {old})")
        return value

    def end(self, name: str) -> None:
        self.set(name, "null")


def run_node(c: Code) -> str:
    """The gradients of a node's inputs as a new list; None if no gradient arrived; null without an error: ask Python."""
    c("entry:", f"  %args = alloca [{MOST} x ptr]", "  %out = alloca ptr", "  store ptr null, ptr %out")
    c("  %held = alloca ptr", "  store ptr null, ptr %held")
    c(*[f"  %at_{name} = alloca i64" for name in ("none", "versions", "calls", "places")])
    node_class = c.get("%node", "type")
    c.unless(c.let(f"icmp ne i32 {c.let(f'call i32 @PyType_IsSubtype(ptr {node_class}, ptr @flambeau_OpNode)')}, 0"), "ask")

    def of_list(holder: str, i: str) -> str:
        return c.let(f"call ptr @PyList_GetItem(ptr {holder}, i64 {i})")

    def of_tuple(holder: str, i: int | str) -> str:
        items = c.let(f"getelementptr i8, ptr {holder}, i64 {c.at['items']}")
        return c.let(f"load ptr, ptr {c.let(f'getelementptr ptr, ptr {items}, i64 {i}')}")

    got = "%got"
    count = c.let("call i64 @PyList_Size(ptr %got)")

    def arrived(i: str) -> None:
        c(f"  br i1 {c.let(f'icmp eq ptr {of_list(got, i)}, @flambeau_None')}, label %absent, label %some", "absent:")

    loop(c, "none", count, arrived)
    c("  call void @Py_IncRef(ptr @flambeau_None)", "  ret ptr @flambeau_None", "some:")
    recipe, saved, versions = (c.some(c.get("%node", slot), "ask") for slot in ("recipe", "saved", "versions"))
    c.unless(c.let(f"icmp ne ptr {saved}, @flambeau_FREED"), "ask")
    c.unless(c.let(f"icmp ne ptr {versions}, @flambeau_None"), "ask")
    c(f"  call void @Py_IncRef(ptr {saved})", f"  store ptr {saved}, ptr %held")  # another thread may free the node meanwhile
    kept = c.let(f"icmp eq ptr {c.get(versions, 'type')}, @flambeau_list")
    c(f"  br i1 {kept}, label %compare, label %current", "compare:")

    def same(i: str) -> None:
        old = of_list(versions, i)
        c(f"  br i1 {c.let(f'icmp eq ptr {old}, @flambeau_None')}, label %fine, label %versioned", "versioned:")
        now = c.some(c.let(f"call ptr @version_of(ptr {of_list(saved, i)})"), "fail")
        c(f"  call void @Py_DecRef(ptr {now})")
        c.unless(c.let(f"icmp eq ptr {now}, {old}"), "ask")
        c("  br label %fine", "fine:")

    loop(c, "versions", c.let(f"call i64 @PyList_Size(ptr {versions})"), same)
    c("  br label %current", "current:")
    out = c.some(c.let("call ptr @PyList_New(i64 0)"), "fail")
    c(f"  store ptr {out}, ptr %out")
    calls, flags = c.get(recipe, "calls"), c.get(recipe, "flags")

    def one(i: str) -> None:
        rule = of_list(calls, i)
        c(f"  br i1 {c.let(f'icmp eq ptr {rule}, @flambeau_None')}, label %nothing, label %act", "nothing:")
        c(f"  call i32 @PyList_Append(ptr {out}, ptr @flambeau_None)", "  br label %acted", "act:")
        places = of_tuple(rule, PLACES)
        n = c.let(f"call i64 @PyTuple_Size(ptr {places})")
        c.unless(c.let(f"icmp ule i64 {n}, {MOST}"), "fail")

        def argument(j: str) -> None:
            place = c.whole(of_tuple(places, j))
            to = c.let(f"getelementptr ptr, ptr %args, i64 {j}")
            c(f"  switch i64 {place}, label %kept [ i64 0, label %first i64 1, label %every i64 2, label %flag ]")
            for label, value in (("every", "%got"), ("flag", flags)):
                c(f"{label}:", f"  store ptr {value}, ptr {to}", "  br label %filled")
            c("first:")
            c(f"  store ptr {of_list('%got', '0')}, ptr {to}", "  br label %filled", "kept:")
            value = c.some(of_saved(c.let(f"sub i64 {place}, {GIVEN}")), "fail")
            c(f"  store ptr {value}, ptr {to}", "  br label %filled", "filled:")

        def of_saved(j: str) -> str:
            return of_list(saved, j)

        loop(c, "places", n, argument)
        answer = c.some(c.let(f"call ptr @PyObject_Vectorcall(ptr {of_tuple(rule, FUSED)}, ptr %args, i64 {n}, ptr null)"), "fail")
        spread = of_tuple(rule, SPREAD)
        c(f"  br i1 {c.let(f'icmp eq ptr {spread}, @flambeau_None')}, label %single, label %several", "single:")
        added = c.let(f"call i32 @PyList_Append(ptr {out}, ptr {answer})")
        c(f"  call void @Py_DecRef(ptr {answer})")
        c.unless(c.let(f"icmp eq i32 {added}, 0"), "fail")
        c("  br label %acted", "several:")
        parts = c.let(f"call ptr @PyObject_CallOneArg(ptr {spread}, ptr {answer})")
        c(f"  call void @Py_DecRef(ptr {answer})")
        c.some(parts, "fail")
        end = c.let(f"call i64 @PyList_Size(ptr {out})")
        joined = c.let(f"call i32 @PyList_SetSlice(ptr {out}, i64 {end}, i64 {end}, ptr {parts})")
        c(f"  call void @Py_DecRef(ptr {parts})")
        c.unless(c.let(f"icmp eq i32 {joined}, 0"), "fail")
        c("  br label %acted", "acted:")

    loop(c, "calls", c.let(f"call i64 @PyList_Size(ptr {calls})"), one)
    frees = c.let(f"and i1 {kept}, {c.let('icmp ne ptr %keep, @flambeau_True')}")
    c(f"  br i1 {frees}, label %free, label %done", "free:", "  call void @Py_IncRef(ptr @flambeau_FREED)")
    place = c.let(f"getelementptr i8, ptr %node, i64 {c.at['saved']}")
    old = c.let(f"load ptr, ptr {place}")
    c(f"  store ptr @flambeau_FREED, ptr {place}", f"  call void @Py_DecRef(ptr {old})", "  br label %done")
    c("done:", f"  call void @Py_DecRef(ptr {saved})", f"  ret ptr {out}", "fail:")
    c(f"  call void @Py_DecRef(ptr {c.let('load ptr, ptr %out')})", "  br label %ask", "ask:")
    c(f"  call void @Py_DecRef(ptr {c.let('load ptr, ptr %held')})", "  ret ptr null")
    return c.text("define internal ptr @run_node(ptr %node, ptr %got, ptr %keep)")


def walk(c: Code) -> str:
    """See the module's docstring."""
    k = Keeper(c, "node", "item", "got", "out", "g", "spare", "rows")
    c("entry:", "  %args = alloca [4 x ptr]", *[f"  %at_{name} = alloca i64" for name in ("leaves", "edges")], "  %limit = alloca i64")
    k.begin()
    c.unless(c.let("icmp eq i64 %count, 5"), "wrong")
    own = c.let(f"getelementptr i8, ptr %self, i64 {c.at['items']}")
    arrived, counts, ready, leaves, keep = (c.item("%objects", i) for i in range(5))

    def call(function: int, *args: str) -> str:
        """What a function of %self answers, as a new reference; it fails where that fails."""
        for i, a in enumerate(args):
            c(f"  store ptr {a}, ptr {c.let(f'getelementptr ptr, ptr %args, i64 {i}')}")
        f = c.item(own, function)
        return c.some(c.let(f"call ptr @PyObject_Vectorcall(ptr {f}, ptr %args, i64 {len(args)}, ptr null)"), "fail")

    def right(answer: str) -> None:
        """Fail unless a status is 0."""
        c.unless(c.let(f"icmp eq i32 {answer}, 0"), "fail")

    def of_tuple(holder: str, i: int) -> str:
        return c.item(c.let(f"getelementptr i8, ptr {holder}, i64 {c.at['items']}"), i)

    def attribute(holder: str, name: str) -> str:
        """An attribute that lives on elsewhere."""
        value = c.some(c.let(f"call ptr @PyObject_GetAttrString(ptr {holder}, ptr @{name})"), "fail")
        c(f"  call void @Py_DecRef(ptr {value})")
        return value

    def taken(key: str, missing: str) -> str:
        """arrived.pop(key), or to a block."""
        g = c.some(c.let(f"call ptr @PyDict_GetItemWithError(ptr {arrived}, ptr {key})"), missing)
        c(f"  call void @Py_IncRef(ptr {g})")
        k.set("g", g)
        right(c.let(f"call i32 @PyDict_DelItem(ptr {arrived}, ptr {key})"))
        return g

    def listed(name: str) -> str:
        """[g], which then alone refers to it."""
        row = c.some(c.let("call ptr @PyList_New(i64 1)"), "fail")
        c(f"  call i32 @PyList_SetItem(ptr {row}, i64 0, ptr {k.get('g')})", "  store ptr null, ptr %g")
        return k.set(name, row)

    def leaf(i: str) -> None:
        x = c.let(f"call ptr @PyList_GetItem(ptr {leaves}, i64 {i})")
        taken(x, "fail_missing")
        k.set("spare", call(ACCUMULATE, x, listed("item")))
        for name in ("item", "spare"):
            k.end(name)

    def edge(i: str) -> None:
        e = k.set("item", c.some(c.let(f"call ptr @PySequence_GetItem(ptr {edges}, i64 {i})"), "fail"))
        c(f"  br i1 {c.let(f'icmp eq ptr {e}, @flambeau_None')}, label %next, label %some_edge", "some_edge:")
        target, number, shape, d = (of_tuple(e, j) for j in range(4))
        output = c.whole(number)
        c(f"  br i1 {nothing}, label %tally, label %look", "look:")
        g = k.set("g", c.some(c.let(f"call ptr @PySequence_GetItem(ptr {out}, i64 {i})"), "fail"))
        c(f"  br i1 {c.let(f'icmp eq ptr {g}, @flambeau_None')}, label %tally, label %given", "given:")
        c.tensor(g, "other")  # what is none has no dtype either: Python says so
        c.unless(c.let(f"icmp eq ptr {c.get(g, '_dtype')}, {d}"), "other")
        own_shape = c.some(c.get(g, "_shape"), "other")
        c.truth(c.let(f"call i32 @PyObject_RichCompareBool(ptr {own_shape}, ptr {shape}, i32 2)"), "other")
        c("  br label %fits", "other:")
        k.set("g", call(UNBROADCAST, g, shape, d))
        c("  br label %fits", "fits:")
        g = k.get("g")
        c.truth(c.let(f"call i32 @PyDict_Contains(ptr {arrived}, ptr {target})"), "alone")
        c("  br label %together", "alone:")
        c(f"  br i1 {c.let(f'icmp slt i64 {output}, 0')}, label %put, label %of_node", "of_node:")
        c.unless(c.let(f"icmp eq i64 {output}, 0"), "together")
        outputs = c.whole(attribute(target, "outputs"))
        c(f"  br i1 {c.let(f'icmp eq i64 {outputs}, 1')}, label %put, label %together", "put:")
        right(c.let(f"call i32 @PyDict_SetItem(ptr {arrived}, ptr {target}, ptr {g})"))
        c("  br label %tally", "together:")
        k.set("spare", call(ADD, arrived, target, number, g))
        c("  br label %tally", "tally:")
        left = c.some(c.let(f"call ptr @PyDict_GetItemWithError(ptr {counts}, ptr {target})"), "fail_missing")
        n = c.let(f"sub i64 {c.whole(left)}, 1")
        c(f"  br i1 {c.let(f'icmp eq i64 {n}, 0')}, label %complete, label %wait", "wait:")
        fewer = k.set("spare", c.some(c.let(f"call ptr @PyLong_FromLongLong(i64 {n})"), "fail"))
        right(c.let(f"call i32 @PyDict_SetItem(ptr {counts}, ptr {target}, ptr {fewer})"))
        c("  br label %next", "complete:")
        c(f"  br i1 {c.let(f'icmp sge i64 {output}, 0')}, label %node_ready, label %leaf_ready", "node_ready:")
        seq = c.whole(attribute(target, "seq"))
        order = c.some(c.let(f"call ptr @PyLong_FromLongLong(i64 {c.let(f'sub i64 0, {seq}')})"), "fail")
        pair = c.let("call ptr @PyTuple_New(i64 2)")
        c(f"  br i1 {c.let(f'icmp ne ptr {pair}, null')}, label %paired, label %unpaired", "unpaired:")
        c(f"  call void @Py_DecRef(ptr {order})", "  br label %fail", "paired:")
        c(f"  call i32 @PyTuple_SetItem(ptr {pair}, i64 0, ptr {order})", f"  call void @Py_IncRef(ptr {target})")
        c(f"  call i32 @PyTuple_SetItem(ptr {pair}, i64 1, ptr {target})")
        k.set("spare", pair)
        k.set("spare", call(PUSH, ready, pair))
        c("  br label %next", "leaf_ready:")
        c.truth(c.let(f"call i32 @PyDict_Contains(ptr {arrived}, ptr {target})"), "next")
        right(c.let(f"call i32 @PyList_Append(ptr {leaves}, ptr {target})"))
        c("  br label %next", "next:")
        k.end("g")

    c("  br label %again", "again:")
    number_of_leaves = c.let(f"call i64 @PyList_Size(ptr {leaves})")
    loop(c, "leaves", number_of_leaves, leaf)
    right(c.let(f"call i32 @PyList_SetSlice(ptr {leaves}, i64 0, i64 {number_of_leaves}, ptr null)"))
    more = c.let(f"icmp sgt i64 {c.let(f'call i64 @PyList_Size(ptr {ready})')}, 0")
    c(f"  br i1 {more}, label %pop, label %finished", "pop:")
    node = of_tuple(k.set("item", call(POP, ready)), 1)
    c(f"  call void @Py_IncRef(ptr {node})")
    k.set("node", node)
    c("  call void @Py_IncRef(ptr @flambeau_None)")
    k.set("g", "@flambeau_None")
    taken(node, "none_arrived")
    c("  br label %have", "none_arrived:")
    error = c.let("call ptr @PyErr_Occurred()")
    c.unless(c.let(f"icmp eq ptr {error}, null"), "fail")
    c("  br label %have", "have:")
    plain = c.let(f"icmp eq i64 {c.whole(attribute(node, 'outputs'))}, 1")
    has_list = c.let(f"icmp eq ptr {c.get(k.get('g'), 'type')}, @flambeau_list")
    c(f"  br i1 {plain}, label %row, label %many", "many:", f"  br i1 {has_list}, label %as_list, label %row", "as_list:")
    k.set("got", k.get("g"))
    c("  store ptr null, ptr %g", "  br label %ready_to_run", "row:")
    listed("got")
    c("  br label %ready_to_run", "ready_to_run:")
    for i, name in enumerate(("hooks", "post_hooks")):
        c.truth(c.let(f"call i32 @PyObject_IsTrue(ptr {attribute(node, name)})"), f"unhooked{i}")
        c("  br label %slowly", f"unhooked{i}:")
    c.unless(c.let(f"icmp ne ptr {attribute(c.item(own, HOOKS), 'watched')}, @flambeau_True"), "slowly")
    quick = k.set("out", c.let(f"call ptr @run_node(ptr {node}, ptr {k.get('got')}, ptr {keep})"))
    c(f"  br i1 {c.let(f'icmp ne ptr {quick}, null')}, label %ran, label %not_run", "not_run:")
    error = c.let("call ptr @PyErr_Occurred()")
    c.unless(c.let(f"icmp eq ptr {error}, null"), "fail")
    c("  br label %slowly", "slowly:")
    k.set("out", call(STEP, node, k.get("got"), keep))
    c("  br label %ran", "ran:")
    k.end("got")
    out = k.get("out")
    nothing = c.let(f"icmp eq ptr {out}, @flambeau_None")
    edges = k.set("rows", c.some(c.let(f"call ptr @PyObject_GetAttrString(ptr {node}, ptr @edges)"), "fail"))
    count_edges = c.let(f"call i64 @PySequence_Size(ptr {edges})")
    c(f"  store i64 {count_edges}, ptr %limit", f"  br i1 {nothing}, label %walk_edges, label %measure", "measure:")
    count_out = c.let(f"call i64 @PySequence_Size(ptr {out})")
    c.unless(c.let(f"icmp sge i64 {count_out}, 0"), "fail")
    c(f"  store i64 {count_out}, ptr %limit", "  br label %walk_edges", "walk_edges:")
    known = c.let("load i64, ptr %limit")
    fewer = c.let(f"icmp slt i64 {known}, {count_edges}")
    loop(c, "edges", c.let(f"select i1 {fewer}, i64 {known}, i64 {count_edges}"), edge)
    for name in ("out", "node", "item", "spare", "rows"):
        k.end(name)
    c("  br label %again", "finished:", "  call void @Py_IncRef(ptr @flambeau_None)", "  ret ptr @flambeau_None")
    c("fail_missing:")
    lost = c.let("call ptr @PyErr_Occurred()")
    c(f"  br i1 {c.let(f'icmp eq ptr {lost}, null')}, label %lost, label %fail", "lost:")
    c("  call void @PyErr_SetString(ptr @flambeau_TypeError, ptr @miscounted)", "  br label %fail", "fail:")
    for name in k.names:
        k.end(name)
    c("  ret ptr null")
    c.fail("wrong", "@miscounted")
    return c.text("define ptr @flambeau_walk(ptr %self, ptr %objects, i64 %count)")


def module(c: Code) -> str:
    """All of it."""
    return "\n".join((run_node(c), walk(c)))
