"""Single operations, flambeau beside PyTorch: python benchmarks/micro.py [name or group ...] [--threads N]

One process runs both, alternating round by round on the same threads. Columns: microseconds of each side (medians), the ratio
(PyTorch / flambeau; above 1 flambeau is faster), and what flambeau reaches in GB/s or GFLOP/s. Names may be cut short: "sum"
is every operation whose name starts with it; groups are in GROUPS.
"""

from __future__ import annotations

import pairs

M = 1 << 20
GB = {"float32": 4, "float64": 8, "bfloat16": 2, "int64": 8}


def basics(t):
    """What every layer of flambeau shows up in: small and large, memory and arithmetic."""
    F = t.nn.functional
    small, small2 = t.randn(1000), t.randn(1000)
    tracked = t.randn(1000, requires_grad=True)
    x, y = t.randn(M), t.randn(M)
    big, m = t.randn(8 * M), t.randn(1024, 1024)
    image, kernel = t.randn(16, 64, 56, 56), t.randn(64, 64, 3, 3)
    return {
        "add 1000": (lambda: small + small2, 0, 0),
        "add 1000 recorded": (lambda: tracked + small2, 0, 0),
        "add 1M": (lambda: x + y, 12 * M, 0), "mul 8M": (lambda: big * 2.0, 64 * M, 0),
        "softmax": (lambda: m.softmax(1), 8 * M, 0), "layer_norm": (lambda: F.layer_norm(m, (1024,)), 8 * M, 0),
        "matmul 128": (lambda: m[:128, :128] @ m[:128, :128], 0, 2 * 128**3),
        "matmul 512": (lambda: m[:512, :512] @ m[:512, :512], 0, 2 * 512**3), "matmul 1024": (lambda: m @ m, 0, 2 * 1024**3),
        "conv 3x3": (lambda: F.conv2d(image, kernel, padding=1), 0, 2 * 16 * 64 * 64 * 9 * 56 * 56),
        "max_pool": (lambda: F.max_pool2d(image, 2), 4 * 16 * 64 * 56 * 56, 0),
    }  # fmt: skip


