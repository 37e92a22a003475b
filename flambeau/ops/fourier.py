"""Discrete Fourier transforms on NumPy's, computed in the input's precision; their derivatives are transforms too."""

from __future__ import annotations

import math

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops.create import arange, check_options, finish
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op

N = {"function": False, "method": False}
NORMS = (None, "forward", "backward", "ortho")


def as_complex(x):
    """x in the complex dtype its transform has."""
    d = x._dtype
    if d in (dt.float16, dt.bfloat16):
        raise RuntimeError(f"Unsupported dtype {d}: fft takes float32, float64 and their complex counterparts")
    if d.is_complex:
        return x
    return x.to((d if d.is_floating_point else dt.get_default_dtype()).to_complex())


def check_norm(norm) -> None:
    if norm not in NORMS:
        raise RuntimeError(f"Invalid normalization mode: {norm!r}")


def scale_of(norm, n: int, inverse: bool) -> float:
    """What the plain sums are multiplied by."""
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if (norm == "forward") != inverse and (inverse or norm == "forward") else 1.0


def resized(x, n, dims):
    """x cut or padded with zeros to n along dims."""
    from flambeau.ops.join import constant_pad_nd

    for size, d in zip(n, dims, strict=True):
        if size is None or size == -1:
            continue
        if size < 1:
            raise RuntimeError(f"Invalid number of data points ({size}) specified")
        have = x._shape[d]
        if size < have:
            x = x.narrow(d, 0, size)
        elif size > have:
            pad = [0, 0] * (len(x._shape) - 1 - d) + [0, size - have]
            x = constant_pad_nd(x, pad)
    return x


@op(KERNEL, **N, node="FftC2CBackward0")
def transform(input, dims, inverse):
    """Plain (unscaled) sums of complex exponentials over dims."""
    a = hooks.view_array(input)
    y = np.fft.ifftn(a, axes=dims, norm="forward") if inverse else np.fft.fftn(a, axes=dims)
    return hooks.from_array(np.asarray(y, input._dtype.np))


transform.derivative(input=lambda g, dims, inverse: transform(g, dims, not inverse))


def check_dims(name: str, x, dim) -> tuple:
    if not x._shape:
        raise RuntimeError(f"{name}: Dimension specified as -1 but tensor has no dimensions")
    dims = S.wrap_dims(dim, len(x._shape), name)
    if any(x._shape[d] < 1 for d in dims):
        raise RuntimeError(f"Invalid number of data points ({0}) specified")
    return dims


def run(name: str, input, s, dim, norm, inverse: bool):
    """A complex transform over dims."""
    check_norm(norm)
    dims = check_dims(name, input, dim)
    x = resized(as_complex(input), s, dims)
    n = math.prod(x._shape[d] for d in dims)
    y = transform(x, dims, inverse)
    factor = scale_of(norm, n, inverse)
    return y if factor == 1 else y * factor


