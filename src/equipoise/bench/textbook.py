"""The training step as most public code writes it: the baseline that equipoise is timed against.

Three passes of the discriminator, each loss's backward pass through everything that it reaches, full precision, the
default memory layout, layers as the papers name them, Adam with torch's defaults, and losses read by `.item()`. A test
shows that it computes the same weights as equipoise's step.
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
from equipoise.objectives.base import Batch
from equipoise.objectives.began import BEGAN
from equipoise.objectives.wgan import WGANGP
from equipoise.players import Players
from equipoise.training.batch import StepInputs


class Textbook:
    """Both players with an optimizer each.

    Args:
        config: an objective of TEXTBOOK with its published settings; for `recipe`, any without labels and conditions.
        players: the networks as they were built.
    """

    def __init__(self, config: TrainConfig, players: Players) -> None:
        self.config, self.players, self.k, self.steps = config, players, 0.0, 0
        self.state = config.objective.initial_state(1)
        for player in players:
            player.apply(_use_plain_layers)
        rates, betas = (config.lr * config.lr_ratio, config.lr), (config.beta1, config.beta2)
        self.g_optimizer, self.d_optimizer = (
            Adam(player.parameters(), rate, betas) for player, rate in zip(players, rates, strict=True)
        )

    def step(self, inputs: StepInputs) -> None:
        """Update the discriminator, and the generator when it is due."""
        TEXTBOOK[self.config.objective_name](self, replace(inputs, real=inputs.real.contiguous()))
        self.steps += 1

    def began(self, inputs: StepInputs) -> None:
        """Berthelot et al. 2017, section 3.4: both gradients at the weights before the step."""
        objective, (generator, discriminator) = self.config.objective, self.players
        assert isinstance(objective, BEGAN)  # noqa: S101
        fake = generator(inputs.latent).images
        self._update(self.g_optimizer, discriminator(fake).score.mean())
        energy_real, energy_fake = discriminator(inputs.real).score.mean(), discriminator(fake.detach()).score.mean()
        self._update(self.d_optimizer, energy_real - self.k * energy_fake)
        self.k += objective.lambda_k * (objective.gamma * energy_real.item() - energy_fake.item())
        self.k = min(max(self.k, 0.0), 1.0)

    def gan(self, inputs: StepInputs) -> None:
        """Goodfellow et al. 2014, non-saturating."""
        generator, discriminator = self.players
        fake = generator(inputs.latent).images
        score_real, score_fake = discriminator(inputs.real).score, discriminator(fake.detach()).score
        self._update(self.d_optimizer, F.softplus(-score_real).mean() + F.softplus(score_fake).mean())
        self._update(self.g_optimizer, F.softplus(-discriminator(fake).score).mean())

    def wgan_gp(self, inputs: StepInputs) -> None:
        """Gulrajani et al. 2017, algorithm 1."""
        objective, (generator, discriminator) = self.config.objective, self.players
        assert isinstance(objective, WGANGP)  # noqa: S101
        assert inputs.latent_g is not None  # noqa: S101
        fake = generator(inputs.latent).images
        score_real, score_fake = discriminator(inputs.real).score.mean(), discriminator(fake.detach()).score.mean()
        epsilon = inputs.draws.uniform("interpolation", 1, 1, 1)
        interpolated = (epsilon * inputs.real + (1 - epsilon) * fake).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(interpolated).score.sum(), interpolated, create_graph=True)
        penalty = ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
        self._update(self.d_optimizer, score_fake - score_real + objective.weight * penalty)
        if (self.steps + 1) % self.config.n_critic == 0:
            self._update(self.g_optimizer, -discriminator(generator(inputs.latent_g).images).score.mean())

    def recipe(self, inputs: StepInputs, lr: float) -> None:
        """Any objective at settings that are not its published ones, the players in turn, with images augmented.

        So would our recipe be written in the way of public code: the losses are ours, the passes are not.

        Args:
            inputs: of the step.
            lr: the discriminator's learning rate in this step.
        """
        objective, (generator, discriminator) = self.config.objective, self.players
        self.g_optimizer.param_groups[0]["lr"], self.d_optimizer.param_groups[0]["lr"] = lr * self.config.lr_ratio, lr
        fake = generator(inputs.latent)
        fake = replace(fake, images=inputs.augment(fake.images, "fake"))
        real, detached = inputs.augmented_real(), fake.images.detach()
        outputs = discriminator(real), discriminator(detached)
        batch = Batch(real, inputs.latent, fake, *outputs, discriminator, inputs.draws)
        of_d = objective.discriminator_loss(batch, self.state)
        self._update(self.d_optimizer, of_d.value)
        of_g = objective.generator_loss(replace(batch, d_fake=discriminator(fake.images)), self.state)
        self._update(self.g_optimizer, of_g.value)
        self.state = objective.adapt(self.state, of_d.aux | of_g.aux)
        self.steps += 1

    @staticmethod
    def _update(optimizer: Adam, loss: Tensor) -> None:
        # The loss's gradient reaches the other player too; that player zeroes it before its own backward pass.
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def _use_plain_layers(module: nn.Module) -> None:
    """Undo the fast paths of the networks: upsample and then convolve, and let torch compute every gradient."""
    if isinstance(module, Conv2d | ConvTranspose2d):
        module.fast_paths = False
    if isinstance(module, ConvELU) and module.upsampling:
        module.upsampling = False
        module.register_forward_pre_hook(lambda _, inputs: upsample(*inputs))


TEXTBOOK: dict[str, Callable[[Textbook, StepInputs], None]] = {
    "began": Textbook.began,
    "gan": Textbook.gan,
    "wgan-gp": Textbook.wgan_gp,
}
"""Step of each objective that has a textbook, by the objective's name."""
