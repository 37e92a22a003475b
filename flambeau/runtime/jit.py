"""LLVM IR text to machine code: compile, keep on disk, load.

Not here: what the IR says (codegen), how a kernel is called (launch).
"""

import ctypes
import os
import sys
from collections.abc import Iterable

from flambeau._version import __version__
from flambeau.codegen.target import features
from flambeau.runtime import cache
from flambeau.runtime.locks import ForkSafeLock
from flambeau.support import config

__all__ = ["compile", "load", "recall", "register_symbol", "stats"]

_PARALLEL_FOR = "flambeau_parallel_for"  # registered by threads when first needed
_PIPELINE_VERSION = 1  # part of the cache key: change it with the passes below


class Stats:
    """Counters of this process: kernels compiled, and kernels loaded from the disk cache."""

    __slots__ = ("compiled", "loaded_from_cache")

    def __init__(self):
        self.compiled = 0
        self.loaded_from_cache = 0

    def __repr__(self):
        return f"Stats(compiled={self.compiled}, loaded_from_cache={self.loaded_from_cache})"


stats = Stats()
_symbols: dict[str, int] = {}
_loaded: dict[tuple, dict[str, int]] = {}
_engine = None
_lock = ForkSafeLock()


def compile(ir_text: str, name: str, alias: str | None = None) -> int:
    """Address of function `name`, compiled from `ir_text` or taken from the object cache.

    The IR runs with its own floating-point flags only: no fast-math, no contraction is added.
    `alias` is another name to find it by (`recall`).
    Errors: RuntimeError if LLVM rejects the text, or a symbol it needs does not exist.
    """
    address = load(ir_text, (name,))[name]
    if alias is not None:
        engine = _get_engine()
        cache.write(cache.key(alias, engine.fingerprint), cache.key(ir_text, engine.fingerprint).encode())
    return address


def recall(alias: str, name: str) -> int | None:
    """Address of the function once compiled under this alias, or None if the object cache has it no more."""
    addresses = _loaded.get((alias, name))
    if addresses is None:
        with _lock:
            addresses = _get_engine().recall(alias, name)
        if addresses is None:
            return None
        _loaded[alias, name] = addresses
    return addresses[name]


def load(ir_text: str, names: Iterable[str]) -> dict[str, int]:
    """Addresses of several functions or globals of one module; see `compile`."""
    names = tuple(names)
    addresses = _loaded.get((ir_text, names))
    if addresses is None:
        with _lock:
            addresses = _loaded.get((ir_text, names))
            if addresses is None:
                addresses = _loaded[ir_text, names] = _get_engine().load(ir_text, names)
    return addresses


def register_symbol(name: str, address: int) -> None:
    """Make `address` reachable from kernels as the external symbol `name`."""
    _symbols[name] = address


class _Engine:
    """The process's LLVM: a linker that is kept for ever, and a compiler made when needed.

    Nothing loaded is ever unloaded, and the engine is never disposed of: pool threads may be
    inside its code until the process is gone.
    """

    def __init__(self):
        import llvmlite
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.initialize_native_asmparser()
        self.llvm = llvm
        self.cpu = llvm.get_host_cpu_name()
        self.features = features().flatten()
        target = (self.cpu, self.features, llvm.get_process_triple())
        tools = (llvmlite.__version__, __version__, sys.implementation.cache_tag, _PIPELINE_VERSION)
        self.fingerprint = "\n".join(map(str, target + tools))
        self.linker = llvm.create_lljit_compiler(use_jit_link=os.name != "nt", suppress_errors=True)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.linker))
        self.kept = []
        self.libraries = 0
        self.machine = None

    def load(self, ir_text, names):
        key = cache.key(ir_text, self.fingerprint)
        addresses = self.cached(key, names)
        if addresses is not None:
            return addresses
        image = self.emit(ir_text, names)
        try:
            addresses = self.link(image, names)
        except RuntimeError as error:
            raise RuntimeError(f"jit.compile({', '.join(names)}): cannot link: {error}") from None
        cache.write(key, image)
        stats.compiled += 1
        return addresses

    def recall(self, alias, name):
        """What the object under an alias exports."""
        key = cache.read(cache.key(alias, self.fingerprint))
        return None if key is None else self.cached(key.decode(), (name,))

    def cached(self, key, names):
        """What the object under `key` exports, or None; one that does not link is removed."""
        image = cache.read(key)
        if image is None:
            return None
        try:
            addresses = self.link(image, names)
        except RuntimeError:
            cache.drop(key)
            return None
        stats.loaded_from_cache += 1
        return addresses

    def link(self, image, names):
        builder = self.llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for name in names:
            builder.export_symbol(name)
        if _PARALLEL_FOR not in _symbols and _needs(image, _PARALLEL_FOR, names):
            from flambeau.runtime import threads

            threads.prepare()
        for symbol, address in list(_symbols.items()):
            if _needs(image, symbol, names):
                builder.import_symbol(symbol, address)
        self.libraries += 1  # a name is used up even where linking fails
        tracker = builder.link(self.linker, f"flambeau{self.libraries}")
        tracker.detach()
        self.kept.append(tracker)
        return {name: tracker[name] for name in names}

    def emit(self, ir_text, names):
        """Object code of the module, for this CPU."""
        if config.dump_ir:
            _dump(ir_text, names)
        try:
            module = self.llvm.parse_assembly(ir_text)
            module.verify()
        except RuntimeError as error:
            raise RuntimeError(f"jit.compile({', '.join(names)}): LLVM rejects: {error}") from None
        missing = [name for name in _declared(module) if not self.resolves(name)]
        if missing:
            raise RuntimeError(
                f"jit.compile({', '.join(names)}): the kernel calls {', '.join(missing)}, which "
                "this process does not have; jit.register_symbol makes a function known"
            )
        if self.machine is None:
            self.machine = self.new_machine()
        self.optimise(module, "alwaysinline" in ir_text)
        return self.machine.emit_object(module)

    def resolves(self, name):
        known = name in _symbols or name == _PARALLEL_FOR
        return known or self.llvm.address_of_symbol(name) is not None

    def new_machine(self):
        target = self.llvm.Target.from_default_triple()
        return target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=2, reloc="pic", codemodel="small", jit=True
        )

    def optimise(self, module, inline):
        """Clean up without vectorising or unrolling: kernels state their vectors themselves."""
        llvm = self.llvm
        options = llvm.create_pipeline_tuning_options(speed_level=1)
        options.loop_vectorization = options.slp_vectorization = False
        options.loop_unrolling = options.loop_interleaving = False
        builder = llvm.create_pass_builder(self.machine, options)
        if inline:
            passes = llvm.create_new_module_pass_manager()
            passes.add_always_inliner_pass()
            passes.run(module, builder)
        passes = builder.getFunctionPassManager()
        for function in module.functions:
            if not function.is_declaration:
                passes.run(function, builder)


def _declared(module):
    """Names of the functions that a module calls and does not define."""
    return [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]


def _needs(image, symbol, names):
    """Whether an object may refer to `symbol`: its name is somewhere in there."""
    return symbol.encode() in image and symbol not in names


def _get_engine():
    global _engine
    if _engine is None:
        _engine = _Engine()
    return _engine


def _dump(ir_text, names):
    os.makedirs(config.dump_ir, exist_ok=True)
    digest = cache.key(ir_text, "")[:8]
    path = os.path.join(config.dump_ir, f"{names[0]}-{digest}.ll")
    with open(path, "w", encoding="utf-8") as file:
        file.write(ir_text)
