"""Optimizers to compare with recorded PyTorch answers: (class, options), and what is run with them.

`run` gives a library's optimizer the same gradients for 20 steps and returns its repr, parameters and state_dict.
tools/record_optim.py writes the answers; test_optimizers.py reads them.
"""

import itertools

import numpy as np

SHAPES = ((3, 4), (5,), (), (2, 3, 2))
STEPS = 20
RECORDED = (1, 2, STEPS)


def combine(name, **choices):
    """(name, options) for every combination of choices; an option absent from a combination has its default."""
    found = []
    for values in itertools.product(*choices.values()):
        found.append((name, {k: v for k, v in zip(choices, values, strict=True) if v is not None}))
    return found


DECAY = {"weight_decay": (None, 0.1), "maximize": (None, True)}
CASES = [
    *combine("SGD", momentum=(None, 0.9), **DECAY),
    *combine("SGD", momentum=(0.9,), dampening=(0.3,), weight_decay=(None, 0.1)),
    *combine("SGD", momentum=(0.9,), nesterov=(True,), **DECAY),
    *combine("Adam", amsgrad=(None, True), decoupled_weight_decay=(None, True), **DECAY),
    *combine("Adam", betas=((0.5, 0.9),), eps=(1e-3,), lr=(0.1,)),
    *combine("AdamW", amsgrad=(None, True), weight_decay=(None, 0, 0.3), maximize=(None, True)),
    *combine("Adamax", **DECAY),
    *combine("Adamax", betas=((0.5, 0.4),), eps=(1e-2,)),
    *combine("NAdam", decoupled_weight_decay=(None, True), momentum_decay=(None, 0.1), **DECAY),
    *combine("RAdam", decoupled_weight_decay=(None, True), **DECAY),
    *combine("RMSprop", momentum=(None, 0.9), centered=(None, True), **DECAY),
    *combine("Adagrad", lr_decay=(None, 0.1), initial_accumulator_value=(None, 0.5), **DECAY),
    *combine("Adadelta", rho=(None, 0.5), **DECAY),
    *combine("ASGD", t0=(None, 4.0), lambd=(None, 0.1), **DECAY),
    *combine("Rprop", etas=(None, (0.3, 1.5)), step_sizes=(None, (1e-3, 0.02)), maximize=(None, True)),
    *combine("Adafactor", lr=(None, 0.1), weight_decay=(None, 0.1), maximize=(None, True)),
    *combine("Adafactor", d=(1.3,), eps=((1e-6, 1e-2),), beta2_decay=(-0.5,)),
    *combine("Muon", nesterov=(None, False), weight_decay=(None, 0), adjust_lr_fn=(None, "match_rms_adamw")),
    *combine("Muon", ns_steps=(3,), momentum=(0.5,)),
    *combine("LBFGS", line_search_fn=(None, "strong_wolfe"), history_size=(None, 2), lr=(None, 0.3)),
]  # fmt: skip


def case_id(case):
    """A readable key."""
    name, options = case
    return "-".join([name, *(f"{k}={v}" for k, v in options.items())]).replace(" ", "")


def wave(shape, step):
    """Smooth numbers of both signs and various sizes, some of them 0."""
    n = int(np.prod(shape, dtype=int))
    i = np.arange(n)
    values = np.sin(1.3 * i + 0.7 * step) * 10.0 ** ((i % 5) - 3.0)
    return np.where((i + step) % 7 == 3, 0.0, values).reshape(shape).astype(np.float32)


def shapes_for(name):
    """Muon takes matrices only."""
    return ((3, 4), (6, 2), (5, 5)) if name == "Muon" else SHAPES


def parameters(lib, name):
    """Leaves with their starting values."""
    return [lib.tensor(wave(s, 5 * i + 2)).requires_grad_() for i, s in enumerate(shapes_for(name))]


def run(lib, case):
    """repr, the parameters after some steps, and the state_dict at the end."""
    name, options = case
    params = parameters(lib, name)
    if name == "LBFGS":
        return run_lbfgs(lib, params, options)
    half = len(params) // 2
    groups = [{"params": params[:half]}, {"params": params[half:], "lr": 0.05}]
    optimizer = getattr(lib.optim, name)(groups, **options)
    answer = {"repr": repr(optimizer), "params": {}}
    for step in range(1, STEPS + 1):
        for p in params:
            p.grad = lib.tensor(wave(tuple(p.shape), step))
        optimizer.step()
        if step in RECORDED:
            answer["params"][str(step)] = [numbers(p) for p in params]
    saved = optimizer.state_dict()
    answer["state"] = {str(k): {n: plain(v) for n, v in s.items()} for k, s in saved["state"].items()}
    answer["groups"] = [{k: plain(v) for k, v in g.items()} for g in saved["param_groups"]]
    return answer


def run_lbfgs(lib, params, options):
    """One step, of several iterations, on a smooth function, convex but not quadratic, of 22 unknowns."""
    optimizer = lib.optim.LBFGS(params, max_iter=9, **options)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = 0.0
        for i, p in enumerate(params):
            target = lib.tensor(wave(tuple(p.shape), 11 + i))
            loss = loss + ((p - target) ** 2).sum() + 0.002 * ((p + 0.5) ** 4).sum()
        loss.backward()
        losses.append(loss.item())
        return loss

    optimizer.step(closure)
    answer = {"repr": repr(optimizer), "losses": losses, "params": {"1": [numbers(p) for p in params]}}
    (state,) = optimizer.state_dict()["state"].values()
    answer["state"] = {"0": {k: plain(v) for k, v in state.items()}}
    answer["groups"] = [{k: plain(v) for k, v in g.items()} for g in optimizer.state_dict()["param_groups"]]
    return answer


def numbers(t):
    """Shape, dtype and values of a tensor."""
    values = np.asarray(t.detach().numpy())
    return [list(t.shape), str(t.dtype), [float(v) for v in values.ravel()]]


def plain(value):
    """A state entry in JSON's terms."""
    if hasattr(value, "detach"):
        return numbers(value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value
