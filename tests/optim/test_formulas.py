"""The formulas in the optimizers' docstrings, in NumPy's float64, against what the optimizers do."""

import numpy as np
import pytest

import flambeau as torch
from flambeau import optim

LR, B1, B2, EPS = 0.02, 0.9, 0.999, 1e-8


def sgd(p, gs):
    m = None
    for g in gs:
        m = g if m is None else 0.9 * m + (1 - 0.2) * g
        p = p - LR * m
    return p


def nesterov(p, gs):
    m = None
    for g in gs:
        m = g if m is None else 0.9 * m + g
        p = p - LR * (g + 0.9 * m)
    return p


def adam(p, gs, shrink=1.0, amsgrad=False):
    m = v = most = 0
    for t, g in enumerate(gs, 1):
        p = shrink * p
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g**2
        most = np.maximum(most, v) if amsgrad else v
        p = p - LR * (m / (1 - B1**t)) / (np.sqrt(most / (1 - B2**t)) + EPS)
    return p


def adamw(p, gs):
    return adam(p, gs, shrink=1 - LR * 0.1)


def amsgrad(p, gs):
    return adam(p, gs, amsgrad=True)


def nadam(p, gs):
    mu = lambda t: B1 * (1 - 0.5 * 0.96 ** (t * 4e-3))
    m, v, c = 0, 0, 1
    for t, g in enumerate(gs, 1):
        c *= mu(t)
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g**2
        ahead = (1 - mu(t)) / (1 - c) * g + mu(t + 1) / (1 - c * mu(t + 1)) * m
        p = p - LR * ahead / (np.sqrt(v / (1 - B2**t)) + EPS)
    return p


def radam(p, gs):
    m, v, most = 0, 0, 2 / (1 - B2) - 1
    for t, g in enumerate(gs, 1):
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g**2
        r = most - 2 * t * B2**t / (1 - B2**t)
        step = LR * m / (1 - B1**t)
        if r > 5:
            rect = np.sqrt((r - 4) * (r - 2) * most / ((most - 4) * (most - 2) * r))
            step = step * rect * np.sqrt(1 - B2**t) / (np.sqrt(v) + EPS)
        p = p - step
    return p


def adamax(p, gs):
    m = u = 0
    for t, g in enumerate(gs, 1):
        m, u = B1 * m + (1 - B1) * g, np.maximum(B2 * u, abs(g) + EPS)
        p = p - LR / (1 - B1**t) * m / u
    return p


def adagrad(p, gs):
    s = 0.3
    for t, g in enumerate(gs, 1):
        s = s + g**2
        p = p - LR / (1 + (t - 1) * 0.1) * g / (np.sqrt(s) + 1e-10)
    return p


def adadelta(p, gs):
    s = d = 0
    for g in gs:
        s = 0.9 * s + 0.1 * g**2
        delta = g * np.sqrt(d + 1e-6) / np.sqrt(s + 1e-6)
        p, d = p - LR * delta, 0.9 * d + 0.1 * delta**2
    return p


def rmsprop(p, gs):
    s = m = mean = 0
    for g in gs:
        s, mean = 0.99 * s + 0.01 * g**2, 0.99 * mean + 0.01 * g
        m = 0.5 * m + g / (np.sqrt(s - mean**2) + EPS)
        p = p - LR * m
    return p


def rprop(p, gs):
    before, size = 0, LR
    for g in gs:
        turn = g * before
        size = np.clip(size * np.where(turn > 0, 1.2, np.where(turn < 0, 0.5, 1)), 1e-6, 50)
        before = np.where(turn < 0, 0, g)
        p = p - np.sign(before) * size
    return p


def asgd(p, gs):
    eta = LR
    for t, g in enumerate(gs, 1):
        p = (1 - 1e-2 * eta) * p - eta * g
        eta = LR / (1 + 1e-2 * LR * t) ** 0.75
    return p


RULES = {
    sgd: lambda p: optim.SGD(p, LR, momentum=0.9, dampening=0.2),
    nesterov: lambda p: optim.SGD(p, LR, momentum=0.9, nesterov=True),
    adam: lambda p: optim.Adam(p, LR),
    adamw: lambda p: optim.AdamW(p, LR, weight_decay=0.1),
    amsgrad: lambda p: optim.Adam(p, LR, amsgrad=True),
    nadam: lambda p: optim.NAdam(p, LR),
    radam: lambda p: optim.RAdam(p, LR),
    adamax: lambda p: optim.Adamax(p, LR),
    adagrad: lambda p: optim.Adagrad(p, LR, lr_decay=0.1, initial_accumulator_value=0.3),
    adadelta: lambda p: optim.Adadelta(p, LR),
    rmsprop: lambda p: optim.RMSprop(p, LR, momentum=0.5, centered=True),
    rprop: lambda p: optim.Rprop(p, LR),
    asgd: lambda p: optim.ASGD(p, LR, lambd=1e-2),
}


@pytest.mark.parametrize("formula", RULES, ids=lambda f: f.__name__)
def test_steps_follow_the_formula(formula, rng):
    start, gradients = rng.normal(size=5), rng.normal(size=(12, 5))
    p = torch.tensor(start, requires_grad=True)
    optimizer = RULES[formula]([p])
    for g in gradients:
        p.grad = torch.tensor(g)
        optimizer.step()
    # NAdam and ASGD keep a factor of their steps in float32, as PyTorch's do.
    np.testing.assert_allclose(p.detach().numpy(), formula(start, gradients), rtol=1e-7)
