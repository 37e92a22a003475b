"""Window functions for signals: Hann, Hamming, Blackman, Bartlett, Kaiser."""

from __future__ import annotations

import builtins
import math

from flambeau.core import dtypes as dt
from flambeau.ops.create import arange, check_options, empty, finish, full, ones


# windows ------------------------------------------------------------------------------------------
def cosine_window(name: str, terms, doc: str):
    """A window that is a sum of cosines: sum (-1)^k terms[k] cos(2 pi k n / N)."""

    def window(window_length, periodic=True, *args, dtype=None, layout=None, device=None, requires_grad=False, **options):
        d = dtype or dt.get_default_dtype()
        if not d.is_floating_point:
            raise RuntimeError(f"{name}() expects floating point dtypes, got: {d}")
        if window_length < 0:
            raise RuntimeError(f"{name} requires non-negative window_length, got window_length={window_length}")
        check_options(name, device, layout)
        if window_length == 0:
            return finish(empty(0, dtype=d), requires_grad)
        if window_length == 1:
            return finish(ones(1, dtype=d), requires_grad)
        n = window_length if periodic else window_length - 1
        x = arange(window_length, dtype=d) * (2 * math.pi / n)
        a = terms(*args, **options)
        y = x * 0 + a[0]
        for k, c in enumerate(a[1:], 1):
            y = y + (x * k).cos() * (c if k % 2 == 0 else -c)
        return finish(y, requires_grad)

    window.__name__ = window.__qualname__ = name
    window.__doc__ = f"{doc}\n\n    Source:   torch.{name}\n    "
    return window


hann_window = cosine_window("hann_window", lambda: (0.5, 0.5), "The Hann window: (1 - cos(2 pi n / N)) / 2.")


hamming_window = cosine_window(
    "hamming_window", lambda alpha=0.54, beta=0.46: (alpha, beta), "The Hamming window: alpha - beta cos(2 pi n / N).")


blackman_window = cosine_window(
    "blackman_window", lambda: (0.42, 0.5, 0.08), "The Blackman window: 0.42 - 0.5 cos(2 pi n/N) + 0.08 cos(4 pi n/N).")


def bartlett_window(window_length, periodic=True, *, dtype=None, layout=None, device=None, requires_grad=False):
    """The triangular window 1 - |2n/N - 1|.

    Source:   torch.bartlett_window
    """
    if window_length == 1:
        return ones(1, dtype=dtype)
    n = window_length if periodic else window_length - 1
    x = arange(window_length, dtype=dtype or dt.get_default_dtype()) * (2 / builtins.max(n, 1))
    return finish(1 - (x - 1).abs(), requires_grad)


def kaiser_window(window_length, periodic=True, beta=12.0, *, dtype=None, layout=None, device=None, requires_grad=False):
    """The Kaiser window I0(beta sqrt(1 - (2n/N - 1)^2)) / I0(beta).

    Source:   torch.kaiser_window
    """
    from flambeau.ops.unary import special_i0

    if window_length == 1:
        return ones(1, dtype=dtype)
    n = window_length if periodic else window_length - 1
    d = dtype or dt.get_default_dtype()
    x = arange(window_length, dtype=d) * (2 / builtins.max(n, 1)) - 1
    y = special_i0((1 - x * x).clamp(min=0).sqrt() * beta) / special_i0(full((), beta, dtype=d))
    return finish(y, requires_grad)

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"]
