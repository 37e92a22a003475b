"""Definitions in NumPy, float64, for sample calls whose formula does not fit a line: clear rather than quick."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.special as special
from numpy.lib.stride_tricks import sliding_window_view


def put(x, where, values):
    """A copy of x with x[where] = values."""
    out = x.copy()
    out[where] = values
    return out


def put_flat(x, index, values, accumulate=False):
    out = x.copy().ravel()
    if accumulate:
        np.add.at(out, index.ravel(), values.ravel())
    else:
        out[index.ravel()] = values.ravel()
    return out.reshape(x.shape)


def put_diagonal(x, values):
    out = x.copy()
    np.fill_diagonal(out, values)
    return out


def scatter(x, dim, index, src, fold=None):
    """out[index, ...] = (or fold=) src along dim."""
    out = x.copy()
    for at in itertools.product(*map(range, index.shape)):
        to = (*at[:dim], index[at], *at[dim + 1 :])
        out[to] = src[at] if fold is None else fold(out[to], src[at])
    return out


def masked_scatter(x, mask, source):
    out = x.copy()
    out[mask] = source.ravel()[: mask.sum()]
    return out


def padded(rows, count):
    return np.concatenate([rows, np.full((count - len(rows), rows.shape[1]), -1)])


def diag_embed(x, offset):
    n = x.shape[-1] + abs(offset)
    out = np.zeros((*x.shape[:-1], n, n))
    i = np.arange(x.shape[-1])
    out[..., i, i + offset] = x
    return out


def where_accumulated(a, fold):
    """Where the running extreme along dim 1 was last met."""
    best = fold.accumulate(a, 1)
    return np.maximum.accumulate(np.where(a == best, np.arange(a.shape[1]), 0), 1)


def mode(n):
    """The least most frequent value of each row, and where it is last."""
    values = []
    for row in n:
        found, counts = np.unique(row, return_counts=True)
        values.append(found[counts.argmax()])
    return np.array(values), np.array([np.flatnonzero(r == v)[-1] for r, v in zip(n, values, strict=True)])


def unique(n):
    values, inverse, counts = np.unique(n, return_inverse=True, return_counts=True)
    return values, inverse.reshape(n.shape), counts


def searchsorted(rows, x):
    return np.stack([np.searchsorted(r, v) for r, v in zip(rows, x, strict=True)])


# norms --------------------------------------------------------------------------------------------
def normalised(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def channel(v, ndim):
    return v.reshape(1, -1, *[1] * (ndim - 2))


def group_norm(x, groups, weight, bias):
    y = normalised(x.reshape(x.shape[0], groups, -1), 2).reshape(x.shape)
    return y * channel(weight, x.ndim) + channel(bias, x.ndim)


def local_response_norm(x, size, alpha, beta=0.75, k=1.0):
    squares = np.pad(x * x, ((0, 0), (size // 2, (size - 1) // 2), (0, 0), (0, 0)))
    return x / (k + alpha * sliding_window_view(squares, size, 1).mean(-1)) ** beta


def smoothed(x, labels, amount):
    logs = x - np.log(np.exp(x).sum(1, keepdims=True))
    target = np.eye(x.shape[1])[labels] * (1 - amount) + amount / x.shape[1]
    return -(target * logs).sum(1).mean()


def ctc(logs, labels):
    """The sum over all alignments, by listing them."""
    total = 0.0
    for path in itertools.product(range(logs.shape[1]), repeat=len(logs)):
        short = [c for i, c in enumerate(path) if (i == 0 or path[i - 1] != c) and c]
        if short == labels:
            total += np.exp(sum(logs[i, c] for i, c in enumerate(path)))
    return -np.log(total)


# windows ------------------------------------------------------------------------------------------
def windows(x, size, stride, dilation=None):
    """(..., positions, window elements) over the last dims."""
    d = len(size)
    dilation = dilation or (1,) * d
    span = tuple(dl * (k - 1) + 1 for dl, k in zip(dilation, size, strict=True))
    w = sliding_window_view(x, span, tuple(range(x.ndim - d, x.ndim)))
    pick = (..., *(slice(None, None, s) for s in stride), *(slice(None, None, dl) for dl in dilation))
    return w[pick]


def pool(x, size, stride, fold):
    return fold(windows(x, size, stride), tuple(range(-len(size), 0)))


def positions(x, size):
    """The flat position within the last dims of each element, shaped as x."""
    n = int(np.prod(x.shape[-len(size) :]))
    return np.broadcast_to(np.arange(n).reshape(x.shape[-len(size) :]), x.shape)


def max_pool(x, size, stride):
    d = len(size)
    w = windows(x, size, stride)
    at = windows(positions(x, size), size, stride)
    best = w.reshape(*w.shape[:-d], -1).argmax(-1)[..., None]
    return w.max(tuple(range(-d, 0))), np.take_along_axis(at.reshape(*at.shape[:-d], -1), best, -1)[..., 0]


def unpooled(x, size):
    """x where it is the largest of its window, else 0."""
    d = x.ndim - 2
    up = pool(x, (size,) * d, (size,) * d, np.max)
    for axis in range(2, x.ndim):
        up = up.repeat(size, axis)
    cut = tuple(slice(0, n) for n in up.shape)
    return np.where(x[cut] == up, up, 0)


def adaptive_cells(n, out):
    return [(i * n // out, -(-(i + 1) * n // out)) for i in range(out)]


def adaptive(x, out, fold):
    for k, n in enumerate(out):
        axis = x.ndim - len(out) + k
        parts = [np.take(x, range(a, b), axis) for a, b in adaptive_cells(x.shape[axis], n)]
        x = np.stack([fold(p, axis) for p in parts], axis)
    return x


def adaptive_max(x, out):
    values = adaptive(x, out, np.max)
    where = np.zeros(values.shape, np.int64)
    flat = x.reshape(*x.shape[: -len(out)], -1)
    for at in np.ndindex(values.shape):
        where[at] = np.flatnonzero(flat[at[: -len(out)]] == values[at])[0]
    return values, where


def fractional(x, size, out, sample):
    """Graham 2014, as PyTorch places the windows."""
    starts = []
    for k, n in enumerate(out):
        length = x.shape[x.ndim - len(out) + k]
        alpha = (length - size) / (n - 1) if n > 1 else 0
        first = [int((i + sample) * alpha) - int(sample * alpha) for i in range(n - 1)]
        starts.append([*first, length - size])
    values = np.zeros((*x.shape[: -len(out)], *out))
    where = np.zeros(values.shape, np.int64)
    at = positions(x, out)
    for i in np.ndindex(*out):
        cut = (..., *(slice(s[j], s[j] + size) for s, j in zip(starts, i, strict=True)))
        w, p = x[cut].reshape(*x.shape[: -len(out)], -1), at[cut].reshape(*x.shape[: -len(out)], -1)
        values[(..., *i)], where[(..., *i)] = w.max(-1), np.take_along_axis(p, w.argmax(-1)[..., None], -1)[..., 0]
    return values, where


# convolution --------------------------------------------------------------------------------------
def conv(x, w, bias=None, stride=None, padding=None, dilation=None, groups=1):
    d = w.ndim - 2
    stride, padding = stride or (1,) * d, padding or (0,) * d
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    outs = []
    for g in range(groups):
        xs, ws = (np.split(v, groups, axis)[g] for v, axis in ((x, 1), (w, 0)))
        patches = windows(xs, w.shape[2:], stride, dilation)  # n c *out *k
        y = np.tensordot(patches, ws, ([1, *range(2 + d, 2 + 2 * d)], [1, *range(2, 2 + d)]))
        outs.append(np.moveaxis(y, -1, 1))
    y = np.concatenate(outs, 1)
    return y if bias is None else y + channel(bias, y.ndim)


def conv_transpose(x, w, bias=None, stride=None, padding=None, output_padding=None):
    """Each input element adds its multiple of the kernel."""
    d = w.ndim - 2
    stride, padding, extra = (v or (z,) * d for v, z in ((stride, 1), (padding, 0), (output_padding, 0)))
    full = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], stride, w.shape[2:], strict=True)]
    y = np.zeros((x.shape[0], w.shape[1], *(f + e for f, e in zip(full, extra, strict=True))))
    for at in np.ndindex(*x.shape[2:]):
        to = (slice(None), slice(None), *(slice(i * s, i * s + k) for i, s, k in zip(at, stride, w.shape[2:], strict=True)))
        y[to] += np.tensordot(x[(slice(None), slice(None), *at)], w, 1)
    y = y[(..., *(slice(p, n - p) for p, n in zip(padding, y.shape[2:], strict=True)))]
    return y if bias is None else y + channel(bias, y.ndim)


def conv_tbc(x, w, bias):
    y = conv(x.transpose(1, 2, 0), w.transpose(2, 1, 0))
    return y.transpose(2, 0, 1) + bias


def im2col(x, size, stride):
    w = windows(x, size, stride)  # n c oh ow kh kw
    n, c, oh, ow, kh, kw = w.shape
    return w.transpose(0, 1, 4, 5, 2, 3).reshape(n, c * kh * kw, oh * ow)


def col2im(cols, out, size):
    h, w = out[0] - size[0] + 1, out[1] - size[1] + 1
    parts = cols.reshape(cols.shape[0], -1, *size, h, w)
    y = np.zeros((cols.shape[0], parts.shape[1], *out))
    for i, j in np.ndindex(*size):
        y[:, :, i : i + h, j : j + w] += parts[:, :, i, j]
    return y


# resampling ---------------------------------------------------------------------------------------
def resize_axis(x, axis, out, weights):
    """weights(out): a matrix (out, in) along an axis."""
    return np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)


def sources(n, out, corners):
    i = np.arange(out)
    return i * (n - 1) / max(out - 1, 1) if corners else (i + 0.5) * n / out - 0.5


def linear_resize(x, out, corners):
    for k, size in enumerate(out):
        axis = x.ndim - len(out) + k
        n = x.shape[axis]
        at = np.clip(sources(n, size, corners), 0, n - 1)
        x = resize_axis(x, axis, size, np.maximum(0, 1 - np.abs(at[:, None] - np.arange(n))))
    return x


def cubic_resize(x, out, a=-0.75):
    """Keys 1981, edges repeated."""
    for k, size in enumerate(out):
        axis = x.ndim - len(out) + k
        n = x.shape[axis]
        m = np.zeros((size, n))
        for i, at in enumerate(sources(n, size, False)):
            for j in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
                d = abs(at - j)
                near = (a + 2) * d**3 - (a + 3) * d**2 + 1
                m[i, min(max(j, 0), n - 1)] += near if d <= 1 else a * (d**3 - 5 * d**2 + 8 * d - 4)
        x = resize_axis(x, axis, size, m)
    return x


def affine_grid(theta, h, w):
    ys, xs = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    return np.einsum("nij,hwj->nhwi", theta, np.stack([xs, ys, np.ones_like(xs)], -1))


def grid_sample(x, grid):
    """Bilinear, zeros outside, corners aligned."""
    h, w = x.shape[2:]
    gx, gy = (grid[..., 0] + 1) / 2 * (w - 1), (grid[..., 1] + 1) / 2 * (h - 1)
    wx = np.maximum(0, 1 - np.abs(gx[..., None] - np.arange(w)))
    wy = np.maximum(0, 1 - np.abs(gy[..., None] - np.arange(h)))
    return np.einsum("nchw,nijh,nijw->ncij", x, wy, wx)


def pixel_shuffle(x, r):
    n, c, h, w = x.shape
    return x.reshape(n, c // r**2, r, r, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // r**2, h * r, w * r)


def pixel_unshuffle(x, r):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // r, r, w // r, r).transpose(0, 1, 3, 5, 2, 4).reshape(n, c * r**2, h // r, w // r)


# attention, recurrence, transforms ----------------------------------------------------------------
def attention(q, k, v, mask=None, scale=None):
    s = q @ np.swapaxes(k, -1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    s = s if mask is None else np.where(mask, s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v


def logistic(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, h, c, wi, wh, b):
    i, f, g, o = np.split(x @ wi.T + h @ wh.T + b, 4, 1)
    c = logistic(f) * c + logistic(i) * np.tanh(g)
    return logistic(o) * np.tanh(c), c


def gru(x, h, wi, wh, bi, bh):
    (ri, zi, ni), (rh, zh, nh) = np.split(x @ wi.T + bi, 3, 1), np.split(h @ wh.T + bh, 3, 1)
    z = logistic(zi + zh)
    return (1 - z) * np.tanh(ni + logistic(ri + rh) * nh) + z * h


def steps(x, state, cell):
    """The outputs of a recurrent layer over the first dim."""
    outs = []
    for row in x:
        state = cell(row, state)
        outs.append(state[0] if isinstance(state, tuple) else state)
    return np.stack(outs)


def gamma_slope(a, x):
    """d/da of the value whose probability is that of x: the inverse's central differences, of fourth order."""
    p, h = special.gammainc(a, x), 1e-3
    near, far = (special.gammaincinv(a + k * h, p) - special.gammaincinv(a - k * h, p) for k in (1, 2))
    return (8 * near - far) / (12 * h)


