"""Expressions whose results PyTorch's are known (tests/data/parity.npz, recorded by tools/record_parity.py).

One expression a line; the names in INPUTS that occur in it are its inputs, made from a seed that depends on the text
only. `torch`, `F` (nn.functional) and `np` may be used. Outputs are compared, and gradients of all floating inputs.
"""

from __future__ import annotations

import re
import zlib

import numpy as np

from tests.parity.names import NAME_ERRORS, NAMES


def _signed(r, *shape):
    """Away from 0 and from integers, so that no branch is met exactly."""
    a = r.standard_normal(shape)
    return np.where(np.abs(a - np.round(a)) < 0.03, a + 0.07, a)


INPUTS = {
    "x": lambda r: _signed(r, 3, 4).astype(np.float32),
    "y": lambda r: _signed(r, 3, 4).astype(np.float32),
    "v": lambda r: _signed(r, 4).astype(np.float32),
    "s": lambda r: _signed(r).astype(np.float32),
    "e": lambda r: np.zeros((0, 4), np.float32),
    "d": lambda r: _signed(r, 2, 3, 4),
    "t": lambda r: _signed(r, 2, 3, 4).astype(np.float32),
    "p": lambda r: r.uniform(0.1, 2.0, (3, 4)).astype(np.float32),
    "u": lambda r: r.uniform(0.05, 0.95, (3, 4)).astype(np.float32),
    "n": lambda r: r.integers(-4, 6, (3, 4)),
    "k": lambda r: r.integers(1, 5, (3, 4)),
    "i": lambda r: r.integers(0, 3, (3, 4)),
    "j": lambda r: r.integers(0, 3, (5,)),
    "b": lambda r: r.integers(0, 200, (3, 4)).astype(np.uint8),
    "i32": lambda r: r.integers(-9, 9, (3, 4)).astype(np.int32),
    "m": lambda r: r.random((3, 4)) < 0.5,
    "z": lambda r: (r.standard_normal((3, 4)) + 1j * r.standard_normal((3, 4))).astype(np.complex64),
    "h": lambda r: _signed(r, 3, 4).astype(np.float16),
    "A": lambda r: _signed(r, 5, 6).astype(np.float32),
    "B": lambda r: _signed(r, 6, 7).astype(np.float32),
    "T": lambda r: _signed(r, 2, 5, 6).astype(np.float32),
    "U": lambda r: _signed(r, 2, 6, 3).astype(np.float32),
    "img": lambda r: _signed(r, 2, 3, 8, 7).astype(np.float32),
    "seq": lambda r: _signed(r, 2, 4, 9).astype(np.float32),
    "vol": lambda r: _signed(r, 1, 2, 5, 6, 4).astype(np.float32),
    "lab": lambda r: r.integers(0, 4, (3,)),
    "big": lambda r: _signed(r, 37, 53).astype(np.float32),
    "nan": lambda r: np.array([1.0, np.nan, -np.inf, np.inf, -0.0, 3.5], np.float32),
}

