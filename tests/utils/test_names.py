"""Modules whose names programs take although there is nothing behind them here; tensors put one behind another."""

import pytest

import flambeau as torch
from flambeau import _dynamo, _utils


def test_flattened_tensors_and_back():
    parts = [torch.rand(2, 3), torch.rand(4), torch.rand(0, 2), torch.tensor(5.0)]
    flat = _utils._flatten_dense_tensors(parts)
    back = _utils._unflatten_dense_tensors(flat, parts)
    assert flat.shape == (11,) and all(torch.equal(a, b) and a.shape == b.shape for a, b in zip(parts, back, strict=True))
    back[0].zero_()
    assert flat[:6].sum() == 0
    groups = list(_utils._take_tensors([torch.ones(4), torch.ones(2, dtype=torch.int64), torch.ones(4), torch.ones(1)], 20))
    assert [[t.numel() for t in g] for g in groups] == [[4], [4, 1], [2]]
    assert _utils._element_size(torch.float64) == 8
    t = _utils._rebuild_tensor_v2(torch.arange(6.0).storage(), 1, (2, 2), (2, 1), True, None)
    assert t.tolist() == [[1, 2], [3, 4]] and t.requires_grad


def test_nothing_to_compile():
    model = torch.nn.Linear(1, 1)
    assert torch.compile(model) is model and not isinstance(model, _dynamo.OptimizedModule) and not torch._dynamo.is_compiling()
    from flambeau._dynamo.eval_frame import OptimizedModule

    assert OptimizedModule is _dynamo.OptimizedModule and not torch.onnx.is_in_onnx_export()
    with pytest.raises(AttributeError, match="not exported"):
        torch.onnx.export  # noqa: B018
    _dynamo.config.suppress_errors = True
    _dynamo.reset()
    assert _dynamo.optimize("eager")(len) is len and torch.compiler.list_backends() == []
    with torch.compiler.set_stance("force_eager"):
        pass
    with pytest.raises(RuntimeError, match="stance"):
        torch.compiler.set_stance("lazy")


def test_named_ranges():
    with torch.profiler.record_function("step"):
        assert torch.autograd.profiler.record_function("f")(lambda x: x + 1)(2) == 3
    with pytest.raises(AttributeError, match="no profiler of ops"):
        torch.profiler.schedule  # noqa: B018


def test_switches_and_symbols():
    assert torch.get_deterministic_debug_mode() == 0
    torch.set_deterministic_debug_mode("warn")
    assert torch.get_deterministic_debug_mode() == 1 and torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_deterministic_debug_mode(0)
    with pytest.raises(RuntimeError, match="debug_mode"):
        torch.set_deterministic_debug_mode("loud")
    assert torch.get_autocast_dtype("cuda") is torch.float16 and torch.get_autocast_cpu_dtype() is torch.bfloat16
    assert not isinstance(3, torch.SymInt) and torch.sym_min(2, 1) == 1 and torch.sym_float(2) == 2.0
    with pytest.raises(RuntimeError):
        torch._check_is_size(-1)
    with pytest.raises(RuntimeError, match="linalg.eigh"):
        torch.symeig(torch.eye(2))
    with pytest.raises(RuntimeError, match="no stream"):
        torch.ones(2).record_stream(None)
