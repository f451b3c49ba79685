"""Normalisation: two processes compute what one does with the whole batch, and the spectrum is as promised."""

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from equipoise.networks import DCGAN, MLP
from equipoise.networks.norms import BatchNorm, make_norm

Result = dict[str, Tensor]


def layers() -> nn.Sequential:
    """Two batch normalisations, one after the other, for images."""
    torch.manual_seed(0)
    stack = nn.Sequential(nn.Conv2d(2, 3, 3), BatchNorm(3), nn.Tanh(), nn.Conv2d(3, 4, 3), BatchNorm(4)).double()
    for weight in stack.parameters():
        nn.init.normal_(weight)
    return stack


def rows() -> Tensor:
    """Rows whose first half is unlike the second, so that a half's own statistics would be wrong."""
    torch.manual_seed(1)
    return torch.randn(6, 2, 8, 8, dtype=torch.float64) + torch.arange(6, dtype=torch.float64).view(6, 1, 1, 1)


def outcome(stack: nn.Sequential, images: Tensor, weights: Tensor) -> Result:
    """The output, the gradients of a loss, those of a penalty on the loss's gradient, and the running statistics."""
    images = images.clone().requires_grad_()
    output = stack(images)
    parameters = list(stack.parameters())
    loss = (output.square() * weights).mean()
    first = torch.autograd.grad(loss, [*parameters, images], create_graph=True)
    second = torch.autograd.grad(first[0].square().sum(), parameters[:1])
    return {
        "output": output.detach(),
        **{f"gradient {number}": gradient.detach() for number, gradient in enumerate(first)},
        "second": second[0].detach(),
        **{name: buffer.clone() for name, buffer in stack.named_buffers()},
    }


def work(rank: int, folder: str) -> None:
    """One of two processes: its half of the rows."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    half, weights = slice(3 * rank, 3 * rank + 3), torch.linspace(0, 1, 6, dtype=torch.float64).view(6, 1, 1, 1)
    result = outcome(layers(), rows()[half], weights[half])
    stack = layers().eval()  # on one's own: no process waits for another
    if rank == 0:
        result["eval"] = stack(rows()).detach()
        with torch.autocast("cpu", torch.bfloat16):
            result["half"] = BatchNorm(2).eval()(rows().bfloat16()).detach()
    torch.save(result, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    weights = torch.linspace(0, 1, 6, dtype=torch.float64).view(6, 1, 1, 1)
    whole, images = outcome(layers(), rows(), weights), len(list(layers().parameters()))
    torch.testing.assert_close(torch.cat([half["output"] for half in halves]), whole["output"])
    for number in range(images):  # of the weights: means over the processes, each of which has the mean of its rows
        gradient = (halves[0][f"gradient {number}"] + halves[1][f"gradient {number}"]) / 2
        torch.testing.assert_close(gradient, whole[f"gradient {number}"])
    gradient = torch.cat([half[f"gradient {images}"] for half in halves]) / 2
    torch.testing.assert_close(gradient, whole[f"gradient {images}"])
    for name, _ in layers().named_buffers():
        for half in halves:
            torch.testing.assert_close(half[name], whole[name])
    torch.testing.assert_close(halves[0]["eval"], layers().eval()(rows()).detach())
    assert halves[0]["half"].dtype == torch.bfloat16
    assert not torch.allclose(halves[0]["output"], layers()(rows()[:3]))  # its own statistics would be others


def test_alone_it_is_pytorchs_own() -> None:
    mine, theirs = BatchNorm(2).double(), nn.BatchNorm2d(2).double()
    for _ in range(3):
        assert torch.equal(mine(rows()), theirs(rows()))
    for one, other in zip(mine.buffers(), theirs.buffers(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(mine.eval()(rows()), theirs.eval()(rows()))
    flat = nn.BatchNorm1d(2).double()
    assert torch.equal(BatchNorm(2).double()(rows().mean((2, 3))), flat(rows().mean((2, 3))))


def test_layer_norm_makes_each_image_even() -> None:
    normalised = make_norm("layer", 2).double()(rows())
    torch.testing.assert_close(normalised.flatten(1).mean(1), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(
        normalised.flatten(1).var(1, correction=0), torch.ones(6, dtype=torch.float64), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("network", [DCGAN(width=4, norm="none", spectral=True), MLP(width=16, spectral=True)])
def test_no_layer_stretches_by_more_than_one(network: DCGAN | MLP) -> None:
    torch.manual_seed(0)
    discriminator = network.build((1, 16, 16)).discriminator
    assert not any("parametrizations" in name for name in network.build((1, 16, 16)).generator.state_dict())
    for weight in discriminator.parameters():
        weight.data *= 3
    for _ in range(60):
        discriminator(torch.randn(2, 1, 16, 16))
    matrices = [
        layer.weight.flatten(1) for layer in discriminator.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    assert len(matrices) == (3 if isinstance(network, DCGAN) else 4)
    for matrix in matrices:
        assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=2e-2)


def test_the_power_method_rests_in_evaluation() -> None:
    discriminator = MLP(width=4, spectral=True).build((2, 1, 1)).discriminator.eval()
    before = copy.deepcopy(discriminator.state_dict())
    discriminator(torch.randn(2, 2, 1, 1))
    assert all(torch.equal(value, before[name]) for name, value in discriminator.state_dict().items())


@pytest.mark.parametrize("network", [DCGAN(width=4, norm="none", spectral=True), MLP(width=16, spectral=True)])
@pytest.mark.parametrize("gradients", [False, True])
def test_the_power_method_takes_one_step_a_pass(network: DCGAN | MLP, gradients: bool) -> None:
    discriminator = network.build((1, 16, 16)).discriminator
    steps: list[int] = []
    normalisations = [module for name, module in discriminator.named_modules() if name.endswith("weight.0")]
    for number, module in enumerate(normalisations):
        module.register_forward_hook(lambda *_, number=number: steps.append(number))
    discriminator(torch.randn(2, 1, 16, 16, requires_grad=gradients))
    assert sorted(steps) == list(range(len(normalisations)))
    assert normalisations
