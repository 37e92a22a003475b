"""Schedules to compare with recorded PyTorch answers: each builds (optimizer, scheduler) from a library.

`trace` steps a scheduler and lists, per step, the groups' rates (and momenta, where schedules move them).
"""

STEPS = 30


def sgd(lib, lr=0.1):
    """Two groups, with momentum."""
    a, b = (lib.zeros(2, requires_grad=True) for _ in range(2))
    return lib.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5 * lr}], lr=lr, momentum=0.9)


def adam(lib, lr=0.01):
    """One group; its beta1 is what cycles."""
    return lib.optim.Adam([lib.zeros(2, requires_grad=True)], lr=lr)


def made(name, *args, optimizer=sgd, **kwargs):
    """A builder of one scheduler."""

    def build(lib):
        o = optimizer(lib)
        return o, getattr(lib.optim.lr_scheduler, name)(o, *args, **kwargs)

    return build


def sequential(lib):
    o, s = sgd(lib), lib.optim.lr_scheduler
    parts = [s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 6)]
    return o, s.SequentialLR(o, parts, [5, 14])


def warm_up(lib):
    o, s = sgd(lib), lib.optim.lr_scheduler
    return o, s.SequentialLR(o, [s.LinearLR(o, 0.01, 1.0, 5), s.CosineAnnealingLR(o, 20, 1e-4)], [5])


def chained(lib):
    o, s = sgd(lib), lib.optim.lr_scheduler
    return o, s.ChainedScheduler([s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9), s.StepLR(o, 7, 0.5)])


def nested(lib):
    o, s = sgd(lib), lib.optim.lr_scheduler
    inner = s.ChainedScheduler([s.LinearLR(o, 0.5, 1.0, 3), s.ExponentialLR(o, 0.95)], optimizer=o)
    return o, s.SequentialLR(o, [inner, s.PolynomialLR(o, 10, 2.0)], [8])


def swa(lib):
    o = sgd(lib)
    return o, lib.optim.swa_utils.SWALR(o, swa_lr=[0.02, 0.3], anneal_epochs=7, anneal_strategy="linear")


def swa_cosine(lib):
    o = sgd(lib)
    return o, lib.optim.swa_utils.SWALR(o, swa_lr=0.02, anneal_epochs=5)


def tensor_rate(lib):
    o = lib.optim.SGD([lib.zeros(2, requires_grad=True)], lr=lib.tensor(0.25))
    return o, lib.optim.lr_scheduler.StepLR(o, 3, 0.5)


def resumed(lib):
    o = sgd(lib)
    for g in o.param_groups:
        g["initial_lr"] = g["lr"]
    return o, lib.optim.lr_scheduler.CosineAnnealingLR(o, 12, last_epoch=4)


SCHEDULES = {
    "LambdaLR": made("LambdaLR", [lambda e: 0.9**e, lambda e: 1 / (1 + e)]),
    "LambdaLR-one": made("LambdaLR", lambda e: 0.95 ** (e // 3)),
    "MultiplicativeLR": made("MultiplicativeLR", lambda e: 0.9 if e % 2 else 1.02),
    "StepLR": made("StepLR", 4, gamma=0.3),
    "MultiStepLR": made("MultiStepLR", [3, 8, 8, 15], gamma=0.5),
    "ConstantLR": made("ConstantLR"),
    "ConstantLR-3": made("ConstantLR", factor=0.5, total_iters=3),
    "LinearLR": made("LinearLR"),
    "LinearLR-down": made("LinearLR", 1.0, 0.1, 9),
    "ExponentialLR": made("ExponentialLR", 0.85),
    "PolynomialLR": made("PolynomialLR", 12, 1.7),
    "CosineAnnealingLR": made("CosineAnnealingLR", 10, eta_min=0.01),
    "CosineAnnealingLR-5": made("CosineAnnealingLR", 5),
    "CosineAnnealingWarmRestarts": made("CosineAnnealingWarmRestarts", 4),
    "CosineAnnealingWarmRestarts-2": made("CosineAnnealingWarmRestarts", 3, T_mult=2, eta_min=1e-3),
    "CyclicLR": made("CyclicLR", 0.01, 0.1, step_size_up=4),
    "CyclicLR-triangular2": made("CyclicLR", 0.01, 0.1, step_size_up=3, step_size_down=5, mode="triangular2"),
    "CyclicLR-exp_range": made("CyclicLR", 0.01, [0.1, 0.2], step_size_up=4, mode="exp_range", gamma=0.97),
    "CyclicLR-custom": made("CyclicLR", 0.01, 0.1, step_size_up=4, scale_fn=lambda x: 0.9**x, scale_mode="iterations"),
    "CyclicLR-beta1": made("CyclicLR", 0.001, 0.01, step_size_up=4, optimizer=adam),
    "OneCycleLR": made("OneCycleLR", 0.3, total_steps=31),
    "OneCycleLR-three": made("OneCycleLR", [0.3, 0.1], epochs=5, steps_per_epoch=8, three_phase=True),
    "OneCycleLR-linear": made("OneCycleLR", 0.3, total_steps=40, anneal_strategy="linear", pct_start=0.2),
    "OneCycleLR-beta1": made("OneCycleLR", 0.3, total_steps=31, optimizer=adam),
    "OneCycleLR-still": made("OneCycleLR", 0.3, total_steps=31, cycle_momentum=False, div_factor=10),
    "SequentialLR": sequential, "SequentialLR-warm-up": warm_up, "SequentialLR-nested": nested,
    "ChainedScheduler": chained, "SWALR": swa, "SWALR-cosine": swa_cosine, "StepLR-tensor": tensor_rate,
    "CosineAnnealingLR-resumed": resumed,
    "ReduceLROnPlateau": made("ReduceLROnPlateau", patience=2, factor=0.5),
    "ReduceLROnPlateau-max": made("ReduceLROnPlateau", mode="max", patience=1, cooldown=2, threshold_mode="abs",
                                  threshold=0.05, min_lr=[0.02, 0.001]),
}  # fmt: skip


def metric(i):
    """A loss that falls, stays, and jumps about."""
    return max(1.0 - 0.1 * i, 0.45) + 0.07 * ((i * 5) % 3)


def trace(lib, build):
    """Rates after construction and after each step; what is saved; the closed form at a few epochs."""
    optimizer, scheduler = build(lib)
    plateau = type(scheduler).__name__ == "ReduceLROnPlateau"
    rates, last = [rates_of(optimizer)], [[float(v) for v in scheduler.get_last_lr()]]
    for i in range(STEPS):
        optimizer.step()
        scheduler.step(metric(i)) if plateau else scheduler.step()
        rates.append(rates_of(optimizer))
        last.append([float(v) for v in scheduler.get_last_lr()])
    answer = {"rates": rates, "last": last, "keys": sorted(scheduler.state_dict())}
    if not plateau and type(scheduler).__name__ not in ("SequentialLR", "ChainedScheduler"):
        answer["jumps"] = [jumped(optimizer, scheduler, e) for e in (2, 11, 7)]
    return answer


def jumped(optimizer, scheduler, epoch):
    scheduler.step(epoch)
    return rates_of(optimizer)


def rates_of(optimizer):
    """lr, and momentum or beta1, of each group."""
    return [
        [float(g["lr"]), float(g["momentum"] if "momentum" in g else g["betas"][0])]
        for g in optimizer.param_groups
    ]
