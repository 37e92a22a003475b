"""What surrounds a kernel as CPython builtins: tensors made, aliases made, storages ended, whole calls repeated.

A small op costs the interpreter more than the processor: its result alone is twenty attributes, stored one by one. The
builtins here (machine code: calls_code.py) do that through CPython's own functions, object.__new__ and list.pop among them.
Each has a form in Python, in tensor.tensor, runtime.memory and `replay`: that is what it does, and what is used before the
first kernel, and for good where the layout of an object cannot be told.

    fresh(geometry)     a tensor in memory of its own      alias(x, geometry)   a view of x
    plain(x)            x without history                  number(x)            x.item()
    Storage.__del__, give                                  a block goes back
    Size.__getitem__    sizes and slices of them           changed(tensors)     addresses for an optimizer's step
    bind(...)           a call: outputs made, scratch taken, kernels launched, outputs returned
    planned(...)        an op of ops.by_geometry: finds the call, makes it, and
    note(result, ...)   notes its history, as autograd.graph.record does
    walk(...)           the backward pass, as autograd.engine.run
"""

from __future__ import annotations

import ctypes
import struct
from array import array
from collections.abc import Callable
from typing import NamedTuple

from flambeau.core.size import Size
from flambeau.runtime import (
    calls_backward,
    calls_code,
    calls_op,
    calls_record,
    calls_tensor,
    jit,
    launch,
    memory,
)
from flambeau.runtime.allocator import SMALL, Bin

__all__ = ["Place", "bind", "install", "number", "operand", "out", "room"]

fresh: Callable = None  # type: ignore[assignment]  # the Python form, set by tensor.tensor
second = ctypes.c_void_p(0)  # a class derived from Tensor that is taken as it is too: Parameter, once there is one
found: dict = launch.pinned({})  # the builtins' definitions and what they point to, once `install` has made them


# calls --------------------------------------------------------------------------------------------
class Place(NamedTuple):
    """An argument that differs from call to call: a number given, or so many bytes into an output, operand or room."""

    kind: str
    index: int
    offset: int = 0

    def __add__(self, count):
        return self._replace(offset=self.offset + count)


def out(i: int = 0) -> Place:
    """The address of an output."""
    return Place("out", i)


def operand(i: int) -> Place:
    """The address of a tensor the call is given."""
    return Place("operand", i)


def number(i: int) -> Place:
    """A number the call is given, after the tensors."""
    return Place("number", i)


def room(i: int = 0) -> Place:
    """The address of scratch memory."""
    return Place("room", i)


def bind(outs: tuple, operands: int, numbers: int, launches: list, rooms: tuple = (), alike: bool = False, keep=None) -> Callable:
    """call(*tensors, *numbers) -> the output, a tuple of several, or None.

    outs: the geometries of the outputs (tensor.geometry); rooms: bytes of scratch memory; launches: (kernel, extent, grain,
    arguments), each argument a number or a Place. The number of arguments is checked, and that the tensors are.
    keep: what must live as long as the call does, such as tables whose addresses are among the numbers.
    alike: the output, if any, is as operand 0, which is dense, but for its dtype: that is in outs; extents are operand 0's size.
    """
    kinds = {"out": 1}
    kinds["operand"] = 1 + len(outs)
    kinds["number"] = kinds["operand"] + operands
    kinds["room"] = kinds["number"] + numbers
    size = 0 if not alike else outs[0].itemsize if outs else -1
    words = [len(outs), operands, numbers, len(rooms), len(launches), size, *rooms]
    native = "call" in found and kinds["room"] + len(rooms) <= calls_op.MAX_BASES
    for kernel, extent, grain, args in launches:
        address = getattr(kernel, "__self__", None)
        if address.__class__ is not int or len(args) > launch.MAX_ARGS:  # a kernel that somebody watches is no builtin
            native = False
            break
        words += address, extent, grain, len(args)
        for a in args:
            c = a.__class__
            if c is int:
                words += 0, a
            elif c is Place:
                kind, index, offset = a
                words += kinds[kind] + index, offset
            else:
                words += 0, bits(a)
    if not native:
        return replay(outs, operands, numbers, launches, rooms, alike, keep)
    table = array("q", words)
    return new_builtin("call", (table.buffer_info()[0], outs, table, launches, keep))