POINTWISE = """
x + y
x - v
x * s
x / p
x + 2
2 - x
x * 2.5
3 / p
x // p
x % p
n + k
n - 3
n * 2
n / k
n // k
n % k
n + 1.5
n + x
b + b
b - 1
b * 3
m + m
m * 2
m & ~m
m | m
m ^ m
n & 3
n | k
n ^ k
~n
n << 1
n >> 1
-x
-n
abs(n)
x ** 2
x ** 3
p ** 0.5
p ** x
p ** -1
2 ** x
n ** 2
k ** k
2 ** k
x == y
n == 3
x != y
x < v
x <= 0
x > y
x >= s
torch.add(x, y, alpha=2)
torch.sub(x, y, alpha=0.5)
torch.rsub(x, y)
torch.mul(x, v)
torch.div(x, p)
torch.div(x, p, rounding_mode='floor')
torch.div(x, p, rounding_mode='trunc')
torch.div(n, k, rounding_mode='floor')
torch.div(n, k, rounding_mode='trunc')
torch.true_divide(n, k)
torch.floor_divide(n, k)
torch.remainder(x, p)
torch.remainder(n, k)
torch.fmod(x, p)
torch.fmod(n, k)
torch.pow(p, x)
torch.pow(x, 2)
torch.float_power(n, 2)
torch.abs(x)
torch.neg(x)
torch.sign(x)
torch.sgn(x)
torch.sgn(z)
torch.reciprocal(p)
torch.square(x)
torch.sqrt(p)
torch.rsqrt(p)
torch.exp(x)
torch.exp2(x)
torch.expm1(x)
torch.log(p)
torch.log2(p)
torch.log10(p)
torch.log1p(p)
torch.sin(x)
torch.cos(x)
torch.tan(x)
torch.asin(u)
torch.acos(u)
torch.atan(x)
torch.sinh(x)
torch.cosh(x)
torch.tanh(x)
torch.asinh(x)
torch.acosh(p + 1.5)
torch.atanh(u)
torch.sigmoid(x)
torch.erf(x)
torch.erfc(x)
torch.erfinv(u)
torch.lgamma(p)
torch.digamma(p)
torch.polygamma(1, p)
torch.logit(u)
torch.logit(u, eps=0.2)
torch.sinc(x)
torch.i0(x)
torch.deg2rad(x)
torch.rad2deg(x)
torch.floor(x)
torch.ceil(x)
torch.trunc(x)
torch.round(x)
torch.round(x, decimals=1)
torch.frac(x)
torch.positive(x)
torch.exp(n)
torch.sqrt(k)
torch.sin(n)
torch.sigmoid(b)
torch.exp(h)
torch.tanh(h)
h + h
h * 2.5
h + x
h.float() * v
torch.atan2(x, y)
torch.hypot(x, y)
torch.copysign(x, y)
torch.nextafter(x, y)
torch.heaviside(x, y)
torch.ldexp(x, k)
torch.maximum(x, y)
torch.minimum(x, y)
torch.fmax(x, y)
torch.fmin(x, y)
torch.max(x, y)
torch.min(x, v)
torch.clamp(x, -0.5, 0.5)
torch.clamp(x, min=0)
torch.clamp(x, max=0.3)
torch.clamp(x, min=y)
torch.clamp(n, 0, 3)
torch.clamp(n, 0.5)
x.clamp_min(0.1)
x.clamp_max(0.1)
torch.lerp(x, y, 0.3)
torch.lerp(x, y, u)
torch.addcmul(x, y, p, value=0.5)
torch.addcdiv(x, y, p, value=0.5)
torch.where(m, x, y)
torch.where(m, x, 0.0)
torch.where(m, 1, n)
torch.where(x > 0, x, v)
torch.logical_and(m, n)
torch.logical_or(m, n)
torch.logical_xor(m, n)
torch.logical_not(n)
torch.bitwise_and(n, k)
torch.bitwise_or(n, k)
torch.bitwise_xor(n, k)
torch.bitwise_not(m)
torch.bitwise_left_shift(n, 2)
torch.isnan(nan)
torch.isinf(nan)
torch.isfinite(nan)
torch.isposinf(nan)
torch.isneginf(nan)
torch.signbit(nan)
torch.isreal(z)
torch.nan_to_num(nan)
torch.nan_to_num(nan, 1.0, 2.0, -2.0)
torch.isclose(x, x + 1e-6)
torch.allclose(x, x + 1e-7)
torch.equal(x, y)
torch.eq(x, y)
torch.ne(x, 0)
torch.gt(x, y)
torch.ge(n, k)
torch.lt(n, 2)
torch.le(n, k)
torch.xlogy(x, p)
torch.logaddexp(x, y)
torch.logaddexp2(x, y)
torch.gcd(n, k)
torch.lcm(k, n)
torch.angle(x)
torch.angle(z)
torch.abs(z)
z + z
z * 2
z * (1+2j)
z / z
z * x
x * 1j
z.conj()
torch.exp(z)
torch.log(z)
torch.sqrt(z)
torch.sin(z)
torch.tanh(z)
torch.real(z)
torch.imag(z)
torch.complex(x, y)
torch.polar(p, x)
z == z
s + s
s * n
e + 1
e.exp()
torch.tensor(3) / torch.tensor(2)
torch.tensor(7) // torch.tensor(2)
torch.tensor(1.5) + 1
torch.tensor([1, 2]) + torch.tensor(0.5)
torch.tensor([1., 2.]) * torch.tensor(2, dtype=torch.float64)
i32 + n
i32 * 2
b + n
m + 1.0
x.double() + x
h + 1
torch.can_cast(torch.float32, torch.int64)
torch.result_type(x, 3)
torch.result_type(n, 2.5)
torch.promote_types(torch.int32, torch.float16)
"""

