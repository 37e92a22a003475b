"""Gathering, scattering, masks."""

LINES = """
gather(x, 0, i) => np.take_along_axis(x, i, 0)
gather(n, 0, i) => np.take_along_axis(n, i, 0)
take_along_dim(x, i, 0) => np.take_along_axis(x, i, 0)
take_along_dim(x, i) => x.ravel()[i.ravel()]
scatter(x, 0, i2, y) => R.scatter(x, 0, i2, y)
scatter(x, 0, i2, 2.5) => R.scatter(x, 0, i2, np.full_like(x, 2.5))
scatter(x, 0, i, y, reduce='add') => R.scatter(x, 0, i, y, np.add) # nograd
scatter(n, 0, i2, k) => R.scatter(n, 0, i2, k)
scatter_add(x, 0, i, y) => R.scatter(x, 0, i, y, np.add)
scatter_add(n, 0, i, k) => R.scatter(n, 0, i, k, np.add)
scatter_reduce(x, 0, i, y, 'sum') => R.scatter(x, 0, i, y, np.add)
scatter_reduce(x, 0, i, y, 'prod') => R.scatter(x, 0, i, y, np.multiply)
scatter_reduce(x, 0, i, y, 'amax') => R.scatter(x, 0, i, y, np.maximum) # kink
scatter_reduce(x, 0, i2, y, 'amin', include_self=False) => R.scatter(x, 0, i2, y)
scatter_reduce(x, 0, i2, y, 'mean') => (x + R.scatter(0 * x, 0, i2, y)) / 2
index_select(x, 0, j) => x[j]
index_select(n, 1, j) => n[:, j]
index_add(x, 0, j2, y) => R.put(x, j2, x[j2] + y)
index_add(x, 0, j2, y, alpha=0.5) => R.put(x, j2, x[j2] + 0.5 * y)
index_copy(x, 0, j2, y) => R.put(x, j2, y)
index_fill(x, 0, j, 2.0) => R.put(x, j, 2.0)
index_fill(n, 1, j, 5) => R.put(n, np.s_[:, j], 5)
index_reduce(x, 0, j2, y, 'amax') => R.put(x, j2, np.maximum(x[j2], y)) # kink
index_reduce(x, 0, j2, y, 'prod') => R.put(x, j2, x[j2] * y)
index_reduce(x, 0, j2, y, 'mean', include_self=False) => R.put(x, j2, y)
take(x, i) => x.ravel()[i]
take(n, i) => n.ravel()[i]
put(x, i2, y) => R.put_flat(x, i2, y) # nograd
put(x, i, y, accumulate=True) => R.put_flat(x, i, y, True)
nonzero(n) => np.argwhere(n)
nonzero(m, as_tuple=True) => np.nonzero(m) # noout
nonzero(s) => np.zeros((1, 0), np.int64)
nonzero_static(m, size=12, fill_value=-1) => R.padded(np.argwhere(m), 12)
argwhere(m) => np.argwhere(m)
masked_select(x, m) => x[m]
masked_select(n, m) => n[m]
masked_scatter(x, m, y) => R.masked_scatter(x, m, y)
one_hot(lab, 5) => np.eye(5, dtype=np.int64)[lab]
embedding(i, W) => W[i]
embedding(i, W, padding_idx=1) => W[i] # nograd
embedding_bag(i, W, mode='sum') => W[i].sum(1)
embedding_bag(i, W, mode='mean') => W[i].mean(1)
embedding_bag(i, W, mode='max') => W[i].max(1) # kink
embedding_bag(i, W, mode='sum', per_sample_weights=p) => (W[i] * p[..., None]).sum(1)
embedding_bag(j, W, T.tensor([0, 2]), mode='mean') => np.stack([W[j[:2]].mean(0), W[j[2:]].mean(0)])
"""
