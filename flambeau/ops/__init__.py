"""Every op, by family. `ops.name` is the public function; `record.TABLE` holds the records.

A family module is imported here once; what it defines with @op (and its public helpers listed in __all__)
becomes an attribute of this package.
"""

import importlib as _importlib

from flambeau.ops import record as _record

FAMILIES = (
    "rounding", "arithmetic", "extremes", "binary_maths", "unary", "compare", "copying", "create", "view",
    "slicing", "splitting", "complex_views", "reduce", "scan", "join", "arrange", "scatter", "index", "masks", "sort", "statistics",
    "softmax", "activation", "loss", "classification", "embedding", "norm", "pool", "matmul", "conv", "contract", "resize",
    "attention", "ctc", "recurrent", "predicates", "random_fill", "random", "random_counts", "gamma_random", "incomplete_gamma", "fourier", "windows",
    "linear_algebra",
    "decompositions", "matrix_functions", "custom", "foreach", "methods",
)  # fmt: skip

MODULES = [_importlib.import_module(f"flambeau.ops.{_family}") for _family in FAMILIES]
for _module in MODULES:
    for _name in getattr(_module, "__all__", ()):
        globals()[_name] = getattr(_module, _name)
for _op in list(_record.TABLE.values()):
    for _name in (_op.name, *_op.option("aliases", ())):
        globals()[_name] = _op.call  # an op `norm` hides the module of that name here


def __getattr__(name: str):
    raise AttributeError(
        f"flambeau.ops has no op {name!r}: it is not implemented yet (families: {', '.join(FAMILIES)})"
    )
