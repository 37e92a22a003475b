"""What is no op of the table by name, or reaches ops that have none in public: methods, indexing, namespaces."""

LINES = """
x.view(4, 3) => x.reshape(4, 3) # dense
x.t().reshape(3, 4) => x.T.reshape(3, 4)
x.permute(1, 0) => x.T
v.expand(3, 4) => np.broadcast_to(v, (3, 4))
x[:, None].squeeze(1) => x
x[:, None].squeeze() => x
x[1:, ::2] => x[1:, ::2]
x[j2, 1] => x[j2, 1]
x[j] => x[j]
x[m] => x[m]
n[j2[:, None], j2[None]] => n[j2[:, None], j2[None]]
x.index_put((j2,), y) => R.put(x, j2, y)
x.index_put((j,), T.cat([y, y])[:5], True) => x + R.scatter(0 * x, 0, np.repeat(j[:, None], 4, 1), np.concatenate([y, y])[:5], np.add)
z.real => z.real
z.imag => z.imag
x.view(T.int64) => x.view(np.int64) # dense f64 fixed
x.split(2, 1)[1] => x[:, 2:]
x.repeat(2, 1) => np.tile(x, (2, 1))
x.expand_as(t) => np.broadcast_to(x, (2, 3, 4))
T.where(m, x, y) => np.where(m, x, y)
T.einsum('ij,jk->ki', x, B) => (x @ B).T
T.linalg.eig(A)[0].abs().sort()[0] => np.sort(np.abs(np.linalg.eigvals(A))) # f64 fixed nograd
T.linalg.eigvalsh(S + S.mT) => np.linalg.eigvalsh(2 * S) # f64 fixed
T.linalg.svdvals(B) => np.linalg.svd(B, compute_uv=False) # f64 fixed
T.linalg.solve(A, B) => np.linalg.solve(A, B) # f64 fixed
T.linalg.cholesky(S + S.mT) => np.linalg.cholesky(2 * S) # f64 fixed
T.linalg.lu_factor(A)[0] => R.lu(A) # f64 fixed nograd
T.linalg.matrix_exp(x[:3, :3]) => R.matrix_exp(x[:3, :3]) # f64 fixed
T.linalg.pinv(B) => np.linalg.pinv(B) # f64 fixed
T.linalg.lstsq(B, x.t()).solution => np.linalg.lstsq(B, x.T)[0] # f64 fixed
T.linalg.matrix_norm(x) => np.linalg.norm(x) # single
T.linalg.multi_dot([x, B, x]) => x @ B @ x # single
T.linalg.matrix_power(A, 3) => A @ A @ A # f64
T.nn.functional.conv2d(img, k2).sum() => R.conv(img, k2).sum() # single loose
T.nn.functional.embedding(i, W).sum(1) => W[i].sum(1)
T.special.entr(q) => -q * np.log(q)
T.special.polygamma(1, q) => sp.polygamma(1, q)
T.fft.fftshift(x) => np.fft.fftshift(x)
T.rnn_tanh(t, h[None], [G[:5], H[:5], b20[:5], b20[5:10]], True, 1, 0.0, False, False, False)[0] => R.steps(t, h, lambda x, h: np.tanh(x @ G[:5].T + h @ H[:5].T + b20[:5] + b20[5:10])) # single
T.lstm(t, (h[None], h[None].tanh()), [G, H], False, 1, 0.0, False, False, False)[0] => R.steps(t, (h, np.tanh(h)), lambda x, s: R.lstm(x, *s, G, H, 0)) # single
T.gru(t, h[None], [G[:15], H[:15]], False, 1, 0.0, False, False, False)[0] => R.steps(t, h, lambda x, h: R.gru(x, h, G[:15], H[:15], 0, 0)) # single
"""