def bits(x) -> int:
    """A number as a kernel takes it: an int, or the bits of a double."""
    return x if isinstance(x, int) else struct.unpack("<q", struct.pack("<d", x))[0]


def replay(outs: tuple, operands: int, numbers: int, launches: list, rooms: tuple, alike: bool, keep=None) -> Callable:
    """`bind` in Python."""

    def call(*args):
        if len(args) != operands + numbers:
            raise TypeError(f"a call of {operands} tensors and {numbers} numbers was given {len(args)} arguments")
        x = args[0] if alike else None
        made = tuple([fresh(g if x is None else like(x, g)) for g in outs])
        held = [memory.allocate(n) for n in rooms]
        bases = {
            "out": [t._ptr for t in made], "operand": [t._ptr for t in args[:operands]], "number": args[operands:],
            "room": [s.ptr for s in held],
        }  # fmt: skip
        for kernel, extent, grain, places in launches:
            values = [moved(bases[a.kind][a.index], a.offset) if a.__class__ is Place else a for a in places]
            kernel(extent if x is None else x._numel, grain, *values)
        return made[0] if len(made) == 1 else made or None

    call.keep = keep  # type: ignore[attr-defined]
    return call


def like(x, dtype) -> tuple:
    """The geometry of x in another dtype."""
    return x._numel, x._shape, x._strides, True, dtype, x._numel * dtype.itemsize


def moved(base, offset: int):
    """An address so many bytes further; numbers have no offset."""
    return base + offset if offset else base


def changed(tensors: tuple, itemsize: int) -> list | None:
    """The addresses of dense, aligned tensors of one dtype and shape, all but the second of which count a change; else None."""
    first = tensors[0]
    for t in tensors:
        if not t._dense or t._dtype is not first._dtype or t._shape != first._shape or t._ptr % itemsize:
            return None
    for t in (first, *tensors[2:]):
        t._vc.version += 1
    return [t._ptr for t in tensors]


# making the builtins ------------------------------------------------------------------------------
def offset_of(holder, value, size: int) -> int | None:
    """Where in the first `size` bytes of an object the reference to `value` lies, if that is one place."""
    word = ctypes.sizeof(ctypes.c_void_p)
    at = [i for i in range(0, size - word + 1, word) if ctypes.c_void_p.from_address(id(holder) + i).value == id(value)]
    return at[0] if len(at) == 1 else None


def slots_of(sample, names) -> dict:
    """{slot: its offset in an object}, found by putting something there; None where it is not."""
    at = {}
    for name in names:
        old, marker = getattr(sample, name, sample), object()
        setattr(sample, name, marker)
        at[name] = offset_of(sample, marker, type(sample).__basicsize__)
        delattr(sample, name)
        if old is not sample:
            setattr(sample, name, old)
    return at


METH_NOARGS, METH_O, METH_FASTCALL = 0x4, 0x8, 0x80
BUILTINS = {
    "fresh": METH_FASTCALL, "alias": METH_FASTCALL, "plain": METH_NOARGS, "end": METH_NOARGS, "give": METH_O, "untrack": METH_O, "size": METH_O,
    "number": METH_NOARGS, "changed": METH_FASTCALL, "call": METH_FASTCALL, "planned": METH_FASTCALL, "note": METH_FASTCALL,
    "walk": METH_FASTCALL,
}  # fmt: skip