REDUCTIONS = """
x.sum()
x.sum(0)
x.sum(1, keepdim=True)
t.sum((0, 2))
t.sum((0, 1), keepdim=True)
t.sum(-2)
t.sum(dim=())
n.sum()
n.sum(0)
m.sum()
m.sum(1)
b.sum()
h.sum()
z.sum(0)
x.sum(dtype=torch.float64)
n.sum(dtype=torch.float32)
e.sum()
e.sum(0)
e.sum(1)
s.sum()
s.sum(0)
big.sum()
big.sum(0)
big.sum(1)
big.t().sum(0)
img.sum((0, 2, 3))
img.sum((1, 3))
x.mean()
x.mean(0)
t.mean((1, 2), keepdim=True)
h.mean()
z.mean()
img.mean((2, 3))
e.mean()
x.prod()
x.prod(1)
x.prod(0, keepdim=True)
n.prod(1)
(x * (x > 0)).prod(1)
z.prod(0)
x.max()
x.min()
x.max(1)
x.min(0)
x.max(1, keepdim=True)
n.max(0)
n.min(1)
n.max()
b.max()
m.max()
torch.max(t, dim=2)
nan.max()
nan.min()
nan.max(0)
x.amax(1)
x.amin((0, 1))
x.amax()
t.amax((0, 2), keepdim=True)
torch.round(x).amax(1)
x.argmax()
x.argmin()
x.argmax(1)
x.argmin(0, keepdim=True)
n.argmax(1)
nan.argmax()
torch.aminmax(x)
torch.aminmax(x, dim=1)
m.any()
m.all()
m.any(1)
m.all(0, keepdim=True)
n.any()
x.all()
b.any(0)
e.any()
e.all()
torch.any(t, (0, 2))
torch.count_nonzero(n)
torch.count_nonzero(n, 1)
x.var()
x.std()
x.var(0)
x.std(1, keepdim=True)
x.var(unbiased=False)
x.var(1, False)
x.std(0, correction=0)
t.var((0, 2), correction=2)
torch.var_mean(x, 1)
torch.std_mean(x)
z.var()
x.norm()
x.norm(1)
x.norm(2, 1)
x.norm(3, 0, keepdim=True)
x.norm(float('inf'))
x.norm(float('-inf'), 1)
x.norm(0)
x.norm(0.5)
torch.norm(x, dim=1)
torch.norm(t, p='fro', dim=(1, 2))
z.norm()
torch.dist(x, y)
torch.dist(x, y, 1)
torch.logsumexp(x, 1)
torch.logsumexp(t, (0, 2), keepdim=True)
torch.nansum(nan)
torch.nanmean(torch.where(x > 0, x, float('nan')))
x.median()
x.median(1)
x.median(0, keepdim=True)
n.median()
nan.median()
nan.nanmedian()
torch.nanmedian(x, 1)
x.mode(1)
n.mode(1)
i.mode(0)
torch.quantile(x, 0.3)
torch.quantile(x, torch.tensor([0.1, 0.5, 0.9]), dim=1)
torch.quantile(x, 0.4, dim=0, keepdim=True, interpolation='nearest')
torch.quantile(x, 0.4, interpolation='lower')
torch.quantile(x, 0.4, interpolation='higher')
torch.quantile(x, 0.4, interpolation='midpoint')
torch.nanquantile(nan, 0.5)
x.cumsum(0)
x.cumsum(1)
n.cumsum(1)
m.cumsum(0)
t.cumsum(1)
big.cumsum(0)
x.cumprod(1)
p.cumprod(0)
n.cumprod(1)
x.cummax(1)
x.cummin(0)
n.cummax(0)
torch.logcumsumexp(x, 1)
torch.logcumsumexp(x, 0)
x.sum_to_size(1, 4)
x.renorm(2, 0, 1.0)
torch.cov(x)
torch.corrcoef(x)
torch.trapezoid(x)
torch.trapezoid(x, v)
torch.cumulative_trapezoid(x, dx=0.5)
"""

VIEWS = """
x.view(4, 3)
x.view(-1)
x.view(2, -1)
x.reshape(6, 2)
x.t().reshape(-1)
x.reshape(-1, 1, 4)
torch.reshape(x, (2, 6))
x.flatten()
t.flatten(1)
t.flatten(0, 1)
x.unflatten(1, (2, 2))
x.ravel()
x.t()
x.T
t.mT
t.transpose(0, 2)
t.permute(2, 0, 1)
torch.permute(t, (1, 2, 0))
t.movedim(0, 2)
t.movedim((0, 1), (2, 0))
t.swapaxes(0, 1)
x.expand(2, 3, 4)
v.expand(3, -1)
v.expand_as(x)
torch.broadcast_to(v, (2, 4))
torch.broadcast_tensors(x, v)
torch.broadcast_shapes((3, 1), (4,))
x.unsqueeze(0)
x.unsqueeze(-1)
x.unsqueeze(1).squeeze()
x.unsqueeze(1).squeeze(1)
x.unsqueeze(1).squeeze((0, 1))
x.squeeze(0)
x.select(1, 2)
x.narrow(1, 1, 2)
t.diagonal(0, 1, 2)
x.diagonal(1)
x.diagonal(-1)
v.unfold(0, 2, 1)
x.unfold(1, 3, 1)
x.split(2)
x.split([1, 3], 1)
x.chunk(2, 1)
x.chunk(5)
torch.tensor_split(x, 3, 1)
torch.tensor_split(x, (1, 2))
torch.hsplit(x, 2)
torch.vsplit(x, [1])
x.unbind()
x.unbind(1)
x.as_strided((2, 2), (1, 2), 1)
torch.view_as_real(z)
torch.view_as_complex(t[..., :2].contiguous())
x.view(torch.int32)
n.view(torch.int32)
x.contiguous()
x.t().contiguous()
img.contiguous(memory_format=torch.channels_last)
x.clone()
x.to(torch.float64)
x.double()
x.half()
x.int()
x.long()
n.float()
x.bool()
n.to(torch.uint8)
x.type(torch.float64)
x.type_as(n)
x.to(h)
x.bfloat16().float()
x.size()
x.stride()
x.t().stride()
x.shape
t.size(1)
x.numel()
x.dim()
x.is_contiguous()
x.t().is_contiguous()
x.element_size()
x.storage_offset()
x[1:].storage_offset()
x.tolist()
s.item()
len(x)
x.type()
x.nbytes
x.adjoint()
"""

