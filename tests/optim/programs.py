"""Optimizers and schedules run over fixed gradients; PyTorch's results are recorded (tools/record_optim.py)."""

import numpy as np

OPTIMIZERS = {
    "SGD": ["lr=.1", "lr=.1,momentum=.9", "lr=.1,momentum=.9,nesterov=True,weight_decay=.01",
            "lr=.1,momentum=.9,dampening=.1,maximize=True"],
    "Adam": ["", "lr=.01,weight_decay=.1", "amsgrad=True,lr=.01,maximize=True"],
    "AdamW": ["", "lr=.01,weight_decay=.1,amsgrad=True"],
    "NAdam": ["", "weight_decay=.1", "weight_decay=.1,decoupled_weight_decay=True"],
    "RAdam": ["", "weight_decay=.1", "weight_decay=.1,decoupled_weight_decay=True"],
    "Adamax": ["", "weight_decay=.1"], "Adagrad": ["", "lr_decay=.1,weight_decay=.1,initial_accumulator_value=.3"],
    "Adadelta": ["", "weight_decay=.1,maximize=True"],
    "RMSprop": ["", "momentum=.9", "centered=True", "centered=True,momentum=.9,weight_decay=.1"], "Rprop": [""],
    "ASGD": ["", "t0=5,weight_decay=.1"],
}  # fmt: skip
SCHEDULES = {
    "LambdaLR": ["lr_lambda=lambda e: .9 ** e"], "MultiplicativeLR": ["lr_lambda=lambda e: .9"], "StepLR": ["step_size=3"],
    "MultiStepLR": ["milestones=[2, 5, 5]"], "ConstantLR": [""], "LinearLR": [""], "ExponentialLR": ["gamma=.9"],
    "PolynomialLR": ["total_iters=8,power=2"], "CosineAnnealingLR": ["T_max=5,eta_min=.01"],
    "CosineAnnealingWarmRestarts": ["T_0=3,T_mult=2"],
    "CyclicLR": [f"base_lr=.01,max_lr=.1,step_size_up=3,mode='{m}',gamma=.95" for m in ("triangular", "triangular2", "exp_range")],
    "OneCycleLR": ["max_lr=.1,total_steps=20", "max_lr=.1,total_steps=20,three_phase=True,anneal_strategy='linear'"],
}  # fmt: skip

# Options that are tensors get gradients themselves.
DIFFERENTIABLE = {
    "SGD": ["lr=T(.1)", "lr=T(.1),weight_decay=T(.05)", "lr=.1,momentum=.9", "lr=T(.1),momentum=.9,weight_decay=.1,dampening=.2",
            "lr=T(.1),momentum=.9,nesterov=True,maximize=True"],
    "Adam": ["lr=T(.1)", "lr=T(.1),betas=(T(.8), T(.95)),weight_decay=T(.1)", "lr=.1,amsgrad=True,maximize=True,weight_decay=.1"],
    "AdamW": ["lr=T(.1),weight_decay=T(.1)", "lr=T(.1),amsgrad=True"],
    "NAdam": ["lr=T(.1)", "lr=.1,weight_decay=.1", "weight_decay=.1,decoupled_weight_decay=True"],
    "RAdam": ["lr=T(.1)", "lr=.1,betas=(.8, .4),weight_decay=.1", "weight_decay=.1,decoupled_weight_decay=True"],
    "Adamax": ["lr=.1", "lr=.1,weight_decay=.1,maximize=True"],
    "Adagrad": ["lr=.1", "lr=.1,lr_decay=.1,weight_decay=.1,initial_accumulator_value=.3"],
    "Adadelta": ["lr=.5", "weight_decay=.1,maximize=True"],
    "RMSprop": ["lr=.1", "momentum=.9", "centered=True", "centered=True,momentum=.9,weight_decay=.1"],
    "Rprop": ["lr=.1"], "ASGD": ["lr=.1", "lr=.1,t0=1,weight_decay=.1"],
}  # fmt: skip


def cases(table: dict) -> list[tuple[str, str]]:
    return [(name, options) for name, many in table.items() for options in many]


def walk(t, name: str, options: str, steps: int = 20):
    """(parameters after some steps, the optimizer)."""
    r = np.random.default_rng(0)
    params = [t.nn.Parameter(t.from_numpy(r.standard_normal(s).astype("f"))) for s in ((3, 4), (5,), (2, 3, 2))]
    optimizer = eval(f"o.{name}(p, {options})", {"o": t.optim, "p": params})  # noqa: S307 - the table above
    for _ in range(steps):
        optimizer.zero_grad()
        for p in params:
            p.grad = t.from_numpy(r.standard_normal(tuple(p.shape)).astype("f"))
        optimizer.step()
    return [p.detach().numpy().copy() for p in params], optimizer


def rates(t, name: str, options: str, steps: int = 15) -> list[float]:
    """The learning rates of a schedule."""
    optimizer = t.optim.SGD([t.nn.Parameter(t.zeros(2))], lr=0.1, momentum=0.9)
    schedule = eval(f"s.{name}(o, {options})", {"s": t.optim.lr_scheduler, "o": optimizer})  # noqa: S307
    out = []
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        out.append(schedule.get_last_lr()[0])
    return out


def shape_of_state(optimizer) -> str:
    """Keys of the state and the groups, and the repr."""
    state = optimizer.state_dict()
    return repr((sorted(state["param_groups"][0]), {k: sorted(v) for k, v in state["state"].items()}, repr(optimizer)))


def through(t, name: str, options: str, steps: int, shift: float = 0.0) -> list[list[float]]:
    """Steps of an optimizer as part of a graph: [weights, state, their sum, gradients of the start and of options, slope].

    The start is moved by `shift` along a fixed direction.
    """
    hyper: list = []

    def tensor(value):
        hyper.append(t.tensor(value, dtype=t.float64, requires_grad=True))
        return hyper[-1]

    r = np.random.default_rng(0)
    start, target, curve, direction = (t.from_numpy(r.standard_normal((3, 4))) for _ in range(4))
    start += shift * direction
    start.requires_grad_()
    w = start.clone()
    optimizer = eval(f"o.{name}([w], differentiable=True, {options})", {"o": t.optim, "w": w, "T": tensor})  # noqa: S307
    for _ in range(steps):
        x = w.clone()
        loss = ((x - target) ** 2 * curve.exp() + x.sin()).sum()
        (w.grad,) = t.autograd.grad(loss, x, create_graph=True)
        optimizer.step()
    state = [v for _, v in sorted(optimizer.state[w].items()) if v is not None]
    end = (w**3).sum() + sum(v.sum() for v in state)
    grads = t.autograd.grad(end, [start, *hyper])
    return [v.detach().double().numpy().ravel().tolist() for v in (w, *state, end, *grads, (grads[0] * direction).sum())]
