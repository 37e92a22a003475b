"""A pickle machine that can build data and nothing else.

Every opcode is a method below; those that would look a name up anywhere but in the reader's table, or change an object
that is no plain container, are not there or are refused. Files are not trusted: lengths are checked against the bytes
that are left, no recursion depends on the file, and keys are looked at before Python hashes them.
"""

from __future__ import annotations

import pickle
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import deque
from pickle import UnpicklingError

KEY_PARTS = 1000  # a key is a number, a text, or a tuple of this many parts at most: hashing a tuple is recursive
OPCODES: dict[int, object] = {}


class Stop(Exception):
    """The end of a pickle."""


def opcode(*codes: bytes):
    """Make a method the meaning of opcodes."""

    def register(method):
        OPCODES.update({code[0]: method for code in codes})
        return method

    return register


class Machine:
    """Runs one pickle after another from the same bytes.

    Args:     data: bytes-like; reader: says what names mean (`find`), calls them (`call`, `new`), fills objects
              (`build`) and resolves references (`persistent`); encoding: of Python 2's strings ("bytes": leave them)
    """

    def __init__(self, data, reader, encoding: str = "utf-8"):
        self.data, self.reader, self.position, self.encoding = memoryview(data), reader, 0, encoding

    def load(self):
        """The object of the next pickle.

        Errors:   pickle.UnpicklingError for whatever is wrong with the bytes
        """
        self.stack: list = []
        self.marks: list[list] = []
        self.memo: dict[int, object] = {}
        self.protocol = 0
        try:
            while True:
                code = self.take(1)[0]
                step = OPCODES.get(code)
                if step is None:
                    raise UnpicklingError(f"load: the pickle has opcode {code:#04x}, which data does not need")
                step(self)  # type: ignore[operator]
        except Stop:
            return self.stack.pop()
        except (UnpicklingError, RuntimeError, NotImplementedError, MemoryError):
            raise
        except Exception as e:
            raise UnpicklingError(f"load: the pickle is damaged: {type(e).__name__}: {e}") from e

    # reading --------------------------------------------------------------------------------------
    def take(self, n: int) -> memoryview:
        """The next n bytes."""
        start = self.position
        if n < 0 or start + n > len(self.data):
            raise UnpicklingError("load: the pickle is truncated")
        self.position = start + n
        return self.data[start : start + n]

    def number(self, form: str) -> int:
        """The next number of a struct format."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        """The text up to the end of the line."""
        for end in range(self.position, min(self.position + 1000, len(self.data))):
            if self.data[end] == 10:
                text = bytes(self.data[self.position : end]).decode()
                self.position = end + 1
                return text
        raise UnpicklingError("load: the pickle is truncated")

    def pop(self):
        """The top of the stack."""
        if not self.stack:
            raise UnpicklingError("load: the pickle takes from an empty stack")
        return self.stack.pop()

    def top(self, kinds):
        """What lies on top, which an opcode is about to fill."""
        if not self.stack or not isinstance(self.stack[-1], kinds):
            raise UnpicklingError("load: the pickle fills something that is no such container")
        return self.stack[-1]

    def marked(self) -> list:
        """Everything since the last mark."""
        if not self.marks:
            raise UnpicklingError("load: the pickle has no mark")
        items, self.stack = self.stack, self.marks.pop()
        return items

    # frames, stack, memo --------------------------------------------------------------------------
    @opcode(pickle.PROTO)
    def _protocol(self):
        self.protocol = self.number("<B")
        if self.protocol > pickle.HIGHEST_PROTOCOL:
            raise UnpicklingError(f"load: unsupported pickle protocol {self.protocol}")

    @opcode(pickle.FRAME)
    def _frame(self):
        self.take(8)

    @opcode(pickle.STOP)
    def _stop(self):
        if len(self.stack) != 1 or self.marks:
            raise UnpicklingError("load: the pickle stops with an untidy stack")
        raise Stop

    @opcode(pickle.MARK)
    def _mark(self):
        self.marks.append(self.stack)
        self.stack = []

    @opcode(pickle.POP)
    def _pop(self):
        self.pop()

    @opcode(pickle.POP_MARK)
    def _pop_mark(self):
        self.marked()

    @opcode(pickle.DUP)
    def _dup(self):
        self.stack.append(self.top(object))

    @opcode(pickle.MEMOIZE)
    def _memoize(self):
        self.memo[len(self.memo)] = self.top(object)

    @opcode(pickle.BINPUT)
    def _put1(self):
        self.memo[self.number("<B")] = self.top(object)

    @opcode(pickle.LONG_BINPUT)
    def _put4(self):
        self.memo[self.number("<I")] = self.top(object)

    @opcode(pickle.BINGET)
    def _get1(self):
        self.stack.append(self.memo[self.number("<B")])

    @opcode(pickle.LONG_BINGET)
    def _get4(self):
        self.stack.append(self.memo[self.number("<I")])

    # atoms ----------------------------------------------------------------------------------------
    @opcode(pickle.NONE)
    def _none(self):
        self.stack.append(None)

    @opcode(pickle.NEWTRUE)
    def _true(self):
        self.stack.append(True)

    @opcode(pickle.NEWFALSE)
    def _false(self):
        self.stack.append(False)

    @opcode(pickle.BININT)
    def _int4(self):
        self.stack.append(self.number("<i"))

    @opcode(pickle.BININT1)
    def _int1(self):
        self.stack.append(self.number("<B"))

    @opcode(pickle.BININT2)
    def _int2(self):
        self.stack.append(self.number("<H"))

    @opcode(pickle.LONG1)
    def _long1(self):
        self.stack.append(pickle.decode_long(self.take(self.number("<B"))))

    @opcode(pickle.LONG4)
    def _long4(self):
        self.stack.append(pickle.decode_long(self.take(self.number("<i"))))

    @opcode(pickle.BINFLOAT)
    def _float(self):
        self.stack.append(self.number(">d"))

    @opcode(pickle.SHORT_BINUNICODE)
    def _text1(self):
        self.text("<B")

    @opcode(pickle.BINUNICODE)
    def _text4(self):
        self.text("<I")

    @opcode(pickle.BINUNICODE8)
    def _text8(self):
        self.text("<Q")

    def text(self, form: str) -> None:
        """Push a text that has its length before it."""
        self.stack.append(bytes(self.take(self.number(form))).decode("utf-8", "surrogatepass"))

    @opcode(pickle.SHORT_BINSTRING)
    def _string1(self):
        self.string(self.number("<B"))

    @opcode(pickle.BINSTRING)
    def _string4(self):
        self.string(self.number("<i"))

    def string(self, length: int) -> None:
        """Push a str of Python 2."""
        raw = bytes(self.take(length))
        self.stack.append(raw if self.encoding == "bytes" else raw.decode(self.encoding))

    @opcode(pickle.SHORT_BINBYTES)
    def _bytes1(self):
        self.stack.append(bytes(self.take(self.number("<B"))))

    @opcode(pickle.BINBYTES)
    def _bytes4(self):
        self.stack.append(bytes(self.take(self.number("<I"))))

    @opcode(pickle.BINBYTES8)
    def _bytes8(self):
        self.stack.append(bytes(self.take(self.number("<Q"))))

    @opcode(pickle.BYTEARRAY8)
    def _bytearray8(self):
        self.stack.append(bytearray(self.take(self.number("<Q"))))

    # containers -----------------------------------------------------------------------------------
    @opcode(pickle.EMPTY_TUPLE)
    def _tuple0(self):
        self.stack.append(())

    @opcode(pickle.TUPLE1)
    def _tuple1(self):
        self.stack.append((self.pop(),))

    @opcode(pickle.TUPLE2)
    def _tuple2(self):
        b, a = self.pop(), self.pop()
        self.stack.append((a, b))

    @opcode(pickle.TUPLE3)
    def _tuple3(self):
        c, b, a = self.pop(), self.pop(), self.pop()
        self.stack.append((a, b, c))

    @opcode(pickle.TUPLE)
    def _tuple(self):
        items = self.marked()
        self.stack.append(tuple(items))

    @opcode(pickle.EMPTY_LIST)
    def _list(self):
        self.stack.append([])

    @opcode(pickle.EMPTY_DICT)
    def _dict(self):
        self.stack.append({})

    @opcode(pickle.EMPTY_SET)
    def _set(self):
        self.stack.append(set())

    @opcode(pickle.FROZENSET)
    def _frozenset(self):
        items = self.marked()
        self.stack.append(frozenset(checked_keys(items)))

    @opcode(pickle.APPEND)
    def _append(self):
        item = self.pop()
        self.top((list, deque)).append(item)

    @opcode(pickle.APPENDS)
    def _appends(self):
        items = self.marked()
        self.top((list, deque)).extend(items)

    @opcode(pickle.ADDITEMS)
    def _additems(self):
        items = self.marked()
        self.top(set).update(checked_keys(items))

    @opcode(pickle.SETITEM)
    def _setitem(self):
        value, key = self.pop(), self.pop()
        self.top(dict)[checked_keys([key])[0]] = value

    @opcode(pickle.SETITEMS)
    def _setitems(self):
        items = self.marked()
        if len(items) % 2:
            raise UnpicklingError("load: the pickle has a key without a value")
        into = self.top(dict)
        for key, value in zip(checked_keys(items[::2]), items[1::2], strict=True):
            into[key] = value

    # names and calls: the reader's business -------------------------------------------------------
    @opcode(pickle.GLOBAL)
    def _global(self):
        module, name = self.line(), self.line()
        if self.protocol < 3:  # Python 2's names
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        self.stack.append(self.reader.find(module, name))

    @opcode(pickle.STACK_GLOBAL)
    def _stack_global(self):
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise UnpicklingError("load: a name in the pickle is no text")
        self.stack.append(self.reader.find(module, name))

    @opcode(pickle.REDUCE)
    def _reduce(self):
        args, callee = self.pop(), self.pop()
        if not isinstance(args, tuple):
            raise UnpicklingError("load: the pickle calls something without a tuple of arguments")
        self.stack.append(self.reader.call(callee, args))

    @opcode(pickle.NEWOBJ)
    def _new(self):
        args, cls = self.pop(), self.pop()
        self.stack.append(self.reader.new(cls, args, {}))

    @opcode(pickle.NEWOBJ_EX)
    def _new_with_keywords(self):
        keywords, args, cls = self.pop(), self.pop(), self.pop()
        self.stack.append(self.reader.new(cls, args, keywords))

    @opcode(pickle.BUILD)
    def _build(self):
        state = self.pop()
        self.reader.build(self.top(object), state)

    @opcode(pickle.BINPERSID)
    def _persistent(self):
        self.stack.append(self.reader.persistent(self.pop()))


def checked_keys(keys: list) -> list:
    """The keys, if hashing them is harmless: no tuple in them is deep or has very many parts."""
    for key in keys:
        if isinstance(key, tuple):
            parts, depth, level = 0, 0, [key]
            while level:
                level = [p for t in level for p in t if isinstance(p, tuple)]
                parts, depth = parts + len(level), depth + 1
                if parts > KEY_PARTS or depth > 50:
                    raise UnpicklingError("load: the pickle has a key that is a tuple of too many tuples")
    return keys


def fill_attributes(obj, state, *, slots: bool = False) -> None:
    """pickle's default for BUILD: a dict of attributes, or a pair of it and one for slots; no special names."""
    plain, extra = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    for part in (plain, extra):
        if part is not None and not (isinstance(part, dict) and all(isinstance(k, str) for k in part)):
            raise UnpicklingError(f"load: the state of a {type(obj).__name__} in the file is no dict of attributes")
    obj.__dict__.update(plain or {})
    for name, value in (extra or {}).items():
        if not slots or name.startswith("__"):
            raise UnpicklingError(f"load: the file sets the attribute {name} of a {type(obj).__name__}")
        setattr(obj, name, value)

