"""Reductions by number: what older extension code asks for."""

from flambeau.ops.composite_losses import _chosen, legacy_reduction

__all__ = ["get_enum", "legacy_get_enum", "legacy_get_string"]

_NUMBERS = {"none": 0, "mean": 1, "sum": 2}


def get_enum(reduction):
    """0 for none, 1 for mean, 2 for sum. Errors: ValueError for anything else."""
    return _NUMBERS[_chosen(None, None, reduction)]


def legacy_get_string(size_average, reduce, emit_warning=True):
    """The name of the reduction that the older arguments mean."""
    return legacy_reduction(size_average, reduce, emit_warning)


def legacy_get_enum(size_average, reduce, emit_warning=True):
    """The number of the reduction that the older arguments mean."""
    return get_enum(legacy_reduction(size_average, reduce, emit_warning))
