"""Named results, such as torch.return_types.max: tuples whose fields have names.

They print as PyTorch's do, and pickle by name.
"""

from __future__ import annotations

from operator import itemgetter


class NamedResult(tuple):
    """A tuple with named fields; built from one sequence of all values."""

    __slots__ = ()
    fields: tuple[str, ...] = ()

    def __new__(cls, values):
        values = tuple(values)
        if len(values) != len(cls.fields):
            raise TypeError(f"torch.return_types.{cls.__name__}() takes a {len(cls.fields)}-sequence ({len(values)}-sequence given)")
        return tuple.__new__(cls, values)

    def __repr__(self) -> str:
        inside = ",\n".join(f"{n}={v!r}" for n, v in zip(self.fields, self, strict=True))
        return f"torch.return_types.{type(self).__name__}(\n{inside})"

    def __reduce__(self):
        return type(self), (tuple(self),)

    @property
    def n_fields(self) -> int:
        """How many values there are."""
        return len(self.fields)


PAIR = ("values", "indices")
FIELDS = {
    "max": PAIR, "min": PAIR, "median": PAIR, "nanmedian": PAIR, "mode": PAIR, "kthvalue": PAIR, "sort": PAIR,
    "topk": PAIR, "cummax": PAIR, "cummin": PAIR, "aminmax": ("min", "max"), "frexp": ("mantissa", "exponent"),
    "qr": ("Q", "R"), "svd": ("U", "S", "V"), "slogdet": ("sign", "logabsdet"), "triangular_solve": ("solution", "cloned_coefficient"),
    "geqrf": ("a", "tau"), "histogram": ("hist", "bin_edges"), "histogramdd": ("hist", "bin_edges"),
    "lu_unpack": ("P", "L", "U"), "linalg_qr": ("Q", "R"), "linalg_svd": ("U", "S", "Vh"),
    "linalg_slogdet": ("sign", "logabsdet"), "linalg_eigh": ("eigenvalues", "eigenvectors"),
    "linalg_eig": ("eigenvalues", "eigenvectors"), "linalg_lstsq": ("solution", "residuals", "rank", "singular_values"),
    "linalg_inv_ex": ("inverse", "info"), "linalg_cholesky_ex": ("L", "info"), "linalg_lu": ("P", "L", "U"),
    "linalg_lu_factor": ("LU", "pivots"), "linalg_lu_factor_ex": ("LU", "pivots", "info"),
    "linalg_solve_ex": ("result", "info"), "linalg_ldl_factor": ("LD", "pivots"),
}  # fmt: skip


def _make(name: str, fields: tuple[str, ...]) -> type:
    body: dict = {"__slots__": (), "fields": fields, "__module__": __name__, "__qualname__": name}
    body["__doc__"] = f"({', '.join(fields)}), as {name.replace('linalg_', 'linalg.')} returns them."
    for i, field in enumerate(fields):
        body[field] = property(itemgetter(i), doc=f"Field {i}.")
    return type(name, (NamedResult,), body)


for _name, _fields in FIELDS.items():
    globals()[_name] = _make(_name, _fields)


def __getattr__(name: str):
    raise AttributeError(f"flambeau.return_types has no result type {name!r}")
