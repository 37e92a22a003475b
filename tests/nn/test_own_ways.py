"""Where nn says or does something of its own: missing ops, one device, refusals clearer than PyTorch's."""

import copy

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F


def test_a_missing_functional_is_named():
    with pytest.raises(AttributeError, match="no_such_function"):
        _ = F.no_such_function
    assert "relu" in dir(F)
    assert "gumbel_softmax" in F.__all__


def test_every_public_name_of_functional_exists():
    missing = []
    for name in F.__all__:
        try:
            getattr(F, name)
        except NotImplementedError:
            missing.append(name)
    assert missing == []


def test_data_parallel_on_one_device_calls_the_module():
    m = nn.Linear(2, 2)
    x = torch.ones(3, 2)
    assert torch.equal(nn.DataParallel(m)(x), m(x))
    assert torch.equal(nn.parallel.data_parallel(m, x), m(x))
    with pytest.raises(NotImplementedError, match="device_ids"):
        nn.DataParallel(m, device_ids=[0, 1])


def test_sync_batch_norm_of_one_process_is_batch_norm():
    x = torch.randn(4, 3, 2)
    a, b = nn.BatchNorm1d(3), nn.SyncBatchNorm(3)
    assert torch.equal(a(x), b(x))
    assert torch.equal(a.running_var, b.running_var)


def test_running_statistics_stay_out_of_the_graph():
    layer = nn.BatchNorm1d(3).eval()
    y = layer(torch.randn(4, 3, 2))
    assert y.requires_grad
    for t in (layer.running_mean, layer.running_var):
        assert not t.requires_grad and t.grad_fn is None


def test_attributes_of_modules_are_found_in_their_tables():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.scale = nn.Linear(2, 2), nn.Parameter(torch.ones(2))
            self.register_buffer("count", torch.zeros(1))

    net, other = Net(), Net()
    for name in ("layer", "scale", "count"):
        first = getattr(net, name)
        assert getattr(net, name) is first and getattr(other, name) is not first
        assert not hasattr(Net, name) and name in dir(net) and name not in dir(nn.Module())
        setattr(other, name, None)
        assert getattr(other, name) is None
        delattr(net, name)
        assert not hasattr(net, name) and name not in dir(net)
        with pytest.raises(AttributeError, match=f"'Net' object has no attribute '{name}'"):
            getattr(net, name)
    net.scale = 3  # no parameter any more
    assert net.scale == 3
    net.register_parameter("count", nn.Parameter(torch.ones(1)))
    assert net.count is net._parameters["count"]


def test_cross_map_lrn_gradient_is_that_of_its_output():
    # PyTorch's own fails its gradcheck, so the reference is finite differences.
    layer = nn.CrossMapLRN2d(5, 0.5, 0.6, 2)
    values = np.sin(np.arange(24.0)).reshape(1, 6, 2, 2)
    x = torch.tensor(values).requires_grad_()
    layer(x).sum().backward()
    step = 1e-6
    for at in [(0, 0, 0, 0), (0, 3, 1, 0), (0, 5, 1, 1)]:
        moved = values.copy()
        moved[at] += step
        up = layer(torch.tensor(moved)).sum().item()
        moved[at] -= 2 * step
        down = layer(torch.tensor(moved)).sum().item()
        assert x.grad.numpy()[at] == pytest.approx((up - down) / (2 * step), rel=1e-5)


def test_lengths_beyond_the_sequence_are_refused():
    with pytest.raises(RuntimeError, match="got lengths up to 5 for 4 steps"):
        nn.utils.rnn.pack_padded_sequence(torch.ones(4, 3, 2), [5, 1, 1])


def test_uninitialised_parameters_are_refused_by_every_op():
    w = nn.LazyLinear(3).weight
    for op in (lambda: w * 2, lambda: torch.add(w, w), lambda: w.sum(), lambda: 2 - w, lambda: w[0]):
        with pytest.raises(ValueError, match="Attempted to use an uninitialized parameter"):
            op()
    assert w.double().dtype is torch.float64


def test_lazy_norms_can_be_copied_before_their_first_input():
    copied = copy.deepcopy(nn.LazyBatchNorm1d())
    assert copied(torch.ones(3, 4)).shape == (3, 4)
    assert type(copied) is nn.BatchNorm1d


def test_skip_init_leaves_the_random_stream_alone():
    torch.manual_seed(0)
    first = torch.rand(1)
    torch.manual_seed(0)
    made = nn.utils.skip_init(nn.Linear, 3, 2)
    assert made.weight.shape == (2, 3)
    assert torch.equal(torch.rand(1), first)


def test_convolution_gradients_by_themselves():
    x, w = torch.randn(2, 3, 5, 5).requires_grad_(), torch.randn(4, 3, 3, 3).requires_grad_()
    y = F.conv2d(x, w, stride=2, padding=1)
    g = torch.randn(y.shape)
    y.backward(g)
    gx = nn.grad.conv2d_input(x.shape, w, g, stride=2, padding=1)
    gw = nn.grad.conv2d_weight(x, w.shape, g, stride=2, padding=1)
    assert torch.allclose(gx, x.grad, atol=1e-5)
    assert torch.allclose(gw, w.grad, atol=1e-5)


def test_attention_backends_are_names_only():
    from flambeau.nn.attention import SDPBackend, sdpa_kernel

    q = torch.randn(1, 2, 4, 8)
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]):
        y = F.scaled_dot_product_attention(q, q, q)
    assert torch.equal(y, F.scaled_dot_product_attention(q, q, q))
    with pytest.raises(AssertionError, match="SDPBackend"), sdpa_kernel("flash"):
        pass


def test_compiling_without_a_compiler_says_so(monkeypatch):
    m = nn.Linear(1, 1)
    if hasattr(torch, "compile"):
        monkeypatch.setattr(torch, "compile", lambda fn, **kw: lambda *a: "compiled")
        m.compile()
        assert m(torch.ones(1)) == "compiled"
    else:
        with pytest.raises(NotImplementedError, match=r"flambeau\.compile"):
            m.compile()


def test_parameters_take_the_quick_path_and_keep_their_attributes():
    p = nn.Parameter(torch.ones(2))
    p.no_decay = True
    m = nn.Linear(2, 2)
    m.weight = p
    assert m.double().weight.no_decay
    assert m.weight is p
    assert type(p + p) is torch.Tensor


def test_functional_call_puts_everything_back():
    m = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {k: v.clone() for k, v in m.state_dict().items()}
    given = {k: torch.ones_like(v) for k, v in m.named_parameters()}
    with pytest.raises(RuntimeError):
        nn.utils.stateless._functional_call(m, given, (torch.ones(3, 5),))
    for key, value in m.state_dict().items():
        assert torch.equal(value, before[key])