def eigh(s):
    return tuple(np.linalg.eigh(s))


def hfft2(z):
    """The transform whose input is half of a Hermitian signal: last dim by hfft, the rest by fft."""
    return np.fft.hfft(np.fft.fft(z, axis=0), axis=1)


def ihfft2(x):
    y = np.fft.ihfft(x, axis=-1)
    return np.fft.ifftn(y, axes=tuple(range(x.ndim - 1)))


def stft(x, size, hop):
    return np.fft.rfft(sliding_window_view(x, size)[::hop], axis=-1).T


# linear algebra -----------------------------------------------------------------------------------
def lu(a):
    """Both factors in one matrix, rows exchanged for the largest pivots."""
    a = a.copy()
    for i in range(len(a)):
        best = i + np.abs(a[i:, i]).argmax()
        a[[i, best]] = a[[best, i]]
        a[i + 1 :, i] /= a[i, i]
        a[i + 1 :, i + 1 :] -= np.outer(a[i + 1 :, i], a[i, i + 1 :])
    return a


def matrix_exp(a):
    """Its series, on a scaled matrix squared back."""
    small, term, total = a / 64, np.eye(len(a)), np.eye(len(a))
    for k in range(1, 20):
        term = term @ small / k
        total = total + term
    for _ in range(6):
        total = total @ total
    return total
