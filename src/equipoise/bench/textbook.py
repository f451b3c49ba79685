"""The step as most public code writes it: what equipoise is timed against, and proven equal to.

Three passes of the discriminator, each loss's backward pass through everything that it can reach, full precision, the
default memory layout, layers as the papers name them, Adam as it comes, and numbers read on the way.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from equipoise.config.train_config import TrainConfig
from equipoise.networks.autoencoder import ConvELU, upsample
from equipoise.networks.convolution import Conv2d, ConvTranspose2d
from equipoise.objectives.began import BEGAN
from equipoise.objectives.wgan import WGANGP
from equipoise.players import Players
from equipoise.training.batch import StepInputs


class Textbook:
    """Both players, and an optimiser for each, moved step by step.

    Args:
        config: an objective of TEXTBOOK, as it was published, and its settings.
        players: the networks, as they were built.
    """

    def __init__(self, config: TrainConfig, players: Players) -> None:
        self.config, self.players, self.k, self.steps = config, players, 0.0, 0
        for player in players:
            player.apply(_spell_out)
        rates, betas = (config.lr * config.lr_ratio, config.lr), (config.beta1, config.beta2)
        self.g_optimizer, self.d_optimizer = (
            Adam(player.parameters(), rate, betas) for player, rate in zip(players, rates, strict=True)
        )
        self._move = TEXTBOOK[config.objective_name]

    def step(self, inputs: StepInputs) -> None:
        """Move the discriminator once, and the generator when it is its turn."""
        self._move(self, replace(inputs, real=inputs.real.contiguous()))
        self.steps += 1

    def began(self, inputs: StepInputs) -> None:
        """Berthelot et al. 2017, section 3.4: both by the weights before the step."""
        objective, (generator, discriminator) = self.config.objective, self.players
        assert isinstance(objective, BEGAN)  # noqa: S101
        fake = generator(inputs.latent).images
        self._descend(self.g_optimizer, discriminator(fake).score.mean())
        real, judged = discriminator(inputs.real).score.mean(), discriminator(fake.detach()).score.mean()
        self._descend(self.d_optimizer, real - self.k * judged)
        self.k += objective.lambda_k * (objective.gamma * real.item() - judged.item())
        self.k = min(max(self.k, 0.0), 1.0)

    def gan(self, inputs: StepInputs) -> None:
        """Goodfellow et al. 2014, non-saturating."""
        generator, discriminator = self.players
        fake = generator(inputs.latent).images
        real, judged = discriminator(inputs.real).score, discriminator(fake.detach()).score
        self._descend(self.d_optimizer, F.softplus(-real).mean() + F.softplus(judged).mean())
        self._descend(self.g_optimizer, F.softplus(-discriminator(fake).score).mean())

    def wgan_gp(self, inputs: StepInputs) -> None:
        """Gulrajani et al. 2017, algorithm 1."""
        objective, (generator, discriminator) = self.config.objective, self.players
        assert isinstance(objective, WGANGP)  # noqa: S101
        assert inputs.latent_g is not None  # noqa: S101
        fake = generator(inputs.latent).images
        real, judged = discriminator(inputs.real).score.mean(), discriminator(fake.detach()).score.mean()
        share = inputs.draws.uniform("interpolation", 1, 1, 1)
        between = (share * inputs.real + (1 - share) * fake).detach().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(between).score.sum(), between, create_graph=True)
        penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        self._descend(self.d_optimizer, judged - real + objective.weight * penalty)
        if (self.steps + 1) % self.config.n_critic == 0:
            self._descend(self.g_optimizer, -discriminator(generator(inputs.latent_g).images).score.mean())

    @staticmethod
    def _descend(optimizer: Adam, loss: Tensor) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def _spell_out(module: nn.Module) -> None:
    """Enlarge and then convolve, where a layer does both at once; and leave gradients to torch."""
    if isinstance(module, Conv2d | ConvTranspose2d):
        module.matrix_products = False
    if isinstance(module, ConvELU) and module.upsampling:
        module.upsampling = False
        module.register_forward_pre_hook(lambda _, inputs: upsample(*inputs))


TEXTBOOK: dict[str, Callable[[Textbook, StepInputs], None]] = {
    "began": Textbook.began,
    "gan": Textbook.gan,
    "wgan-gp": Textbook.wgan_gp,
}
"""The objectives that have one. Generators' and discriminators' gradients never meet: each is zeroed before use."""
