"""Losses, norms, pooling, convolution, resampling, attention, recurrence, chance."""

LINES = """
mse_loss(x, y) => ((x - y) ** 2).mean()
mse_loss(x, y, reduction='none') => (x - y) ** 2
mse_loss(x, y, reduction='sum') => ((x - y) ** 2).sum()
l1_loss(x, y) => np.abs(x - y).mean() # kink
huber_loss(x, y, delta=0.7) => np.where(np.abs(x - y) <= 0.7, 0.5 * (x - y) ** 2, 0.7 * (np.abs(x - y) - 0.35)).mean() # kink
smooth_l1_loss(x, y, beta=0.5) => np.where(np.abs(x - y) < 0.5, (x - y) ** 2, np.abs(x - y) - 0.25).mean() # kink
binary_cross_entropy(u, m.to(u.dtype)) => -(m * np.log(u) + (1 - m) * np.log1p(-u)).mean()
binary_cross_entropy(u, p / 2, fixed) => -(fixed * (p / 2 * np.log(u) + (1 - p / 2) * np.log1p(-u))).mean()
binary_cross_entropy_with_logits(x, u) => ((1 - u) * x + np.log1p(np.exp(-x))).mean()
binary_cross_entropy_with_logits(x, u, fixed, pos_weight=fixed[0]) => (fixed * ((1 - u) * x + ((fixed[0] - 1) * u + 1) * np.log1p(np.exp(-x)))).mean()
kl_div(x, u, reduction='sum') => (u * (np.log(u) - x)).sum()
kl_div(x, y, reduction='batchmean', log_target=True) => (np.exp(y) * (y - x)).sum() / 3
nll_loss(x, lab) => -x[np.arange(3), lab].mean()
nll_loss(x, lab, fixed[0], reduction='sum') => -(x[np.arange(3), lab] * fixed[0][lab]).sum()
nll_loss(img, lab2) => -np.take_along_axis(img, lab2[:, None], 1).mean()
cross_entropy(x, lab) => -sp.log_softmax(x, 1)[np.arange(3), lab].mean()
cross_entropy(x, lab, label_smoothing=0.2) => R.smoothed(x, lab, 0.2)
cross_entropy(x, p) => -(p * sp.log_softmax(x, 1)).sum(1).mean()
cross_entropy(img, lab2, reduction='none') => -np.take_along_axis(sp.log_softmax(img, 1), lab2[:, None], 1)[:, 0]
ctc_loss(x.log_softmax(1)[:, None], T.tensor([[1, 2]]), T.tensor([3]), T.tensor([2]), reduction='sum') => R.ctc(sp.log_softmax(x, 1), [1, 2]) # single kink
layer_norm(x, (4,), v, v.flip(0)) => R.normalised(x, 1) * v + v[::-1]
layer_norm(t, (3, 4)) => R.normalised(t, (1, 2))
rms_norm(x, (4,), v, 1e-5) => x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-5) * v
group_norm(img, 2, v, v) => R.group_norm(img, 2, v, v)
batch_norm(img, None, None, v, v, training=True) => R.normalised(img, (0, 2, 3)) * R.channel(v, 4) + R.channel(v, 4)
batch_norm(img, v, v.abs(), training=False) => (img - R.channel(v, 4)) / np.sqrt(R.channel(np.abs(v), 4) + 1e-5) # nograd
instance_norm(img) => R.normalised(img, (2, 3))
local_response_norm(img, 3, alpha=0.5) => R.local_response_norm(img, 3, 0.5)
embedding_rows(W, i, -1, False) => W[i]
max_pool1d(seq, 3, 2) => R.pool(seq, (3,), (2,), np.max) # kink
max_pool1d_with_indices(seq, 3, 2) => R.max_pool(seq, (3,), (2,)) # kink
max_pool2d(img, 2) => R.pool(img, (2, 2), (2, 2), np.max) # kink
max_pool2d(img, 3, 2, 1) => R.pool(np.pad(img, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf), (3, 3), (2, 2), np.max) # kink
max_pool2d_with_indices(img, (3, 2), 1) => R.max_pool(img, (3, 2), (1, 1)) # kink
max_pool3d(vol, 2) => R.pool(vol, (2, 2, 2), (2, 2, 2), np.max) # kink
max_pool3d_with_indices(vol, 2) => R.max_pool(vol, (2, 2, 2), (2, 2, 2)) # kink
max_unpool1d(*T.nn.functional.max_pool1d(seq, 2, return_indices=True), 2) => R.unpooled(seq, 2) # fixed kink
max_unpool2d(*T.nn.functional.max_pool2d(img[..., :4], 2, return_indices=True), 2) => R.unpooled(img[..., :4], 2) # fixed kink
max_unpool3d(*T.nn.functional.max_pool3d(vol[..., :4, :], 2, return_indices=True), 2) => R.unpooled(vol[..., :4, :], 2) # fixed kink
avg_pool1d(seq, 3, 2) => R.pool(seq, (3,), (2,), np.mean)
avg_pool2d(img, 2, 1) => R.pool(img, (2, 2), (1, 1), np.mean)
avg_pool2d(img, 3, 2, 1) => R.pool(np.pad(img, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 2), np.mean)
avg_pool2d(img, 2, divisor_override=3) => R.pool(img, (2, 2), (2, 2), np.sum) / 3
avg_pool3d(vol, 2) => R.pool(vol, (2, 2, 2), (2, 2, 2), np.mean)
adaptive_avg_pool1d(seq, 3) => R.adaptive(seq, (3,), np.mean)
adaptive_avg_pool2d(img, (4, 2)) => R.adaptive(img, (4, 2), np.mean)
adaptive_avg_pool3d(vol, 2) => R.adaptive(vol, (2, 2, 2), np.mean)
adaptive_max_pool1d(seq, 3) => R.adaptive(seq, (3,), np.max) # kink
adaptive_max_pool1d_with_indices(seq, 3) => R.adaptive_max(seq, (3,)) # kink
adaptive_max_pool2d(img, (4, 2)) => R.adaptive(img, (4, 2), np.max) # kink
adaptive_max_pool2d_with_indices(img, (4, 2)) => R.adaptive_max(img, (4, 2)) # kink
adaptive_max_pool3d(vol, 2) => R.adaptive(vol, (2, 2, 2), np.max) # kink
adaptive_max_pool3d_with_indices(vol, 2) => R.adaptive_max(vol, (2, 2, 2)) # kink
lp_pool1d(seq, 2, 3) => np.sqrt(R.pool(seq ** 2, (3,), (3,), np.sum))
lp_pool2d(img, 2.0, 2) => np.sqrt(R.pool(img ** 2, (2, 2), (2, 2), np.sum))
lp_pool3d(vol, 2, 2) => np.sqrt(R.pool(vol ** 2, (2, 2, 2), (2, 2, 2), np.sum))
fractional_max_pool2d(img, 2, (3, 2), _random_samples=T.full((2, 4, 2), 0.3, dtype=img.dtype)) => R.fractional(img, 2, (3, 2), 0.3)[0] # single kink
fractional_max_pool2d_with_indices(img, 2, (3, 2), _random_samples=T.full((2, 4, 2), 0.3, dtype=img.dtype)) => R.fractional(img, 2, (3, 2), 0.3) # single kink
fractional_max_pool3d(vol, 2, (2, 3, 2), _random_samples=T.full((1, 2, 3), 0.6, dtype=vol.dtype)) => R.fractional(vol, 2, (2, 3, 2), 0.6)[0] # single kink
fractional_max_pool3d_with_indices(vol, 2, (2, 3, 2), _random_samples=T.full((1, 2, 3), 0.6, dtype=vol.dtype)) => R.fractional(vol, 2, (2, 3, 2), 0.6) # single kink
convolution_forward(img, k2, b6, (1, 1), (1, 0), (1, 1), 1) => R.conv(img, k2, b6, padding=(1, 0))
convolution_input_grad(img, k2[:4], (2, 4, 8, 6), (1, 1), (0, 0), (1, 1), 1) => R.conv_transpose(img, k2[:4])
conv1d(seq, k1, b6, 2, 1, groups=2) => R.conv(seq, k1, b6, (2,), (1,), groups=2)
conv2d(img, k2, b6) => R.conv(img, k2, b6)
conv2d(img, k2, None, (2, 1), (1, 2), (1, 2)) => R.conv(img, k2, None, (2, 1), (1, 2), (1, 2))
conv2d(img, g2, b6, padding='same', groups=2) => R.conv(img, g2, b6, padding=(1, 1), groups=2)
conv2d(img, d1[:, None], None, 1, 1, groups=4) => R.conv(img, d1[:, None], None, (1, 1), (1, 1), groups=4)
conv3d(vol, k3, b3) => R.conv(vol, k3, b3)
conv_transpose1d(seq, d1, b3, 2, 1) => R.conv_transpose(seq, d1, b3, (2,), (1,))
conv_transpose2d(img, d2, None, 2, 1, 1) => R.conv_transpose(img, d2, None, (2, 2), (1, 1), (1, 1))
conv_transpose3d(vol, d3, b3) => R.conv_transpose(vol, d3, b3)
conv_tbc(t, N.reshape(2, 5, 3)[:, :4], b3) => R.conv_tbc(t, N.reshape(2, 5, 3)[:, :4], b3)
im2col(img, 2, 1, 0, 2) => R.im2col(img, (2, 2), (2, 2))
col2im(wide.reshape(1, 3, 6)[:, :2].repeat(1, 2, 1), (3, 4), 2) => R.col2im(np.tile(wide.reshape(1, 3, 6)[:, :2], (1, 2, 1)), (3, 4), (2, 2))
interpolate(img, scale_factor=2) => img.repeat(2, 2).repeat(2, 3)
interpolate(img, (9, 4), mode='bilinear', align_corners=True) => R.linear_resize(img, (9, 4), True)
interpolate(img, (9, 4), mode='bilinear') => R.linear_resize(img, (9, 4), False)
interpolate(seq, 11, mode='linear') => R.linear_resize(seq, (11,), False)
interpolate(vol, (6, 3, 5), mode='trilinear') => R.linear_resize(vol, (6, 3, 5), False)
interpolate(img, (8, 9), mode='bicubic') => R.cubic_resize(img, (8, 9))
interpolate(img, (4, 2), mode='area') => R.adaptive(img, (4, 2), np.mean)
upsample(img, (9, 4), mode='bilinear') => R.linear_resize(img, (9, 4), False)
upsample_nearest(seq, 14) => seq.repeat(2, 2)
upsample_bilinear(img, (9, 4)) => R.linear_resize(img, (9, 4), True)
affine_grid(N[:, :2, :3], (2, 1, 3, 4), align_corners=True) => R.affine_grid(N[:, :2, :3], 3, 4)
grid_sample(img, N[:, None, :, :2] * 0.4, align_corners=True) => R.grid_sample(img, N[:, None, :, :2] * 0.4) # kink single
pixel_shuffle(img, 2) => R.pixel_shuffle(img, 2)
pixel_unshuffle(img[..., :4], 2) => R.pixel_unshuffle(img[..., :4], 2)
channel_shuffle(img, 2) => img.reshape(2, 2, 2, 6, 5).transpose(0, 2, 1, 3, 4).reshape(img.shape) # nograd
scaled_dot_product_attention(Q, K, V) => R.attention(Q, K, V)
scaled_dot_product_attention(Q, K, V, is_causal=True) => R.attention(Q, K, V, np.tril(np.ones((5, 6), bool)))
scaled_dot_product_attention(Q, K, V, scale=0.3) => R.attention(Q, K, V, scale=0.3)
scaled_dot_product_attention(Q, K, V, m.new_ones(5, 6).tril(1)) => R.attention(Q, K, V, np.tril(np.ones((5, 6), bool), 1))
lstm_cell(x, (h, h.tanh()), G, H, b20) => R.lstm(x, h, np.tanh(h), G, H, b20)
gru_cell(x, h, G[:15], H[:15], b20[:15], b20[5:]) => R.gru(x, h, G[:15], H[:15], b20[:15], b20[5:])
rnn_tanh_cell(x, h, G[:5], H[:5], b20[:5]) => np.tanh(x @ G[:5].T + h @ H[:5].T + b20[:5])
rnn_relu_cell(x, h, G[:5], H[:5]) => np.maximum(x @ G[:5].T + h @ H[:5].T, 0) # kink
dropout(x, 0.5, False) => x
dropout(x, 0.0) => x
dropout(x, 1.0) => 0 * x
dropout1d(seq, 0.5, False) => seq
dropout2d(img, 0.0) => img
dropout3d(vol, 1.0) => 0 * vol
alpha_dropout(x, 0.5, False) => x
feature_alpha_dropout(img, 0.5, False) => img
bernoulli(m.to(T.float64)) => m.astype(float) # f64 nograd noinplace
bernoulli(x, 1.0) => np.ones_like(x) # nograd
poisson(0 * x) => 0 * x # f64 nograd
binomial(k.to(T.float64), T.ones(3, 4, dtype=T.float64)) => k.astype(float) # f64 nograd
multinomial(m.to(T.float64).cumsum(1).eq(1).to(T.float64)[:, :0].sum(1).eq(0).to(T.float64)[:, None], 1) => np.zeros((3, 1), np.int64) # f64 nograd
"""
