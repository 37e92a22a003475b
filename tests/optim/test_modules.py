"""PyTorch's modules of single optimizers, as programs import them."""

import importlib

import pytest

import flambeau as torch


@pytest.mark.parametrize(
    "module, name",
    [
        ("adadelta", "Adadelta"), ("_adafactor", "Adafactor"), ("adagrad", "Adagrad"), ("adam", "Adam"), ("adamax", "Adamax"),
        ("adamw", "AdamW"), ("asgd", "ASGD"), ("nadam", "NAdam"), ("radam", "RAdam"), ("rmsprop", "RMSprop"), ("rprop", "Rprop"),
        ("sgd", "SGD"), ("sparse_adam", "SparseAdam"), ("lbfgs", "LBFGS"), ("optimizer", "Optimizer"), ("swa_utils", "AveragedModel"),
    ],
)  # fmt: skip
def test_optimizers_have_their_modules(module, name):
    found = getattr(importlib.import_module(f"flambeau.optim.{module}"), name)
    assert found is getattr(torch.optim, name, found)