INDEXING = """
x[0]
x[-1]
x[1:]
x[:, 1]
x[:, ::2]
x[..., 1]
x[None]
x[:, None, 1:3]
x[1, 2]
t[..., 0]
t[1, :, -1]
x[m]
x[m.any(1)]
x[torch.tensor([0, 2])]
x[[0, 2]]
x[:, [0, 2]]
x[[0, 1], [2, 3]]
x[torch.tensor([[0, 1], [2, 0]])]
t[:, [0, 2], 1:]
t[[0, 1], :, [2, 3]]
t[0, [1, 2]]
t[:, torch.tensor([True, False, True])]
x[torch.tensor(1)]
x[x > 0]
n[n > 0]
x[j]
x[True]
x[2:1]
x[..., None]
x.gather(1, i)
x.gather(0, i)
torch.gather(x, 1, i[:, :2])
torch.take_along_dim(x, i, 1)
x.index_select(0, j)
x.index_select(1, torch.tensor([3, 0]))
torch.index_select(t, 2, torch.tensor([0, 0, 1]))
torch.take(x, torch.tensor([0, 5, 11]))
x.scatter(1, i, y)
x.scatter(1, i, 2.5)
x.scatter_add(1, i, y)
torch.zeros(3, 4).scatter_(1, torch.tensor([[0], [1], [3]]), 1.0)
x.scatter_reduce(1, i, y, 'sum')
x.scatter_reduce(1, i, y, 'amax')
x.scatter_reduce(1, i, y, 'mean', include_self=False)
x.scatter_reduce(1, i, y, 'prod')
x.index_add(0, j, torch.ones(5, 4))
x.index_add(1, torch.tensor([0, 2]), y[:, :2], alpha=2)
x.index_copy(0, torch.tensor([2, 0]), y[:2])
x.index_fill(1, torch.tensor([1]), 7.0)
x.index_put((torch.tensor([0, 1]), torch.tensor([1, 2])), torch.tensor([5., 6.]))
x.index_put((torch.tensor([0, 0]),), v, accumulate=True)
x.masked_fill(m, 3.0)
x.masked_fill(x > 0, float('-inf'))
x.masked_select(m)
x.masked_scatter(m, y)
x.put(torch.tensor([1, 3]), torch.tensor([9., 8.]))
n.nonzero()
torch.nonzero(m, as_tuple=True)
torch.argwhere(m)
torch.where(m)
torch.unique(n)
torch.unique(n, return_inverse=True, return_counts=True)
torch.unique(i, dim=0)
torch.unique_consecutive(j)
torch.bincount(j)
torch.bincount(j, minlength=6)
torch.bincount(j, weights=torch.arange(5.))
torch.histc(x, 5, -2, 2)
torch.searchsorted(v.sort()[0], x)
torch.searchsorted(v.sort()[0], x, right=True)
torch.bucketize(x, torch.tensor([-1., 0., 1.]))
x.sort()
x.sort(0)
x.sort(1, descending=True)
n.sort(stable=True)
big.sort(0)
x.argsort(1)
x.topk(2)
x.topk(2, 0, largest=False)
x.kthvalue(2)
torch.msort(x)
torch.isin(n, torch.tensor([1, 2]))
x.diff()
x.diff(n=2, dim=0)
x.roll(1)
x.roll((1, 2), (0, 1))
x.flip(0)
x.flip((0, 1))
torch.flip(t, [2])
x.fliplr()
x.flipud()
torch.rot90(x)
torch.rot90(x, 2, (0, 1))
torch.rot90(x, -1)
torch.cat([x, y])
torch.cat((x, y), 1)
torch.cat([x, n])
torch.cat([e, x])
torch.cat([x, torch.tensor([])])
torch.stack([x, y])
torch.stack((x, y), -1)
torch.hstack([x, y])
torch.vstack([v, v])
torch.dstack([x, y])
torch.column_stack([v, v])
torch.block_diag(x, y)
x.repeat(2, 3)
x.repeat(2, 1, 2)
torch.tile(x, (2,))
x.repeat_interleave(2)
x.repeat_interleave(2, 1)
x.repeat_interleave(torch.tensor([1, 0, 2]), 0)
torch.meshgrid(v, torch.arange(3.), indexing='ij')
torch.meshgrid(v, torch.arange(3.), indexing='xy')
torch.cartesian_prod(v, torch.arange(3.))
torch.combinations(v, 2)
x.tril()
x.triu(1)
x.tril(-1)
t.triu()
torch.diag(v)
torch.diag(x)
torch.diag(v, 1)
torch.diag_embed(x)
torch.diagflat(v)
A[:, :5].trace()
torch.tril_indices(3, 4)
torch.triu_indices(3, 3, 1)
torch.atleast_2d(v)
torch.atleast_3d(x)
F.pad(x, (1, 2))
F.pad(x, (1, 0, 2, 1), value=3.0)
F.pad(x, (-1, 1))
F.pad(img, (1, 2, 2, 1), mode='reflect')
F.pad(img, (1, 2, 2, 1), mode='replicate')
F.pad(img, (1, 2, 2, 1), mode='circular')
F.pad(seq, (2, 1), mode='reflect')
F.pad(vol, (1, 1, 0, 1, 1, 0), mode='replicate')
torch.vander(v)
torch.select_scatter(x, v, 0, 1)
torch.slice_scatter(x, y[:1], 0, 1, 2)
torch.diagonal_scatter(x, torch.ones(3))
torch.clone(x)
torch.numel(x)
torch.is_tensor(x)
torch.is_floating_point(x)
torch.is_complex(z)
torch.swapdims(t, 0, 1)
torch.squeeze(x)
torch.ravel(x)
torch.unravel_index(torch.tensor([5, 7]), (3, 4))
torch.crow_indices if False else 0
"""