def arithmetic(t):
    """Pointwise arithmetic: bound by memory."""
    x, y = t.randn(M), t.randn(M)
    big, big2, huge = t.randn(8 * M), t.randn(8 * M), t.randn(20 * M)
    m, row, column = t.randn(1024, 1024), t.randn(1024), t.randn(1024, 1)
    wide, half, whole = t.randn(M, dtype=t.float64), t.randn(M).to(t.bfloat16), t.randint(1, 100, (M,))
    positive, mask = x.abs() + 0.1, x > 0
    return {
        "sub 1M": (lambda: x - y, 12 * M, 0), "mul 1M": (lambda: x * y, 12 * M, 0), "div 1M": (lambda: x / y, 12 * M, 0),
        "add 8M": (lambda: big + big2, 96 * M, 0), "add 20M": (lambda: huge + 1.0, 160 * M, 0),
        "add_ 8M": (lambda: big.add_(big2, alpha=0.0), 96 * M, 0), "addcmul 1M": (lambda: t.addcmul(x, x, y), 12 * M, 0),
        "add row": (lambda: m + row, 8 * M, 0), "add column": (lambda: m + column, 8 * M, 0),
        "add transposed": (lambda: m + m.t(), 12 * M, 0),
        "relu 1M": (lambda: x.relu(), 8 * M, 0), "clamp 1M": (lambda: x.clamp(-1, 1), 8 * M, 0),
        "abs 1M": (lambda: x.abs(), 8 * M, 0), "sqrt 1M": (lambda: positive.sqrt(), 8 * M, 0),
        "square 1M": (lambda: x**2, 8 * M, 0), "where 1M": (lambda: t.where(mask, x, y), 13 * M, 0),
        "less 1M": (lambda: x < y, 9 * M, 0), "maximum 1M": (lambda: t.maximum(x, y), 12 * M, 0),
        "lerp 1M": (lambda: t.lerp(x, y, 0.3), 12 * M, 0), "floor 1M": (lambda: x.floor(), 8 * M, 0),
        "masked_fill 1M": (lambda: x.masked_fill(mask, 0.0), 9 * M, 0),
        "add float64 1M": (lambda: wide + wide, 16 * M, 0), "mul bfloat16 1M": (lambda: half * half, 4 * M, 0),
        "add int64 1M": (lambda: whole + whole, 16 * M, 0), "mul int64 1M": (lambda: whole * whole, 16 * M, 0),
        "div int64 1M": (lambda: whole // 7, 16 * M, 0), "to float64 1M": (lambda: x.double(), 12 * M, 0),
        "to bfloat16 1M": (lambda: x.to(t.bfloat16), 6 * M, 0), "to float32 1M": (lambda: half.float(), 6 * M, 0),
        "to int64 1M": (lambda: x.long(), 12 * M, 0), "zeros 8M": (lambda: t.zeros(8 * M), 32 * M, 0),
        "arange 1M": (lambda: t.arange(M), 8 * M, 0),
    }  # fmt: skip


def maths(t):
    """Elementary functions: bound by arithmetic."""
    F = t.nn.functional
    x, y, wide = t.randn(M), t.randn(M).abs() + 0.1, t.randn(M, dtype=t.float64)
    half = t.randn(M).to(t.bfloat16)
    chain = {"gelu chain 1M": lambda: 0.5 * x * (1 + t.tanh(0.79788456 * (x + 0.044715 * x * x * x)))}
    each = {
        "exp": lambda: x.exp(), "log": lambda: y.log(), "tanh": lambda: x.tanh(), "sigmoid": lambda: x.sigmoid(),
        "gelu": lambda: F.gelu(x), "gelu tanh": lambda: F.gelu(x, approximate="tanh"), "silu": lambda: F.silu(x),
        "erf": lambda: x.erf(), "sin": lambda: x.sin(), "cos": lambda: x.cos(), "log1p": lambda: y.log1p(),
        "expm1": lambda: x.expm1(), "pow": lambda: y**1.7, "rsqrt": lambda: y.rsqrt(), "atan": lambda: x.atan(),
        "softplus": lambda: F.softplus(x), "elu": lambda: F.elu(x), "mish": lambda: F.mish(x), "tan": lambda: x.tan(),
        "exp2": lambda: x.exp2(), "log2": lambda: y.log2(),
    }  # fmt: skip
    wides = {"exp float64": lambda: wide.exp(), "tanh float64": lambda: wide.tanh(), "sin float64": lambda: wide.sin()}
    halves = {"exp bfloat16": lambda: half.exp(), "gelu bfloat16": lambda: F.gelu(half)}
    table = {f"{name} 1M": (fn, 8 * M, 0) for name, fn in each.items()}
    table |= {f"{name} 1M": (fn, 16 * M, 0) for name, fn in wides.items()}
    table |= {f"{name} 1M": (fn, 4 * M, 0) for name, fn in halves.items()}
    return table | {name: (fn, 8 * M, 0) for name, fn in chain.items()}


def reductions(t):
    """Reductions and scans."""
    x, m, big = t.randn(M), t.randn(1024, 1024), t.randn(8 * M)
    tall, wide, whole = t.randn(65536, 16), t.randn(M, dtype=t.float64), t.randint(0, 100, (M,))
    mask, half = x > 3, t.randn(M).to(t.bfloat16)
    table = {"sum 8M": (lambda: big.sum(), 32 * M, 0), "mean 20M": (lambda y=t.randn(20 * M): y.mean(), 80 * M, 0)}
    for name in ("sum", "mean", "amax", "max", "argmax", "var", "norm", "prod"):
        table[f"{name} 1M"] = (lambda f=getattr(x, name): f(), 4 * M, 0)
        table[f"{name} columns"] = (lambda f=getattr(m, name): f(dim=0), 4 * M, 0)
        table[f"{name} rows"] = (lambda f=getattr(m, name): f(dim=1), 4 * M, 0)
    return table | {
        "sum short rows": (lambda: tall.sum(1), 4 * M, 0), "sum tall columns": (lambda: tall.sum(0), 4 * M, 0),
        "sum float64 1M": (lambda: wide.sum(), 8 * M, 0), "sum int64 1M": (lambda: whole.sum(), 8 * M, 0),
        "sum bfloat16 1M": (lambda: half.sum(), 2 * M, 0), "any 1M": (lambda: mask.any(), M, 0), "all 1M": (lambda: mask.all(), M, 0),
        "count_nonzero 1M": (lambda: mask.count_nonzero(), M, 0), "logsumexp rows": (lambda: m.logsumexp(1), 4 * M, 0),
        "cumsum rows": (lambda: m.cumsum(1), 8 * M, 0), "cumsum columns": (lambda: m.cumsum(0), 8 * M, 0),
        "cumsum 1M": (lambda: x.cumsum(0), 8 * M, 0), "cumprod rows": (lambda: m.cumprod(1), 8 * M, 0),
        "cummax rows": (lambda: m.cummax(1), 16 * M, 0), "median 1M": (lambda: x.median(), 4 * M, 0),
    }  # fmt: skip


def movement(t):
    """Copies, joining, indexing."""
    x, m, big = t.randn(M), t.randn(1024, 1024), t.randn(8 * M)
    images, square = t.randn(16, 64, 32, 32), t.randn(4096, 1024)
    rows, columns = t.randint(0, 1024, (4096,)), t.randint(0, 1024, (1024, 1024))
    flat, mask, source = t.randint(0, M, (M,)), x > 0, t.randn(4096, 1024)
    return {
        "clone 8M": (lambda: big.clone(), 64 * M, 0), "transpose": (lambda: m.t().contiguous(), 8 * M, 0),
        "transpose 4096": (lambda: square.t().contiguous(), 32 * M, 0),
        "NCHW to NHWC": (lambda: images.permute(0, 2, 3, 1).contiguous(), 8 * M, 0),
        "NHWC to NCHW": (lambda y=images.permute(0, 2, 3, 1).contiguous(): y.permute(0, 3, 1, 2).contiguous(), 8 * M, 0),
        "slice columns": (lambda: m[:, :512].contiguous(), 4 * M, 0), "flip": (lambda: m.flip(1), 8 * M, 0),
        "cat rows": (lambda: t.cat((m, m), 0), 16 * M, 0), "cat columns": (lambda: t.cat((m, m), 1), 16 * M, 0),
        "stack": (lambda: t.stack((m, m, m, m), 0), 32 * M, 0), "stack last": (lambda: t.stack((x, x), 1), 16 * M, 0),
        "roll": (lambda: m.roll(3, 1), 8 * M, 0), "repeat": (lambda: m.repeat(2, 2), 20 * M, 0), "tril": (lambda: m.tril(), 8 * M, 0),
        "index rows": (lambda: m[rows], 32 * M, 0), "index_select rows": (lambda: m.index_select(0, rows), 32 * M, 0),
        "index_select columns": (lambda: square.index_select(1, rows[:1024]), 32 * M, 0),
        "index elements": (lambda: x[flat], 16 * M, 0), "take": (lambda: x.take(flat), 16 * M, 0),
        "index pairs": (lambda: m[rows, rows], 0, 0), "index put rows": (lambda: m.index_put((rows,), source), 0, 0),
        "index_add rows": (lambda: m.index_add(0, rows, source), 0, 0),
        "gather rows": (lambda: m.gather(1, columns), 16 * M, 0), "gather columns": (lambda: m.gather(0, columns), 16 * M, 0),
        "scatter rows": (lambda: m.scatter(1, columns, m), 0, 0),
        "scatter_add rows": (lambda: m.scatter_add(1, columns, m), 0, 0),
        "scatter_add columns": (lambda: m.scatter_add(0, columns, m), 0, 0),
        "masked select 1M": (lambda: x[mask], 7 * M, 0), "nonzero 1M": (lambda: mask.nonzero(), 5 * M, 0),
        "mask assign 1M": (lambda: x.__setitem__(mask, 0.5), 5 * M, 0),
        "one_hot": (lambda: t.nn.functional.one_hot(rows, 1024), 32 * M, 0),
    }  # fmt: skip


def ordering(t):
    """Sorting, selecting, counting."""
    x, m, whole = t.randn(M), t.randn(1024, 1024), t.randint(0, 1000, (M,))
    edges = t.linspace(-3, 3, 1000)
    return {
        "sort 1M": (lambda: x.sort(), 0, 0), "sort rows": (lambda: m.sort(1), 0, 0), "sort columns": (lambda: m.sort(0), 0, 0),
        "argsort 1M": (lambda: x.argsort(), 0, 0), "sort int64 1M": (lambda: whole.sort(), 0, 0),
        "sort descending 1M": (lambda: x.sort(descending=True), 0, 0),
        "topk rows 10": (lambda: m.topk(10), 0, 0), "topk rows 100": (lambda: m.topk(100), 0, 0),
        "topk 1M 10": (lambda: x.topk(10), 0, 0), "topk 1M 1000": (lambda: x.topk(1000), 0, 0),
        "kthvalue rows": (lambda: m.kthvalue(500, 1), 0, 0), "median rows": (lambda: m.median(1), 0, 0),
        "unique 1M": (lambda: whole.unique(), 0, 0), "unique float 1M": (lambda: x.unique(), 0, 0),
        "bincount 1M": (lambda: whole.bincount(), 0, 0), "searchsorted 1M": (lambda: t.searchsorted(edges, x), 0, 0),
        "histc 1M": (lambda: x.histc(100), 0, 0),
    }  # fmt: skip


def random(t):
    """Random numbers."""
    p = t.rand(M)
    return {
        "randn 1M": (lambda: t.randn(M), 4 * M, 0), "rand 1M": (lambda: t.rand(M), 4 * M, 0),
        "rand 8M": (lambda: t.rand(8 * M), 32 * M, 0), "randint 1M": (lambda: t.randint(0, 100, (M,)), 8 * M, 0),
        "randperm 1M": (lambda: t.randperm(M), 8 * M, 0), "bernoulli 1M": (lambda: p.bernoulli(), 8 * M, 0),
        "bernoulli number 1M": (lambda: t.bernoulli(p, 0.5), 8 * M, 0), "exponential 1M": (lambda: p.clone().exponential_(), 0, 0),
        "dropout 1M": (lambda: t.nn.functional.dropout(p, 0.5), 8 * M, 0), "normal 1M": (lambda: t.normal(p, p), 12 * M, 0),
        "multinomial": (lambda: p.multinomial(1000, True), 0, 0), "randn float64 1M": (lambda: t.randn(M, dtype=t.float64), 8 * M, 0),
    }  # fmt: skip


def sparse(t):
    """Sparse matrices (100,000 values in 10,000 x 10,000), and steps of optimizers with sparse gradients of a table."""
    n, kept = 10_000, 100_000
    s = t.sparse_coo_tensor(t.randint(0, n, (2, kept)), t.randn(kept), (n, n))
    c, x, rows = s.coalesce(), t.randn(n, 64), t.randint(0, 200_000, (4096,))
    tracked = x.clone().requires_grad_()

    def training(name: str):
        table = t.nn.Embedding(200_000, 64, sparse=True)
        optimizer = getattr(t.optim, name)(table.parameters(), lr=0.01)

        def step():
            optimizer.zero_grad()
            table(rows).sum().backward()
            optimizer.step()

        return step

    return {
        "sparse mm": (lambda: c @ x, 0, 2 * 64 * kept), "sparse mm and back": (lambda: (c @ tracked).sum().backward(), 0, 0),
        "sparse coalesce": (lambda: s.coalesce(), 0, 0), "sparse to_dense": (lambda: c.to_dense(), 4 * n * n, 0),
        "sparse scaled": (lambda: c * 2, 8 * kept, 0), "sparse embedding SGD": (training("SGD"), 0, 0),
        "sparse embedding SparseAdam": (training("SparseAdam"), 0, 0), "sparse embedding Adagrad": (training("Adagrad"), 0, 0),
    }  # fmt: skip


GROUPS = {f.__name__: f for f in (basics, arithmetic, maths, reductions, movement, ordering, random, sparse)}


def operands(t, groups=GROUPS):
    """Name -> (function, bytes moved, floating point operations)."""
    return {name: entry for group in groups for name, entry in GROUPS[group](t).items()}


def measure(sides: dict, seconds: float, names=()):
    """(name, summary, bytes, operations) of each operation; a side is a library, or a dict like what `operands` gives."""
    groups = [g for g in GROUPS if g in names]
    starts = tuple(n for n in names if n not in GROUPS)
    which = groups if names and not starts else GROUPS
    tables = {side: t if isinstance(t, dict) else operands(t, which) for side, t in sides.items()}
    chosen = {name for g in groups for name in operands(sides["flambeau"], [g])} if groups and starts else None
    for name, (_, moved, work) in tables["flambeau"].items():
        if not starts or name.startswith(starts) or chosen and name in chosen:
            fns = {side: table[name][0] for side, table in tables.items() if name in table}
            yield name, pairs.summary(pairs.interleaved(fns, seconds, 0.01)), moved, work


if __name__ == "__main__":
    pairs.main(__doc__, measure)
