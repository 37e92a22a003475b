"""flambeau: PyTorch's programming model in pure Python. `import flambeau as torch`."""

import importlib as _importlib

from flambeau._version import __version__
from flambeau.core import dtypes as _dtypes
from flambeau.core.device import (
    channels_last, channels_last_3d, contiguous_format, device, get_default_device, jagged, layout, memory_format,
    preserve_format, set_default_device, sparse_bsc, sparse_bsr, sparse_coo, sparse_csc, sparse_csr, strided,
)  # fmt: skip
from flambeau.core.dtypes import (
    bfloat16, bool, can_cast, cdouble, cfloat, complex64, complex128, double, dtype, float, float16, float32, float64,
    get_default_dtype, half, int, int8, int16, int32, int64, long, promote_types, set_default_dtype, short, uint8,
    uint16, uint32, uint64,
)  # fmt: skip
from flambeau.core.limits import finfo, iinfo
from flambeau.core.size import Size
from flambeau.runtime import kernels as _kernels  # installs the compiler
from flambeau import ops  # isort: skip
from flambeau.tensor import bind as _bind  # isort: skip
from flambeau.tensor import interop as _interop  # isort: skip
from flambeau.tensor.printing import set_printoptions  # isort: skip
from flambeau.tensor.tensor import Tensor  # isort: skip

from flambeau.tensor import indexing as _indexing  # noqa: F401  isort: skip - square brackets

_bind.attach_all(ops.MODULES)

from flambeau.tensor.storages import TypedStorage, UntypedStorage, typed as _typed  # noqa: E402
from flambeau.support.errors import OutOfMemoryError  # noqa: E402

from flambeau.autograd.modes import (  # noqa: E402
    enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled,
)  # fmt: skip
from flambeau._functions import (  # noqa: E402
    SymBool, SymFloat, SymInt, _assert, _check, _check_is_size, _shape_as_tensor, get_deterministic_debug_mode, get_device_module,
    is_deterministic_algorithms_warn_only_enabled, is_warn_always_enabled, set_deterministic_debug_mode, sym_float, sym_int, sym_ite,
    sym_max, sym_min, sym_not, are_deterministic_algorithms_enabled, get_float32_matmul_precision, get_num_interop_threads,
    is_anomaly_enabled, set_anomaly_enabled, set_default_tensor_type, set_float32_matmul_precision, set_flush_denormal,
    set_num_interop_threads, set_warn_always, use_deterministic_algorithms,
)  # fmt: skip
from flambeau.ops.gamma_random import sample_dirichlet as _sample_dirichlet, standard_gamma as _standard_gamma  # noqa: E402
from flambeau.runtime.threads import get_num_threads, set_num_threads  # noqa: E402
from flambeau.tensor.interop import (  # noqa: E402
    as_tensor, asarray, from_dlpack, from_numpy, frombuffer, tensor,
)  # fmt: skip

for _name, _dtype in {
    "FloatTensor": float32, "DoubleTensor": float64, "HalfTensor": float16, "BFloat16Tensor": bfloat16,
    "LongTensor": int64, "IntTensor": int32, "ShortTensor": int16, "CharTensor": int8, "ByteTensor": uint8,
    "BoolTensor": bool,
}.items():  # fmt: skip
    globals()[_name] = _interop.legacy_type(_name, _dtype)
    globals()[_name.replace("Tensor", "Storage")] = _typed(_dtype)


def _expose() -> None:
    """Op records as torch.<name>."""
    from flambeau.ops.record import TABLE

    for op in TABLE.values():
        if op.option("function", True):
            for name in (op.name, *op.option("aliases", ())):
                globals().setdefault(name, op.call)


_expose()
ops.record.hooks.sparse = lambda: _importlib.import_module("flambeau.sparse.create")  # loaded with the first sparse tensor
globals().update(ops.foreach.FUNCTIONS)
spmm = ops.mm  # the old name for a sparse factor
globals().update(_importlib.import_module("flambeau.ops.matrix_functions").OLD_NAMES)

# Submodules load when first named, so that `import flambeau` stays light.
_LAZY = (
    "nn", "optim", "autograd", "utils", "linalg", "fft", "special", "distributions", "random", "serialization",
    "distributed", "amp", "cuda", "backends", "jit", "version", "func", "multiprocessing", "hub", "onnx", "vision",
    "testing", "return_types", "overrides", "types", "sparse", "profiler", "accelerator", "compiler", "mps", "xpu", "cpu", "_dynamo", "_utils",
)  # fmt: skip
_FROM = {"sparse_coo_tensor": "sparse", "save": "serialization", "load": "serialization", "autocast": "amp", "compile": "compiler", "is_autocast_enabled": "amp", "GradScaler": "amp", "vmap": "func"}
_FROM |= dict.fromkeys(("lu", "lu_solve", "lu_unpack", "orgqr", "ormqr", "pca_lowrank", "svd_lowrank"), "ops.factored")
_FROM |= dict.fromkeys(("gradient", "histogramdd"), "ops.numerical")
_FROM |= dict.fromkeys((
    "as_strided_copy detach_copy diagonal_copy eig expand_copy fill frobenius_norm get_device lstsq matrix_rank norm_except_dim "
    "nuclear_norm permute_copy select_copy solve split_copy split_with_sizes_copy squeeze_copy symeig t_copy transpose_copy "
    "unbind_copy unfold_copy unsqueeze_copy view_as_complex_copy view_as_real_copy view_copy"
).split(), "ops.older")
_FROM |= dict.fromkeys((
    "clear_autocast_cache get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype is_autocast_cache_enabled "
    "is_autocast_cpu_enabled set_autocast_cache_enabled"
).split(), "amp")
# Functions of nn.functional that PyTorch keeps in its own namespace as well.
_FUNCTIONAL = (
    "cosine_embedding_loss", "cosine_similarity", "hinge_embedding_loss", "margin_ranking_loss", "pairwise_distance",
    "poisson_nll_loss", "triplet_margin_loss", "threshold_", "celu_", "selu_", "rrelu_",
)  # fmt: skip


# Methods that are functions as well.
_METHODS = frozenset((
    "abs_ acos_ acosh_ addmv_ gcd_ i0_ lcm_ ldexp_ negative_ conj_physical_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_ asin_ asinh_ atan_ "
    "atanh_ ceil_ clamp_ clamp_max_ clamp_min_ clip_ cos_ cosh_ deg2rad_ detach detach_ erf_ erfc_ exp2_ exp_ "
    "expm1_ fill_ fix_ floor_ frac_ index_put index_put_ log10_ log1p_ log2_ log_ logit_ nan_to_num_ neg_ "
    "rad2deg_ reciprocal_ relu_ resize_as_ round_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_ square_ tan_ tanh_ "
    "trunc_ xlogy_ zero_ "
).split())


def __getattr__(name: str):
    if name in _LAZY:
        return _importlib.import_module(f"flambeau.{name}")
    if name in _FROM:
        return getattr(_importlib.import_module(f"flambeau.{_FROM[name]}"), name)
    if name in _FUNCTIONAL:
        return getattr(_importlib.import_module("flambeau.nn.functional"), name)
    if not name.startswith("_") and hasattr(ops, name):
        found = globals()[name] = getattr(ops, name)
        return found
    if name in _METHODS:
        return getattr(Tensor, name)
    raise AttributeError(f"module 'flambeau' has no attribute {name!r}: it is not implemented (yet)")