CREATION = """
torch.zeros(2, 3)
torch.zeros((2, 3), dtype=torch.int32)
torch.ones(2)
torch.ones([2, 1], dtype=torch.bool)
torch.full((2, 2), 7)
torch.full((2,), 1.5)
torch.full((2,), True)
torch.full((2,), 3, dtype=torch.float64)
torch.empty(0, 3)
torch.arange(5)
torch.arange(1, 4)
torch.arange(0, 1, 0.25)
torch.arange(5, 0, -2)
torch.arange(3.)
torch.arange(2, 8, 2, dtype=torch.float32)
torch.linspace(0, 1, 5)
torch.linspace(-3, 10, 7)
torch.linspace(0, 10, 4, dtype=torch.int64)
torch.logspace(0, 2, 3)
torch.logspace(0, 3, 4, base=2)
torch.eye(3)
torch.eye(2, 4)
torch.zeros_like(x)
torch.ones_like(n)
torch.full_like(x, 2)
torch.zeros_like(x, dtype=torch.int64)
x.new_zeros(2)
x.new_ones((2, 2))
n.new_full((2,), 3)
x.new_tensor([1, 2])
torch.tensor([[1, 2], [3, 4]])
torch.tensor([1.5, 2])
torch.tensor(3)
torch.tensor([True, False])
torch.tensor([1, 2], dtype=torch.float16)
torch.tensor([1+2j])
torch.tensor(np.arange(3))
torch.tensor([])
torch.as_tensor([1, 2])
torch.from_numpy(np.arange(4.0))
torch.scalar_tensor(2)
torch.hann_window(6)
torch.hann_window(6, periodic=False)
torch.hamming_window(5)
torch.blackman_window(5)
torch.bartlett_window(6)
torch.kaiser_window(5)
torch.range(1, 4)
torch.Tensor([1, 2])
torch.FloatTensor([1, 2])
torch.LongTensor([3])
torch.Size([2, 3])
torch.finfo(torch.float32).eps
torch.iinfo(torch.int8).max
"""

LINEAR = """
A @ B
A.mm(B)
torch.matmul(A, B)
torch.matmul(T, U)
torch.matmul(T, B)
torch.matmul(A, U)
torch.matmul(A, torch.ones(6))
torch.matmul(torch.ones(5), A)
torch.matmul(v, v)
torch.bmm(T, U)
torch.mv(A, torch.ones(6))
torch.dot(v, v)
torch.inner(x, y)
torch.outer(v, v)
torch.addmm(torch.ones(5, 7), A, B, beta=0.5, alpha=2)
torch.addmm(torch.ones(7), A, B)
torch.baddbmm(torch.ones(2, 5, 3), T, U, alpha=0.5)
torch.addbmm(torch.ones(5, 3), T, U)
torch.addmv(torch.ones(5), A, torch.ones(6))
torch.addr(x, torch.ones(3), v)
A.t() @ A
A.double() @ B.double()
n @ k.t()
z @ z.t()
h @ h.t()
F.linear(x, y)
F.linear(x, y, torch.ones(3))
F.linear(t, y, torch.ones(3))
F.bilinear(x, y, torch.ones(2, 4, 4), torch.ones(2))
torch.einsum('ij,jk->ik', A, B)
torch.einsum('ij,kj->ik', x, y)
torch.einsum('bij,bjk->bik', T, U)
torch.einsum('ii->i', A[:, :5])
torch.einsum('ij->', x)
torch.einsum('ij->ji', x)
torch.einsum('i,j->ij', v, v)
torch.einsum('...ij,...jk->...ik', T, U)
torch.einsum('ij,ij->i', x, y)
torch.einsum('bij,bkj,bi->bk', T, T, T[:, :, 0])
torch.tensordot(x, y, 2)
torch.tensordot(T, U, ([2], [1]))
torch.tensordot(A, B, 1)
torch.kron(x, v)
torch.chain_matmul(A, B, B.t())
torch.linalg.multi_dot([A, B, B.t()])
torch.cdist(x, y)
torch.cdist(x, y, p=1)
torch.cdist(t, t, p=3)
F.pdist(x)
F.cosine_similarity(x, y)
F.cosine_similarity(x, y, dim=0)
F.pairwise_distance(x, y)
F.normalize(x)
F.normalize(x, p=1, dim=0)
torch.cross(t[:, :, :3], t[:, :, 1:], dim=2)
torch.vdot(z[0], z[1])
"""

