"""The same operations and training steps in JAX, jitted: a third column of run.py where JAX is installed.

A step is one jitted function from parameters and optimizer state to new ones, as JAX's users write it; its time includes
waiting for the result. Names are those of micro.py and training.py; what has no entry here has no figure.
"""

from __future__ import annotations

import functools
import math
import os

M = 1 << 20


def load(threads: int):
    """jax on `threads` threads, on the CPU. Its pool is sized when it is first used."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("XLA_FLAGS", f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={threads}")
    import jax

    return jax


def ready(fn, *args):
    """A function of nothing that calls fn and waits."""
    return lambda: fn(*args).block_until_ready()


def operations(jax) -> dict:
    """Name -> (function,), as micro.operands."""
    import jax.numpy as jnp
    from jax import lax, nn, random

    key = random.key(0)
    small = [random.normal(key, (1000,)) for _ in range(2)]
    x, y, big, m = (random.normal(key, s) for s in ((M,), (M,), (8 * M,), (1024, 1024)))
    rows = random.randint(key, (4096,), 0, 1024)
    image, kernel = random.normal(key, (16, 64, 56, 56)), random.normal(key, (64, 64, 3, 3))
    conv = functools.partial(lax.conv, window_strides=(1, 1), padding="SAME")
    table = {
        "add 1000": (jnp.add, *small), "add 1M": (jnp.add, x, y), "mul 8M": (lambda a: a * 2.0, big),
        "exp 1M": (jnp.exp, x), "tanh 1M": (jnp.tanh, x), "gelu 1M": (functools.partial(nn.gelu, approximate=False), x),
        "sum 8M": (jnp.sum, big), "sum rows": (lambda a: a.sum(1), m), "sum columns": (lambda a: a.sum(0), m),
        "softmax": (nn.softmax, m), "transpose": (lambda a: a.T + 0, m), "index rows": (lambda a, i: a[i], m, rows),
        "cumsum": (lambda a: a.cumsum(1), m), "sort 1M": (jnp.sort, x), "topk": (lambda a: lax.top_k(a, 10)[0], m),
        "randn 1M": (lambda k: random.normal(k, (M,)), key), "rand 8M": (lambda k: random.uniform(k, (8 * M,)), key),
        "layer_norm": (lambda a: nn.standardize(a, axis=1, epsilon=1e-5), m),
        "matmul 128": (jnp.matmul, m[:128, :128], m[:128, :128]), "matmul 512": (jnp.matmul, m[:512, :512], m[:512, :512]),
        "matmul 1024": (jnp.matmul, m, m), "conv 3x3": (conv, image, kernel),
    }  # fmt: skip
    return {name: (ready(jax.jit(fn), *args),) for name, (fn, *args) in table.items()}


def dense(key, n_in: int, n_out: int):
    """Weights and bias, uniform within 1 / sqrt(n_in)."""
    from jax import random

    bound = 1 / math.sqrt(n_in)
    return random.uniform(key, (n_in, n_out), minval=-bound, maxval=bound), random.uniform(key, (n_out,), minval=-bound, maxval=bound)


def cross_entropy(jax, logits, labels):
    """The mean of -log softmax at the labels."""
    picked = jax.numpy.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
    return -picked.mean()


def trainer(jax, forward, parameters, x, y, adam: bool, decay: float = 0.0):
    """A step function: loss, gradient, and SGD with momentum or Adam (with decoupled decay), in one jitted call."""
    jnp, tree = jax.numpy, jax.tree.map

    def loss_of(p):
        return cross_entropy(jax, forward(p, x), y)

    def update_adam(p, g, m, v, c1, c2):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return p * (1 - 1e-3 * decay) - 1e-3 * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), m, v

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state):
        p, m, v, n = state
        loss, g = jax.value_and_grad(loss_of)(p)
        if adam:
            c1, c2 = 1 - 0.9**n, 1 - 0.999**n
            leaves, shape = jax.tree.flatten(p)
            new = [update_adam(*a, c1, c2) for a in zip(leaves, *map(jax.tree.leaves, (g, m, v)), strict=True)]
            p, m, v = (jax.tree.unflatten(shape, part) for part in zip(*new, strict=True))
        else:
            m = tree(lambda a, b: 0.9 * a + b, m, g)
            p = tree(lambda a, b: a - 1e-3 * b, p, m)
        return (p, m, v, n + 1), loss

    state = [(parameters, tree(jnp.zeros_like, parameters), tree(jnp.zeros_like, parameters), jnp.float32(1))]

    def call():
        state[0], loss = step(state[0])
        return loss.block_until_ready()

    return call


def mlp(jax):
    from jax import random

    keys = random.split(random.key(0), 5)
    sizes = (784, 512, 256, 10)
    layers = [dense(k, a, b) for k, a, b in zip(keys, sizes, sizes[1:], strict=False)]

    def forward(p, x):
        for i, (w, b) in enumerate(p):
            x = x @ w + b
            x = jax.nn.relu(x) if i < 2 else x
        return x

    return trainer(jax, forward, layers, random.normal(keys[3], (128, 784)), random.randint(keys[4], (128,), 0, 10), True)


def lenet(jax, batch: int):
    from jax import lax, random

    keys = random.split(random.key(0), 7)
    filters = [(random.normal(k, s) * 0.1, jax.numpy.zeros((s[0], 1, 1))) for k, s in zip(keys, ((6, 3, 5, 5), (16, 6, 5, 5)), strict=False)]
    head = [dense(k, a, b) for k, a, b in zip(keys[2:], (400, 120, 84), (120, 84, 10), strict=False)]

    def forward(p, x):
        for w, b in p[0]:
            x = jax.nn.relu(lax.conv(x, w, (1, 1), "VALID") + b)
            x = lax.reduce_window(x, -jax.numpy.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        x = x.reshape(batch, -1)
        for i, (w, b) in enumerate(p[1]):
            x = x @ w + b
            x = jax.nn.relu(x) if i < 2 else x
        return x

    x, y = random.normal(keys[5], (batch, 3, 32, 32)), random.randint(keys[6], (batch,), 0, 10)
    return trainer(jax, forward, [filters, head], x, y, False)


def gpt(jax, layers: int, width: int, heads: int, batch: int, length: int, vocabulary: int = 96):
    from jax import random

    jnp = jax.numpy
    keys = iter(random.split(random.key(0), 4 * layers + 5))
    blocks = [
        {"qkv": dense(next(keys), width, 3 * width), "out": dense(next(keys), width, width),
         "up": dense(next(keys), width, 4 * width), "down": dense(next(keys), 4 * width, width),
         "n1": (jnp.ones(width), jnp.zeros(width)), "n2": (jnp.ones(width), jnp.zeros(width))}
        for _ in range(layers)
    ]  # fmt: skip
    p = {
        "token": random.normal(next(keys), (vocabulary, width)), "place": random.normal(next(keys), (length, width)),
        "norm": (jnp.ones(width), jnp.zeros(width)), "head": dense(next(keys), width, vocabulary)[0], "blocks": blocks,
    }  # fmt: skip
    mask = jnp.tril(jnp.ones((length, length), bool))

    def norm(x, scale, shift):
        return jax.nn.standardize(x, axis=-1, epsilon=1e-5) * scale + shift

    def block(p, x):
        h = norm(x, *p["n1"]) @ p["qkv"][0] + p["qkv"][1]
        q, k, v = (a.reshape(batch, length, heads, -1).transpose(0, 2, 1, 3) for a in jnp.split(h, 3, -1))
        scores = jnp.where(mask, q @ k.swapaxes(2, 3) / math.sqrt(width / heads), -jnp.inf)
        h = (jax.nn.softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(batch, length, width)
        x = x + h @ p["out"][0] + p["out"][1]
        h = jax.nn.gelu(norm(x, *p["n2"]) @ p["up"][0] + p["up"][1], approximate=False)
        return x + h @ p["down"][0] + p["down"][1]

    def forward(p, x):
        h = p["token"][x] + p["place"]
        for b in p["blocks"]:
            h = block(b, h)
        return (norm(h, *p["norm"]) @ p["head"]).reshape(-1, vocabulary)

    x = random.randint(next(keys), (batch, length), 0, vocabulary)
    y = random.randint(next(keys), (batch * length,), 0, vocabulary)
    return trainer(jax, forward, p, x, y, True, decay=0.01)


WORKLOADS = {
    "lenet-4": lambda jax: lenet(jax, 4), "lenet-64": lambda jax: lenet(jax, 64), "mlp-128": mlp,
    "gpt-128": lambda jax: gpt(jax, 4, 128, 4, 12, 64), "gpt-384": lambda jax: gpt(jax, 6, 384, 6, 4, 256),
}  # fmt: skip
