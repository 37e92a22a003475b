"""Sums, extremes, scans, order."""

LINES = """
sum(t) => t.sum()
sum(t, (0, 2), keepdim=True) => t.sum((0, 2), keepdims=True)
sum(e, 0) => np.zeros(4)
sum(s) => s
sum(n, 1) => n.sum(1)
sum(m) => m.sum()
sum(z, 0) => z.sum(0)
sum(n, 1, dtype=T.float64) => n.sum(1).astype(float)
nansum(t / t.abs().sqrt().floor(), 1) => np.nansum(t / np.floor(np.sqrt(np.abs(t))), 1) # nograd
nansum(t, 1) => t.sum(1)
mean(t, 1) => t.mean(1)
mean(z) => z.mean()
nanmean(t, 2) => t.mean(2)
prod(x, 1) => x.prod(1)
prod(x) => x.prod() # loose
prod(e, 0) => np.ones(4)
prod(k, 0) => k.prod(0)
amax(c, 1) => c.max(1) # kink
amax(n, (0, 1)) => n.max()
amin(c, (0, 2)) => c.min((0, 2)) # kink
max(c, 1) => (c.max(1), c.argmax(1)) # kink
max(c) => c.max() # kink
max(x, y) => np.maximum(x, y) # kink
min(c, 2, keepdim=True) => (c.min(2, keepdims=True), c.argmin(2)[..., None]) # kink
min(n) => n.min()
aminmax(c, dim=1) => (c.min(1), c.max(1)) # kink
argmax(c) => c.argmax()
argmax(c, 1, keepdim=True) => c.argmax(1)[:, None]
argmin(c, 0) => c.argmin(0)
any(m, 1) => m.any(1)
any(n) => n.any()
all(m, 0) => m.all(0)
all(k) => k.all()
count_nonzero(n, 1) => np.count_nonzero(n, 1)
count_nonzero(e) => 0
var(t, 1) => t.var(1, ddof=1)
var(t, (0, 2), correction=0) => t.var((0, 2))
std(t, 2) => t.std(2, ddof=1)
std(x, unbiased=False) => x.std()
var_mean(t, 1) => (t.var(1, ddof=1), t.mean(1))
std_mean(t, 2) => (t.std(2, ddof=1), t.mean(2))
vector_norm(x) => np.sqrt((x * x).sum())
vector_norm(x, 3.0, dim=1) => (np.abs(x) ** 3).sum(1) ** (1 / 3)
vector_norm(x, float('inf'), 0) => np.abs(x).max(0) # kink
vector_norm(z, 2, 1) => np.sqrt((np.abs(z) ** 2).sum(1))
norm(x, dim=1) => np.sqrt((x * x).sum(1))
norm(x, 1) => np.abs(x).sum()
norm(x, 'fro') => np.sqrt((x * x).sum())
dist(x, y, 2) => np.sqrt(((x - y) ** 2).sum())
dist(x, y, 1) => np.abs(x - y).sum() # kink
renorm(x, 2, 0, 1.0) => x * np.minimum(1, 1 / (np.sqrt((x * x).sum(1, keepdims=True)) + 1e-7)) # kink
logsumexp(x, 1) => np.log(np.exp(x).sum(1))
logsumexp(t, (0, 2), keepdim=True) => np.log(np.exp(t).sum((0, 2), keepdims=True))
cumsum(t, 1) => t.cumsum(1)
cumsum(n, 0) => n.cumsum(0)
cumsum(e, 1) => e
cumprod(x, 1) => x.cumprod(1)
cumprod(k, 0) => k.cumprod(0)
logcumsumexp(x, 1) => np.log(np.exp(x).cumsum(1))
cummax(a, 1) => (np.maximum.accumulate(a, 1), R.where_accumulated(a, np.maximum)) # kink
cummin(a, 1) => (np.minimum.accumulate(a, 1), R.where_accumulated(a, np.minimum)) # kink
trapezoid(x, dim=1) => np.trapezoid(x, axis=1)
trapezoid(x, q.cumsum(1), dim=1) => np.trapezoid(x, q.cumsum(1), axis=1)
cumulative_trapezoid(x, dx=0.5, dim=1) => ((x[:, 1:] + x[:, :-1]) / 2 * 0.5).cumsum(1)
diff(x) => np.diff(x)
diff(n, 2, 1) => np.diff(n, 2, 1)
diff(x, dim=0, prepend=y) => np.diff(x, axis=0, prepend=y)
trace(A) => np.trace(A) # single
trace(n) => np.trace(n)
sum_to_size(x, (3, 1)) => x.sum(1, keepdims=True)
sort(a, 1) => (np.sort(a, 1), np.argsort(a, 1)) # kink
sort(a, 0, True) => (-np.sort(-a, 0), np.argsort(-a, 0)) # kink
sort(n, 1, stable=True) => (np.sort(n, 1), np.argsort(n, 1, kind='stable'))
argsort(a) => np.argsort(a)
argsort(a, descending=True) => np.argsort(-a)
msort(a) => np.sort(a, 0) # kink
topk(a, 2) => (-np.sort(-a)[:, :2], np.argsort(-a)[:, :2]) # kink
topk(a, 3, 1, largest=False) => (np.sort(a)[:, :3], np.argsort(a)[:, :3]) # kink
kthvalue(a, 2, 1) => (np.sort(a, 1)[:, 1], np.argsort(a, 1)[:, 1]) # kink
median(a, 1) => (np.sort(a, 1)[:, 2], np.argsort(a, 1)[:, 2]) # kink
median(a) => np.sort(a, None)[7] # kink
nanmedian(a, 0) => (np.sort(a, 0)[1], np.argsort(a, 0)[1]) # kink
nanmedian(a) => np.sort(a, None)[7] # kink
mode(n, 1) => R.mode(n)
quantile(a, 0.3, dim=1) => np.quantile(a, 0.3, axis=1) # single kink
quantile(a, 0.5, interpolation='lower') => np.quantile(a, 0.5, method='lower') # single kink
nanquantile(a, 0.7, dim=0) => np.nanquantile(a, 0.7, axis=0) # single kink
unique(n) => np.unique(n)
unique(n, return_inverse=True, return_counts=True) => R.unique(n) # noout
unique_consecutive(k.flatten().sort()[0]) => np.unique(k)
cov(x) => np.cov(x) # single
cov(x, correction=0) => np.cov(x, ddof=0) # single
corrcoef(x) => np.corrcoef(x) # single loose
histc(l, 4, -2, 2) => np.histogram(l, 4, (-2, 2))[0].astype(float) # single nograd
histogram(l, 4) => (np.histogram(l, 4)[0].astype(float), np.histogram(l, 4)[1]) # single nograd noout
bincount(j) => np.bincount(j)
bincount(j, minlength=6) => np.bincount(j, minlength=6)
searchsorted(a.sort(1)[0], o) => R.searchsorted(np.sort(a, 1), o) # ties
searchsorted(l.sort()[0], x, right=True) => np.searchsorted(np.sort(l), x, 'right') # ties
bucketize(x, l.sort()[0]) => np.searchsorted(np.sort(l), x) # ties
isin(n, k) => np.isin(n, k)
isin(n, 2, invert=True) => ~np.isin(n, 2)
softmax(x, 1) => sp.softmax(x, 1)
softmax(t, 0) => sp.softmax(t, 0)
log_softmax(x, 1) => sp.log_softmax(x, 1)
softmin(x, 0) => sp.softmax(-x, 0)
softmax_backward(x, u, 1) => u * (x - (x * u).sum(1, keepdims=True)) # nograd
log_softmax_backward(x, q, 1) => x - np.exp(q) * x.sum(1, keepdims=True) # nograd
"""