NEURAL = """
F.relu(x)
F.relu6(x * 5)
F.leaky_relu(x)
F.leaky_relu(x, 0.2)
F.elu(x)
F.elu(x, 0.5)
F.selu(x)
F.celu(x, 2.0)
F.gelu(x)
F.gelu(x, approximate='tanh')
F.silu(x)
F.mish(x)
F.softplus(x)
F.softplus(x, 2, 1)
F.softsign(x)
F.hardtanh(x)
F.hardsigmoid(x)
F.hardswish(x)
F.hardshrink(x)
F.softshrink(x)
F.tanhshrink(x)
F.threshold(x, 0.1, 20)
F.logsigmoid(x)
F.prelu(x, torch.tensor([0.25]))
F.prelu(img, torch.tensor([0.1, 0.2, 0.3]))
F.glu(x)
F.glu(x, 1)
F.softmax(x, 1)
F.softmax(x, 0)
F.softmax(t, 1)
F.softmin(x, 1)
F.log_softmax(x, 1)
F.log_softmax(img, 1)
torch.softmax(x, -1, dtype=torch.float64)
F.one_hot(j, 4)
F.one_hot(lab)
F.embedding(j, x)
F.embedding(i, x)
F.embedding(i, x, padding_idx=1)
F.embedding_bag(j, x, torch.tensor([0, 3]))
F.embedding_bag(i, x, mode='sum')
F.embedding_bag(i, x, mode='max')
F.mse_loss(x, y)
F.mse_loss(x, y, reduction='sum')
F.mse_loss(x, y, reduction='none')
F.l1_loss(x, y)
F.smooth_l1_loss(x, y)
F.smooth_l1_loss(x, y, beta=0.5)
F.huber_loss(x, y, delta=0.7)
F.cross_entropy(x, lab)
F.cross_entropy(x, lab, reduction='sum')
F.cross_entropy(x, lab, reduction='none')
F.cross_entropy(x, lab, weight=torch.tensor([1., 2., 3., 4.]))
F.cross_entropy(x, lab, ignore_index=2)
F.cross_entropy(x, lab, label_smoothing=0.1)
F.cross_entropy(x, F.softmax(y, 1))
F.cross_entropy(img, torch.zeros(2, 8, 7, dtype=torch.long))
F.nll_loss(F.log_softmax(x, 1), lab)
F.nll_loss(F.log_softmax(x, 1), lab, weight=torch.tensor([1., 2., 3., 4.]), reduction='none')
F.binary_cross_entropy(u, m.float())
F.binary_cross_entropy(u, m.float(), weight=p.detach())
F.binary_cross_entropy_with_logits(x, m.float())
F.binary_cross_entropy_with_logits(x, m.float(), pos_weight=torch.ones(4) * 2)
F.kl_div(F.log_softmax(x, 1), F.softmax(y, 1))
F.kl_div(F.log_softmax(x, 1), F.softmax(y, 1), reduction='batchmean')
F.poisson_nll_loss(x, p)
F.gaussian_nll_loss(x, y, p)
F.hinge_embedding_loss(x, torch.where(m, 1.0, -1.0))
F.margin_ranking_loss(x, y, torch.where(m, 1.0, -1.0))
F.soft_margin_loss(x, torch.where(m, 1.0, -1.0))
F.multi_margin_loss(x, lab)
F.multilabel_soft_margin_loss(x, m.float())
F.triplet_margin_loss(x, y, p)
F.cosine_embedding_loss(x, y, torch.tensor([1., -1., 1.]))
F.layer_norm(x, (4,))
F.layer_norm(t, (3, 4), torch.ones(3, 4) * 2, torch.ones(3, 4))
F.rms_norm(x, (4,))
F.group_norm(img, 3)
F.group_norm(torch.cat([img, img], 1), 2, torch.arange(6.), torch.ones(6))
F.instance_norm(img)
F.batch_norm(img, torch.zeros(3), torch.ones(3), training=True)
F.batch_norm(img, torch.zeros(3), torch.ones(3) * 2, torch.arange(3.), torch.ones(3))
F.batch_norm(x, torch.zeros(4), torch.ones(4), torch.ones(4) * 2, torch.zeros(4), True)
F.local_response_norm(img, 2)
F.max_pool1d(seq, 2)
F.max_pool2d(img, 2)
F.max_pool2d(img, 3, 2, 1)
F.max_pool2d(img, 2, return_indices=True)
F.max_pool2d(img, 3, stride=1, dilation=2)
F.max_pool2d(img, 2, ceil_mode=True)
F.max_pool3d(vol, 2)
F.avg_pool1d(seq, 3)
F.avg_pool2d(img, 2)
F.avg_pool2d(img, 3, 2, 1, count_include_pad=False)
F.avg_pool2d(img, 2, ceil_mode=True)
F.avg_pool3d(vol, 2)
F.lp_pool2d(img.abs(), 2, 2)
F.adaptive_avg_pool1d(seq, 4)
F.adaptive_avg_pool2d(img, 1)
F.adaptive_avg_pool2d(img, (3, 2))
F.adaptive_max_pool2d(img, 2)
F.adaptive_avg_pool3d(vol, 2)
F.max_unpool2d(*F.max_pool2d(img, 2, return_indices=True), 2, output_size=(8, 7))
F.conv1d(seq, torch.ones(3, 4, 3))
F.conv1d(seq, torch.linspace(-1, 1, 24).reshape(3, 4, 2), torch.ones(3), stride=2, padding=1)
F.conv2d(img, torch.linspace(-1, 1, 54).reshape(2, 3, 3, 3))
F.conv2d(img, torch.linspace(-1, 1, 54).reshape(2, 3, 3, 3), torch.ones(2), stride=2, padding=1)
F.conv2d(img, torch.linspace(-1, 1, 54).reshape(2, 3, 3, 3), padding='same')
F.conv2d(img, torch.linspace(-1, 1, 54).reshape(2, 3, 3, 3), dilation=2)
F.conv2d(img, torch.linspace(-1, 1, 27).reshape(3, 1, 3, 3), groups=3)
F.conv2d(img, torch.linspace(-1, 1, 6).reshape(2, 3, 1, 1))
F.conv3d(vol, torch.linspace(-1, 1, 16).reshape(1, 2, 2, 2, 2))
F.conv_transpose1d(seq, torch.linspace(-1, 1, 24).reshape(4, 2, 3), stride=2)
F.conv_transpose2d(img, torch.linspace(-1, 1, 54).reshape(3, 2, 3, 3))
F.conv_transpose2d(img, torch.linspace(-1, 1, 54).reshape(3, 2, 3, 3), torch.ones(2), stride=2, padding=1, output_padding=1)
F.conv_transpose3d(vol, torch.linspace(-1, 1, 16).reshape(2, 1, 2, 2, 2))
F.unfold(img, 3)
F.unfold(img, (2, 3), padding=1, stride=2)
F.fold(F.unfold(img, 2, stride=1), (8, 7), 2)
F.interpolate(img, scale_factor=2)
F.interpolate(img, size=(5, 4))
F.interpolate(img, scale_factor=2, mode='bilinear')
F.interpolate(img, size=(5, 10), mode='bilinear', align_corners=True)
F.interpolate(img, size=(4, 3), mode='bilinear', antialias=True)
F.interpolate(img, size=(12, 5), mode='bicubic')
F.interpolate(img, size=(12, 5), mode='bicubic', align_corners=True)
F.interpolate(img, size=(3, 3), mode='area')
F.interpolate(seq, scale_factor=2, mode='linear')
F.interpolate(vol, scale_factor=2, mode='trilinear')
F.interpolate(img, size=(5, 4), mode='nearest-exact')
F.interpolate(img, scale_factor=0.5, mode='bilinear', recompute_scale_factor=True)
F.grid_sample(img, torch.linspace(-1.1, 1.1, 36).reshape(2, 3, 3, 2), align_corners=False)
F.grid_sample(img, torch.linspace(-1.1, 1.1, 36).reshape(2, 3, 3, 2), align_corners=True, padding_mode='border')
F.grid_sample(img, torch.linspace(-1.1, 1.1, 36).reshape(2, 3, 3, 2), align_corners=False, padding_mode='reflection')
F.grid_sample(img, torch.linspace(-1.1, 1.1, 36).reshape(2, 3, 3, 2), mode='nearest', align_corners=False)
F.grid_sample(img, torch.linspace(-1.1, 1.1, 36).reshape(2, 3, 3, 2), mode='bicubic', align_corners=False)
F.affine_grid(torch.linspace(-1, 1, 12).reshape(2, 2, 3), (2, 3, 4, 5), align_corners=False)
F.affine_grid(torch.linspace(-1, 1, 12).reshape(2, 2, 3), (2, 3, 4, 5), align_corners=True)
F.pixel_shuffle(torch.arange(64.).reshape(1, 4, 4, 4), 2)
F.pixel_unshuffle(img[:, :, :, :6], 2)
F.channel_shuffle(torch.arange(24.).reshape(1, 6, 2, 2), 3)
F.upsample(img, scale_factor=2)
F.scaled_dot_product_attention(T, T, T)
F.scaled_dot_product_attention(T, T, T, is_causal=True)
F.scaled_dot_product_attention(T, T, T, attn_mask=torch.ones(5, 5, dtype=torch.bool).tril())
F.scaled_dot_product_attention(T, T, T, attn_mask=torch.linspace(-1, 1, 25).reshape(5, 5), scale=0.3)
F.ctc_loss(F.log_softmax(torch.linspace(-1, 1, 60).reshape(5, 3, 4).cos(), 2), torch.tensor([[1, 2], [3, 1], [2, 2]]), torch.tensor([5, 5, 5]), torch.tensor([2, 2, 2]))
F.dropout(x, 0.5, False)
F.dropout(x, 0.0)
"""

