"""Training that is saved half way and continued, here or in the other library: networks, optimizers and schedules.

tools/record_files.py records PyTorch's checkpoints half way and at the end.
"""

import numpy as np

CASES = [
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}, "StepLR"),
    ("Adam", {"lr": 0.01, "amsgrad": True}, "CosineAnnealingLR"),
    ("AdamW", {"lr": 0.01}, "OneCycleLR"),
    ("NAdam", {"lr": 0.01}, None),
    ("RAdam", {"lr": 0.05}, None),
    ("Adamax", {"lr": 0.02}, None),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True}, "ExponentialLR"),
    ("Adagrad", {"lr": 0.05, "lr_decay": 0.1}, None),
    ("Adadelta", {"lr": 1.0}, None),
    ("ASGD", {"lr": 0.05, "t0": 2.0}, None),
    ("Rprop", {"lr": 0.01}, None),
    ("Adafactor", {"lr": 0.05}, None),
    ("LBFGS", {"lr": 0.3, "max_iter": 4, "history_size": 3}, None),
]
SCHEDULES = {
    "StepLR": {"step_size": 2, "gamma": 0.5}, "CosineAnnealingLR": {"T_max": 7}, "ExponentialLR": {"gamma": 0.9},
    "OneCycleLR": {"max_lr": 0.02, "total_steps": 8},
}  # fmt: skip


def case_id(case):
    """A readable key."""
    return f"{case[0]}-{case[2] or 'constant'}"


class Run:
    """A network, its optimizer and its schedule."""

    def __init__(self, lib, net, optimizer, schedule):
        self.net, self.optimizer, self.schedule, self.losses = net, optimizer, schedule, []

    def state(self):
        """The checkpoint."""
        schedule = self.schedule and self.schedule.state_dict()
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "schedule": schedule, "losses": self.losses}

    def load(self, state):
        """Continue from a checkpoint."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule:
            self.schedule.load_state_dict(state["schedule"])
        self.losses = list(state["losses"])
        return self


def start(lib, case, seed=0):
    """The beginning of a run."""
    name, options, schedule = case
    lib.manual_seed(seed)
    nn = lib.nn
    net = nn.Sequential(  # no bias before a norm: its gradient is rounding alone, which Adam makes steps of
        nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 8), nn.GELU(), nn.Linear(8, 3)
    )
    if name == "LBFGS":  # PyTorch's own float32 runs part when a weight changes in its last bit
        net.double()
    optimizer = getattr(lib.optim, name)(net.parameters(), **options)
    made = getattr(lib.optim.lr_scheduler, schedule)(optimizer, **SCHEDULES[schedule]) if schedule else None
    return Run(lib, net, optimizer, made)


def train(lib, run, steps):
    """Some more steps, on batches that follow from how many were done."""
    for _ in range(steps):
        at = len(run.losses)
        x = lib.tensor(np.sin(np.arange(8 * 64) * 0.37 + at).reshape(8, 1, 8, 8).astype(np.float32))
        x = x.to(run.net[0].weight.dtype)
        y = lib.tensor([(i * 7 + at) % 3 for i in range(8)])

        def closure(x=x, y=y):
            run.optimizer.zero_grad()
            loss = lib.nn.functional.cross_entropy(run.net(x), y)
            loss.backward()
            return loss

        run.losses.append(run.optimizer.step(closure).item())
        if run.schedule:
            run.schedule.step()
    return run
