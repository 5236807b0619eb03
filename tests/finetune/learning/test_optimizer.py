import pytest
import torch
from torch import nn

from vesalius.finetune.learning.optimizer import MatrixOptimizer


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "conv_in": nn.Conv2d(3, 4, 3),
            "inner": nn.Conv2d(4, 6, 3),
            "linear": nn.Linear(5, 7),
            "norm": nn.GroupNorm(2, 6),
        }
    )


def give_gradients(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in network.parameters():
        p.grad = torch.randn(p.shape, generator=generator)


def test_a_kernel_moves_along_an_orthogonal_matrix_scaled_to_the_step_of_adamw():
    network = small_network()
    before = network["inner"].weight.detach().clone()
    optimizer = MatrixOptimizer(network, 1e-2, weight_decay=0.0, outer=("conv_in",))
    give_gradients(network, 1)
    optimizer.step()
    moved = (network["inner"].weight.detach() - before).flatten(1) / 1e-2
    singular = torch.linalg.svdvals(moved) / (0.2 * max(moved.shape) ** 0.5)
    assert (singular > 0.5).all()
    assert (singular < 1.5).all()
    assert moved.pow(2).mean().sqrt() == pytest.approx(0.2, rel=0.3)


@pytest.mark.parametrize("name", ["conv_in.weight", "inner.bias", "norm.weight"])
def test_first_layers_biases_and_norms_move_by_adamw(name):
    network = small_network()
    before = network.get_parameter(name).detach().clone()
    optimizer = MatrixOptimizer(network, 1e-2, weight_decay=0.0, outer=("conv_in",))
    give_gradients(network, 1)
    sign = network.get_parameter(name).grad.sign()
    optimizer.step()
    torch.testing.assert_close(network.get_parameter(name).detach(), before - 1e-2 * sign, rtol=0, atol=1e-6)


def test_a_weight_without_gradient_stays():
    network = small_network()
    optimizer = MatrixOptimizer(network, 1e-2)
    before = network["linear"].weight.detach().clone()
    give_gradients(network, 1)
    network["linear"].weight.grad = None
    optimizer.step()
    assert torch.equal(network["linear"].weight, before)


def test_weights_without_a_view_as_matrices_are_refused():
    network = nn.ModuleDict({"inner": nn.Conv2d(4, 6, 3)}).to(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="not contiguous"):
        MatrixOptimizer(network, 1e-2)


def test_a_network_that_was_given_other_storage_still_learns():
    network = small_network()
    optimizer = MatrixOptimizer(network, 1e-2)
    for p in network.parameters():  # as wrappers for several processes do
        p.data = p.data.clone()
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    give_gradients(network, 1)
    optimizer.step()
    assert all(not torch.equal(p, before[n]) for n, p in network.named_parameters())


def test_zero_grad_leaves_no_gradient_to_be_added_to():
    network = small_network()
    optimizer = MatrixOptimizer(network, 1e-2)
    give_gradients(network, 1)
    optimizer.step()
    optimizer.zero_grad()
    assert all(p.grad is None for p in network.parameters())


def test_restored_state_continues_to_the_same_weights():
    networks = [small_network(), small_network()]
    first, second = [MatrixOptimizer(n, 1e-2, outer=("conv_in",)) for n in networks]
    for seed in range(3):
        give_gradients(networks[0], seed)
        first.step()
    networks[1].load_state_dict(networks[0].state_dict())
    second.restore({k: v.clone() for k, v in first.tensors().items()})
    for network, optimizer in zip(networks, (first, second), strict=True):
        give_gradients(network, 9)
        optimizer.step()
    for name, p in networks[0].named_parameters():
        assert torch.equal(p, networks[1].get_parameter(name)), name