ERRORS = """
torch.zeros(2, 3) + torch.zeros(4)
torch.zeros(2, 3) @ torch.zeros(2, 3)
torch.zeros(2, 3).view(5)
torch.zeros(2, 3).reshape(4, 2)
torch.zeros(3)[5]
torch.zeros(3)[0, 0]
torch.zeros(2, 3).sum(5)
torch.zeros(2).gather(0, torch.tensor([3]))
torch.zeros(2, 3).index_select(0, torch.tensor([9]))
torch.cat([torch.zeros(2), torch.zeros(2, 2)])
torch.cat([])
torch.stack([torch.zeros(2), torch.zeros(3)])
torch.zeros(-1)
torch.arange(0, 5, 0)
torch.arange(0, 5, -1)
torch.tensor([[1, 2], [3]])
torch.tensor('a')
torch.zeros(2, 3).t().view(-1)
torch.zeros(2, 2, 2).t()
torch.zeros(3).expand(2)
torch.zeros(2, 3).permute(0, 0)
torch.zeros(2).squeeze(3)
torch.zeros(2).unsqueeze(5)
torch.zeros(0).max()
torch.zeros(0).argmax()
torch.zeros(2, dtype=torch.int64).mean()
torch.zeros(2, requires_grad=True).numpy()
torch.zeros(2, dtype=torch.int64, requires_grad=True)
torch.zeros(2, requires_grad=True).add_(1)
torch.zeros(2).backward()
torch.zeros(2, requires_grad=True).exp().backward()
bool(torch.zeros(2))
int(torch.zeros(2))
torch.zeros(2).item()
torch.ones(2, dtype=torch.int64).add_(1.5)
torch.zeros(2).add_(torch.zeros(3))
torch.zeros(2).copy_(torch.zeros(3))
torch.zeros(1, 3).expand(2, 3).add_(1)
torch.ones(2, dtype=torch.bool) - torch.ones(2, dtype=torch.bool)
-torch.ones(2, dtype=torch.bool)
torch.add("a", 2)
torch.add(torch.ones(2), 'a')
torch.ones(2).foo()
torch.ones(2, 3).scatter(1, torch.tensor([[5]]), 1.0)
torch.zeros(2, 3).topk(7)
F.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 5]))
F.cross_entropy(torch.zeros(2, 3), torch.tensor([0]))
F.conv2d(torch.zeros(1, 3, 4, 4), torch.zeros(2, 4, 3, 3))
F.max_pool2d(torch.zeros(1, 1, 2, 2), 5)
F.embedding(torch.tensor([5]), torch.zeros(3, 2))
F.layer_norm(torch.zeros(2, 3), (4,))
F.linear(torch.zeros(2, 3), torch.zeros(4, 5))
torch.einsum('ij,jk->ik', torch.zeros(2, 3), torch.zeros(4, 5))
torch.zeros(2, 3).unfold(0, 5, 1)
torch.nn.Linear(2, 3)(torch.zeros(4, 5))
torch.bmm(torch.zeros(2, 3), torch.zeros(3, 4))
torch.zeros(2, 3).narrow(0, 1, 5)
torch.zeros(4).split([1, 2])
torch.zeros(4).chunk(0)
torch.linspace(0, 1, -1)
torch.eye(-1)
torch.zeros(2)[[True, False, True]]
torch.zeros(3).masked_select(torch.zeros(2, dtype=torch.bool))
torch.zeros(3)[::-1]
len(torch.tensor(1.0))
torch.zeros(2, 3).unflatten(1, (2, 2))
torch.full((2,), 1 << 70)
torch.from_numpy([1, 2])
"""