def half(x, dim: int):
    """The non-redundant half of a spectrum of real data."""
    return x.narrow(dim, 0, x._shape[dim] // 2 + 1)


def whole(x, dim: int, n: int, dims: tuple):
    """The Hermitian spectrum of n elements that a half describes."""
    from flambeau.ops.arrange import flip
    from flambeau.ops.join import cat

    x = resized(x, [n // 2 + 1], [dim])
    rest = n - x._shape[dim]
    if rest <= 0:
        return x.narrow(dim, 0, n)
    tail = x.narrow(dim, 1, rest).conj()
    for d in dims:  # index k of the other dims becomes -k
        if d != dim and x._shape[d] > 1:
            tail = flip(tail, (d,)).roll(1, d)
    return cat([x, flip(tail, (dim,))], dim)


def real_forward(name: str, input, s, dim, norm):
    """rfft over dims: halved along the last."""
    if input._dtype.is_complex:
        raise RuntimeError(f"{name} expects a real input tensor, but got {input._dtype}")
    y = run(name, input, s, dim, norm, False)
    return half(y, S.wrap_dims(dim, len(input._shape), name)[-1])


def real_inverse(name: str, input, s, dim, norm):
    """irfft over dims: from a half along the last."""
    check_norm(norm)
    dims = check_dims(name, input, dim)
    last = dims[-1]
    x = as_complex(input)
    n = s[-1] if s[-1] not in (None, -1) else 2 * (x._shape[last] - 1)
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    x = resized(x, list(s[:-1]), dims[:-1])
    y = run(name, whole(x, last, n, dims), [None] * len(dims), dims, norm, True)
    return y.real


def one(name: str, fn, inverse: bool, doc: str):
    """A transform along one dim."""

    def body(input, n=None, dim=-1, norm=None):
        return fn(name, input, [n], (dim,), norm, inverse) if inverse is not None else fn(name, input, [n], (dim,), norm)

    body.__name__ = body.__qualname__ = f"fft_{name}"
    body.__doc__ = f"{doc}\n\n    Args:     norm: backward (default), ortho or forward\n    Source:   torch.fft.{name}\n    "
    return op(COMPOSITE, **N)(body)


def several(name: str, fn, inverse, default, doc: str):
    """A transform over several dims."""

    def body(input, s=None, dim=default, norm=None):
        s = None if s is None else tuple(s)
        if dim is None:
            dim = tuple(range(len(input._shape)))[-len(s) :] if s is not None else tuple(range(len(input._shape)))
        dim = (dim,) if isinstance(dim, int) else tuple(dim)
        s = (None,) * len(dim) if s is None else s
        if len(s) != len(dim):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
        return fn(name, input, s, dim, norm, inverse) if inverse is not None else fn(name, input, s, dim, norm)

    body.__name__ = body.__qualname__ = f"fft_{name}"
    body.__doc__ = f"{doc}\n\n    Source:   torch.fft.{name}\n    "
    return op(COMPOSITE, **N)(body)


def hermitian(name: str, input, s, dim, norm, inverse: bool):
    """hfft: the real transform of a half spectrum; ihfft: its inverse."""
    swapped = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}
    check_norm(norm)
    if inverse:
        return real_forward(name, input, s, dim, swapped[norm]).conj()
    return real_inverse(name, as_complex(input).conj(), s, dim, swapped[norm])


fft_fft = one("fft", run, False, "y_k = sum_j x_j exp(-2 pi i j k / n).")
fft_ifft = one("ifft", run, True, "The inverse of fft.")
fft_rfft = one("rfft", real_forward, None, "fft of real input: the first n // 2 + 1 values.")
fft_irfft = one("irfft", real_inverse, None, "The inverse of rfft: real, of length n (2 (m - 1) by default).")
fft_hfft = one("hfft", hermitian, False, "fft of a Hermitian signal given by its first half: real.")
fft_ihfft = one("ihfft", hermitian, True, "The inverse of hfft.")
fft_fft2 = several("fft2", run, False, (-2, -1), "fft over two dims.")
fft_ifft2 = several("ifft2", run, True, (-2, -1), "The inverse of fft2.")
fft_rfft2 = several("rfft2", real_forward, None, (-2, -1), "rfft over two dims.")
fft_irfft2 = several("irfft2", real_inverse, None, (-2, -1), "The inverse of rfft2.")
fft_hfft2 = several("hfft2", hermitian, False, (-2, -1), "hfft over two dims.")
fft_ihfft2 = several("ihfft2", hermitian, True, (-2, -1), "The inverse of hfft2.")
fft_fftn = several("fftn", run, False, None, "fft over all or given dims.")
fft_ifftn = several("ifftn", run, True, None, "The inverse of fftn.")
fft_rfftn = several("rfftn", real_forward, None, None, "rfft over all or given dims.")
fft_irfftn = several("irfftn", real_inverse, None, None, "The inverse of rfftn.")
fft_hfftn = several("hfftn", hermitian, False, None, "hfft over all or given dims.")
fft_ihfftn = several("ihfftn", hermitian, True, None, "The inverse of hfftn.")


def fft_fftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """The frequencies of fft's values: 0, 1, ..., -1 over n d.

    Source:   torch.fft.fftfreq
    """
    check_options("fftfreq", device, layout)
    k = np.fft.fftfreq(n, 1.0 / n)  # whole numbers
    y = hooks.from_array(k).to(dtype or dt.get_default_dtype()) * (1.0 / (n * d))
    return finish(y, requires_grad)


def fft_rfftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """The frequencies of rfft's values.

    Source:   torch.fft.rfftfreq
    """
    check_options("rfftfreq", device, layout)
    return finish(arange(n // 2 + 1, dtype=dtype or dt.get_default_dtype()) * (1.0 / (n * d)), requires_grad)


def shifted(input, dim, sign: int):
    dims = tuple(range(len(input._shape))) if dim is None else S.wrap_dims(dim, len(input._shape), "fftshift")
    sizes = [input._shape[d] for d in dims]
    return input.roll(tuple(n // 2 if sign > 0 else (n + 1) // 2 for n in sizes), dims)


def fft_fftshift(input, dim=None):
    """Frequency 0 moved to the middle.

    Source:   torch.fft.fftshift
    """
    return shifted(input, dim, 1)


def fft_ifftshift(input, dim=None):
    """The inverse of fftshift.

    Source:   torch.fft.ifftshift
    """
    return shifted(input, dim, -1)


# short-time transforms ----------------------------------------------------------------------------
@op(COMPOSITE)
def stft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect", normalized=False,
         onesided=None, return_complex=None, align_to_window=None):  # fmt: skip
    """Transforms of windows of n_fft samples, hop_length apart: (..., samples) -> (..., frequencies, frames).

    Source:   torch.stft
    """
    if return_complex is None and not input._dtype.is_complex:
        raise RuntimeError("stft requires the return_complex parameter be given for real inputs, and will further require that return_complex=True in a future PyTorch release.")
    hop, width = hop_length or n_fft // 4, win_length or n_fft
    single = len(input._shape) == 1
    x = input.unsqueeze(0) if single else input
    if center:
        from flambeau.ops.resize import pad

        x = pad(x.unsqueeze(1), (n_fft // 2, n_fft // 2), pad_mode).squeeze(1)
    if not 0 < n_fft <= x._shape[-1]:
        raise RuntimeError(f"stft({list(input._shape)}): expected 0 < n_fft <= {x._shape[-1]}, but got n_fft={n_fft}")
    frames = x.unfold(-1, n_fft, hop)
    if window is not None:
        if window._numel != width:
            raise RuntimeError(f"expected a 1D window tensor of size equal to win_length={width}, but got window with size {list(window._shape)}")
        left = (n_fft - width) // 2
        from flambeau.ops.join import constant_pad_nd

        frames = frames * constant_pad_nd(window, (left, n_fft - width - left))
    real = not frames._dtype.is_complex
    onesided = real if onesided is None else onesided
    y = (fft_rfft if onesided else fft_fft)(frames, norm="ortho" if normalized else None).transpose(1, 2)
    y = y.squeeze(0) if single else y
    return y if return_complex or return_complex is None else y.view_as_real()


@op(COMPOSITE)
def istft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=None,
          length=None, return_complex=False):  # fmt: skip
    """The inverse of stft, by weighted overlap and add.

    Source:   Griffin and Lim, 1984; torch.istft
    """
    from flambeau.ops.create import ones
    from flambeau.ops.join import constant_pad_nd
    from flambeau.ops.resize import col2im

    hop, width = hop_length or n_fft // 4, win_length or n_fft
    single = len(input._shape) == 2
    x = input.unsqueeze(0) if single else input
    onesided = x._shape[1] != n_fft if onesided is None else onesided
    norm = "ortho" if normalized else None
    frames = x.transpose(1, 2)
    frames = fft_irfft(frames, n_fft, norm=norm) if onesided else fft_ifft(frames, norm=norm)
    frames = frames if return_complex or not frames._dtype.is_complex else frames.real
    w = ones(width, dtype=x._dtype.to_real()) if window is None else window
    left = (n_fft - width) // 2
    w = constant_pad_nd(w, (left, n_fft - width - left))
    count = frames._shape[1]
    total = n_fft + hop * (count - 1)
    added = col2im((frames * w).transpose(1, 2), (1, total), (1, n_fft), stride=(1, hop)).reshape(-1, total)
    weight = col2im((w * w).reshape(1, n_fft, 1).expand(1, n_fft, count), (1, total), (1, n_fft), stride=(1, hop))
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - (n_fft // 2 if center else 0)
    weight = weight.reshape(total)[start : min(end, total)]
    if bool((weight.abs() < 1e-11).any()):
        raise RuntimeError("window overlap add min: the window and hop_length leave samples without weight")
    y = added[:, start : min(end, total)] / weight
    if end > total:
        y = constant_pad_nd(y, (0, end - total))
    return y.squeeze(0) if single else y


__all__ = ["fft_fftfreq", "fft_fftshift", "fft_ifftshift", "fft_rfftfreq"]