def install(tensor: type, node: type, recipe: type, freed: object) -> dict:
    """Make the builtins, for the classes that they know: {name: builtin}; {} where an object's layout cannot be told."""
    global changed
    pairs, allocator = memory.blocks()
    layout = layout_of(tensor, node, recipe)
    if None in layout.values() or not has_lock():
        return {}
    python = {"number": tensor.item, "plain": tensor._alias, "size": Size.__getitem__, "end": memory.Storage.__del__}
    columns = {name: array("q", [id(pair[i]) for pair in pairs]) for i, name in enumerate(("pops", "pushes"))}
    ours = {
        "Tensor": tensor, "Storage": memory.Storage, "Size": Size, "OpNode": node, "FREED": freed, "allocate": memory.serve,
        "item": python["size"], "number_of": python["number"], "plain_of": python["plain"], "recent": allocator.recent,
    }  # fmt: skip
    found.update(ours, layout=layout, columns=columns, pairs=pairs, objects=calls_code.OBJECTS, cells=(memory.most, allocator.counts, second))
    for name, thing in (ours | calls_code.OBJECTS).items():
        jit.register_symbol(f"flambeau_{name}", id(thing))
    cells = {name: column.buffer_info()[0] for name, column in columns.items()} | {
        "most": ctypes.addressof(memory.most), "counts": ctypes.addressof(allocator.counts), "second": ctypes.addressof(second),
        "new": tp_new(object), "new_tuple": tp_new(tuple),
    }  # fmt: skip
    for name, address in cells.items():
        jit.register_symbol(f"flambeau_{name}", address)
    launch.prepare(calls_code.API)
    parts = (calls_tensor, calls_op, calls_record, calls_backward)
    text = "\n".join((launch.common(layout["type"]), calls_code.head(), *[part.module(calls_code.Code(layout)) for part in parts]))
    addresses = jit.load(text, tuple(f"flambeau_{name}" for name in BUILTINS))
    for name, flags in BUILTINS.items():
        like = python.get(name)
        arguments = "($self, index, /)" if name == "size" else "($self, /)"
        doc = f"{like.__name__}{arguments}\n--\n\n{like.__doc__ or ''}".encode() if like is not None else None
        label = name if like is None else like.__name__
        found[name] = launch.MethodDef(label.encode(), addresses[f"flambeau_{name}"], flags, doc)
    allocator.large_release = lambda box: new_builtin("give", (box.push, box.size))  # type: ignore[method-assign]
    for box in list(allocator.bins.values()):
        if box.size > SMALL:
            box.release = allocator.large_release(box)
    Size.__getitem__, memory.Storage.__del__ = new_method("size", Size), new_method("end", memory.Storage)
    changed, memory.untrack = new_builtin("changed"), new_builtin("untrack")
    return {name: new_builtin(name) for name in ("fresh", "alias")} | {
        name: new_method(name, tensor) for name in ("plain", "number")
    }


def layout_of(tensor: type, node: type, recipe: type) -> dict:
    """Where objects keep their slots, tuples their items, and all their types."""
    samples = (
        (object.__new__(tensor), calls_code.TENSOR_SLOTS), (memory.from_external(0, 0, None), calls_code.STORAGE_SLOTS),
        (object.__new__(node), calls_code.NODE_SLOTS), (object.__new__(recipe), calls_code.RECIPE_SLOTS),
        (Bin(SMALL), calls_code.BIN_SLOTS),
    )  # fmt: skip
    layout: dict = {}
    for sample, names in samples:
        layout |= slots_of(sample, names)
    marker = object()
    layout["items"] = offset_of((marker,), marker, tuple.__basicsize__ + tuple.__itemsize__)
    return layout | {"type": launch.type_offset()}


def tp_new(cls: type) -> int:
    """The address of what makes an instance of a built-in class."""
    get_slot = ctypes.pythonapi.PyType_GetSlot
    get_slot.restype, get_slot.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_int)
    return get_slot(cls, PY_TP_NEW)


PY_TP_NEW = 65  # from CPython's typeslots.h, part of its stable interface


def has_lock() -> bool:
    """True where one thread at a time runs Python: the builtins count references as that allows."""
    import sys

    return getattr(sys, "_is_gil_enabled", lambda: True)()


def new_builtin(name: str, self=None):
    """A builtin function; self is what the machine code is given first."""
    return launch.new_builtin(ctypes.addressof(found[name]), self, None)


_new_method = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p)(("PyDescr_NewMethod", ctypes.pythonapi))


def new_method(name: str, cls: type):
    """A method of a class."""
    return _new_method(cls, ctypes.addressof(found[name]))
