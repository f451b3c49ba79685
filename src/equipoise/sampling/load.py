"""A run's trained networks, built from its configuration and filled from a checkpoint."""

import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from equipoise.config.arguments import checked
from equipoise.errors import UsageError, UsageWarning, quoted, reason
from equipoise.isolation import isolated
from equipoise.players import Conditions
from equipoise.runs.checkpoint import CheckpointError, fill
from equipoise.runs.run import CONFIG, Run


class ImageGenerator(nn.Module):
    """A trained generator as a plain function of tensors, which `torch.export` and `torch.jit.trace` take.

    It computes in the precision of its weights; `equipoise.sample` has that of training.

    Attributes:
        network: the generator itself, which returns a `GeneratorOutput`.
        latent: length of the latents.
        classes: number of classes, or 0 where it makes images of none.
    """

    def __init__(self, network: nn.Module, latent: int) -> None:
        super().__init__()
        self.network, self.latent, self.classes = network, latent, int(getattr(network, "classes", 0))

    def forward(
        self,
        latents: Tensor,
        labels: Tensor | None = None,
        masked: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Generate images (N, C, H, W), nominally in [-1, 1], not clamped.

        Args:
            latents: (N, latent), from the run's prior.
            labels: (N,) int64 classes, where it makes images of a class.
            masked: (N, C, H, W) in [-1, 1], images to fill in, where it inpaints.
            mask: (N, 1, H, W), 1 where to fill them in, else 0.

        Raises:
            UsageError: the latents are no tensor of that shape, or a condition is missing.
        """
        # Tracing makes tensors of sizes, and a comparison of them a warning.
        tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if not isinstance(latents, Tensor) or not (tracing or latents.shape[1:] == (self.latent,)):
            given = tuple(latents.shape) if isinstance(latents, Tensor) else quoted(latents)
            raise UsageError(f"latents are a tensor (N, {self.latent}), not {given}")
        images: Tensor = self.network(latents, Conditions(labels, masked, mask)).images
        return images


@checked
def load_generator(run: Run, *, ema: bool = True, best: bool = False, at: int | None = None) -> ImageGenerator:
    """The trained generator in evaluation mode, on the CPU: latents (N, latent) -> images (N, C, H, W).

    Args:
        run: a trained run.
        ema: the moving average of the weights, where the run keeps one; else the weights themselves.
        best: of the checkpoint with the best score, instead of the last.
        at: of the checkpoint after so many images, give or take a batch.

    Raises:
        CheckpointError: no checkpoint can be read, or there is none after so many images.
    """
    return ImageGenerator(trained_generator(run, ema=ema, best=best, at=at), run.config.network.latent).eval()


def trained_generator(run: Run, *, ema: bool = True, best: bool = False, at: int | None = None) -> nn.Module:
    """`load_generator`'s network as training has it: latents (N, latent) and its `Conditions` -> GeneratorOutput."""
    return generator_and_facts(run, ema=ema, best=best, at=at)[0]


def generator_and_facts(
    run: Run, *, ema: bool = True, best: bool = False, at: int | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """`trained_generator`, and the facts of its checkpoint: asked for apart, a training may write another meanwhile."""
    (generator,), facts = _load(run, _generator_part(run, ema=ema), best=best, at=at)
    return generator, facts


def load_discriminator(run: Run, *, best: bool = False, at: int | None = None) -> nn.Module:
    """The trained discriminator in evaluation mode, on the CPU: images (N, C, H, W) in [-1, 1] -> DiscriminatorOutput.

    Raises:
        CheckpointError: no checkpoint can be read, or there is none after so many images.
    """
    (discriminator,), _ = _load(run, "discriminator", best=best, at=at)
    return discriminator


class LoadedPlayers(NamedTuple):
    """Both players in evaluation mode, on the CPU, and the facts of their checkpoint; imported weights have no D."""

    generator: nn.Module
    discriminator: nn.Module | None
    facts: dict[str, Any]


def load_players(run: Run, *, ema: bool = True, best: bool = False, at: int | None = None) -> LoadedPlayers:
    """Both trained players of one checkpoint, chosen as in `load_generator`.

    Raises:
        CheckpointError: no checkpoint can be read, or there is none after so many images.
    """
    parts = (_generator_part(run, ema=ema), "discriminator")
    (generator, *others), facts = _load(run, *parts, best=best, at=at, imported=True)
    return LoadedPlayers(generator, others[0] if others else None, facts)


def _generator_part(run: Run, *, ema: bool) -> str:
    return "ema" if ema and run.config.ema else "generator"


@isolated()
def _load(
    run: Run, *parts: str, best: bool, at: int | None, imported: bool = False
) -> tuple[list[nn.Module], dict[str, Any]]:
    """Networks with the weights of these parts of a checkpoint, and its facts; parts not asked for may be missing.

    So may those that `imported` weights lack, if these are fine.

    Channels-last as in training, so that samples have the same bits.
    """
    tensors, facts, problems = run.load_checkpoint(best=best, at=at)
    for problem in problems:
        warnings.warn(f"{problem}, after {facts['images']:,} images", UsageWarning, stacklevel=2)
    if changed := run.changes_since(facts):
        raise UsageError(f"{run.path / CONFIG} was changed since the last checkpoint ({changed}): put that back")
    generator, discriminator = run.config.build(tuple(facts["shape"]), facts["classes"])
    networks = []
    for part in parts:
        own = {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
        if not own and imported and facts.get("imported"):
            continue
        if not own:
            raise CheckpointError(f"the run {run.path} has no {part}, as one that was made of imported weights")
        network = discriminator if part == "discriminator" else generator
        try:
            fill(network, own)
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint does not fit the run's configuration: {reason(error)}") from error
        networks.append(network.to(memory_format=torch.channels_last).eval())  # type: ignore[call-overload]
    return networks, facts