GROUPS = {
    "pointwise": POINTWISE, "reductions": REDUCTIONS, "views": VIEWS, "indexing": INDEXING, "creation": CREATION,
    "linear": LINEAR, "neural": NEURAL, "names": NAMES, "errors": ERRORS + NAME_ERRORS,
}  # fmt: skip


def cases(group: str) -> list[str]:
    """The group's expressions."""
    return [line for line in GROUPS[group].strip().splitlines() if line]


def inputs(expression: str) -> dict[str, np.ndarray]:
    """Arrays for the names the expression uses."""
    r = np.random.default_rng(zlib.crc32(expression.encode()))
    text = re.sub(r"'[^']*'", "", expression)
    names = re.findall(r"(?<![\w.])[A-Za-z]\w*(?!\w*\s*=[^=])", text)
    return {n: INPUTS[n](r) for n in INPUTS if n in names}


def strided(a: np.ndarray) -> np.ndarray:
    """The same values in memory with gaps and another order of dimensions."""
    if a.ndim == 0:
        return a
    wide = np.zeros(tuple(reversed([2 * n for n in a.shape])), a.dtype)
    view = wide.T[tuple(slice(0, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def flatten(value) -> list:
    """Everything in a result: tensors and plain values, in order."""
    if isinstance(value, (tuple, list)) and not type(value).__name__ == "Size":
        return [leaf for v in value for leaf in flatten(v)]
    return [value]


def plain(value) -> str:
    """A result that is no tensor, as text."""
    return f"torch.Size({list(value)})" if type(value).__name__ == "Size" else repr(value)


def evaluate(torch, expression: str, arrays: dict, gradients: bool = True) -> dict:
    """{"0": array, "0.dtype": ..., "grad.x": array} of an expression, or {"error": type name}."""
    tensors = {}
    for name, a in arrays.items():
        t = torch.from_numpy(a)
        tensors[name] = t.requires_grad_() if gradients and a.dtype.kind in "fc" else t
    scope = {"torch": torch, "F": torch.nn.functional, "np": np, **tensors}
    try:
        result = eval(expression, scope)  # noqa: S307 - our own table
    except Exception as e:
        return {"error": type(e).__name__, "text": str(e)}
    out: dict = {}
    loss = None
    for i, v in enumerate(flatten(result)):
        if not isinstance(v, torch.Tensor):
            out[f"{i}.plain"] = plain(v)
            continue
        out[f"{i}.dtype"] = str(v.dtype).replace("flambeau.", "torch.")
        out[f"{i}.shape"] = str(list(v.shape))
        w = v.detach()
        out[str(i)] = (w.float() if w.dtype is torch.bfloat16 else w).numpy(force=True).copy()
        if gradients and v.requires_grad:
            weight = torch.from_numpy(np.cos(np.arange(v.numel())).astype(np.float64)).reshape(v.shape)
            part = (v.abs() if v.is_complex() else v) * weight.to(v.dtype if not v.is_complex() else torch.float32)
            loss = part.sum() if loss is None else loss + part.sum()
    if loss is not None:
        try:
            loss.backward()
        except (RuntimeError, NotImplementedError) as e:
            return out | {"grad.error": type(e).__name__}
        for name, t in tensors.items():
            if t.requires_grad and t.grad is not None:
                out[f"grad.{name}"] = t.grad.numpy(force=True).copy()
    return out
