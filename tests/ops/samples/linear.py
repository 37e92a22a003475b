"""Products, linear algebra, transforms."""

LINES = """
mm(x, B) => x @ B # single
mm(x, B) => x @ B
mm(n, n.t()) => n @ n.T
mm(Z, Z) => Z @ Z
bmm(M, N) => M @ N
mv(x, v) => x @ v
dot(v, B[:, 0]) => v @ B[:, 0]
dot(n[0], k[0]) => n[0] @ k[0]
vdot(z[0], z2[0]) => np.vdot(z[0], z2[0])
inner(x, y) => np.inner(x, y)
outer(v, w) => np.outer(v, w)
matmul(M, N) => M @ N
matmul(x, v) => x @ v
matmul(v, B) => v @ B
matmul(t, B) => t @ B
matmul(n, k.t()) => n @ k.T
addmm(b3, x, B, beta=0.5, alpha=2) => 0.5 * b3 + 2 * x @ B
addmv(w, x, v, alpha=0.5) => w + 0.5 * x @ v
baddbmm(N, M, N) => N + M @ N
baddbmm(N, M, N, beta=0.3, alpha=0.5) => 0.3 * N + 0.5 * M @ N
addbmm(N[0], M, N) => N[0] + (M @ N).sum(0)
addr(x, w, v, beta=0.5) => 0.5 * x + np.outer(w, v)
linear(x, W) => x @ W.T
linear(t, W) => t @ W.T
linear(h, H, b20) => h @ H.T + b20
bilinear(x, h, N.reshape(2, 3, 5)[:, :1].expand(2, 4, 5)) => np.einsum('bi,kij,bj->bk', x, np.broadcast_to(N[:, :1], (2, 4, 5)), h)
tensordot(t, B, 1) => np.tensordot(t, B, 1)
tensordot(t, x, ([1, 2], [0, 1])) => np.tensordot(t, x, ([1, 2], [0, 1]))
kron(x, B) => np.kron(x, B)
cdist(x, y) => np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1)) # single
cdist(x, y, p=1.0) => np.abs(x[:, None] - y[None]).sum(-1) # single kink
cdist(x, y, p=3.0) => (np.abs(x[:, None] - y[None]) ** 3).sum(-1) ** (1 / 3) # single
pdist(x) => np.array([np.linalg.norm(x[a] - x[b]) for a in range(3) for b in range(a + 1, 3)]) # single fixed
inverse_of(A) => np.linalg.inv(A) # f64 fixed
inverse_of(Z) => np.linalg.inv(Z) # f64 fixed
solve_matrices(A, B) => np.linalg.solve(A, B) # f64 fixed
cholesky_lower(S) => np.linalg.cholesky(S) # f64 fixed nograd
det_of(A) => np.linalg.det(A) # f64 fixed
slogdet_of(A) => tuple(np.linalg.slogdet(A)) # f64 fixed
eigh_of(S, 'L') => R.eigh(S) # f64 fixed nograd
svd_of(B, False) => np.linalg.svd(B, full_matrices=False) # f64 fixed nograd
qr_of(B, 'reduced') => tuple(np.linalg.qr(B)) # f64 fixed
transform(z, (0, 1), False) => np.fft.fftn(z, axes=(0, 1)) # f64
transform(z, (1,), True) => np.fft.ifft(z, axis=1, norm='forward') # f64
fft_fft(z) => np.fft.fft(z) # single
fft_fft(x, 6, 0, 'ortho') => np.fft.fft(x, 6, 0, 'ortho') # single
fft_ifft(z) => np.fft.ifft(z) # single
fft_rfft(x) => np.fft.rfft(x) # single
fft_irfft(z) => np.fft.irfft(z) # single nograd
fft_irfft(z, 5) => np.fft.irfft(z, 5) # single nograd
fft_hfft(z, 6) => np.fft.hfft(z, 6) # single nograd
fft_ihfft(x) => np.fft.ihfft(x) # single
fft_fft2(z) => np.fft.fft2(z) # single
fft_ifft2(z) => np.fft.ifft2(z) # single
fft_rfft2(x) => np.fft.rfft2(x) # single
fft_irfft2(z) => np.fft.irfft2(z) # single nograd
fft_hfft2(z) => R.hfft2(z) # single nograd
fft_ihfft2(x) => R.ihfft2(x) # single
fft_fftn(t) => np.fft.fftn(t) # single
fft_ifftn(z) => np.fft.ifftn(z) # single
fft_rfftn(t, dim=(0, 1)) => np.fft.rfftn(t, axes=(0, 1)) # single
fft_irfftn(z) => np.fft.irfftn(z) # single nograd
fft_hfftn(z) => R.hfft2(z) # single nograd
fft_ihfftn(x) => R.ihfft2(x) # single
stft(l, 4, 2, window=T.ones(4, dtype=l.dtype), center=False, return_complex=True) => R.stft(l, 4, 2) # f64
istft(T.stft(l, 4, 2, window=T.hann_window(4, dtype=l.dtype), return_complex=True), 4, 2, window=T.hann_window(4, dtype=l.dtype)) => l # f64
"""
