"""A run's trained networks, built from its configuration and filled from a checkpoint."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.errors import UsageError, reason
from equipoise.players import Players
from equipoise.runs.checkpoint import CheckpointError, fill
from equipoise.runs.run import CONFIG, Run


def load_generator(run: Run, *, ema: bool = True, best: bool = False) -> nn.Module:
    """The trained generator in evaluation mode, on the CPU: latents (N, latent) -> GeneratorOutput.

    Args:
        run: a trained run.
        ema: the moving average of the weights, where the run keeps one; else the weights themselves.
        best: of the checkpoint with the best score, instead of the last.

    Raises:
        CheckpointError: no checkpoint can be read.
    """
    tensors, facts, _ = run.load_checkpoint(best=best)
    part = "ema" if ema and run.config.ema else "generator"
    return _filled(_players(run, facts).generator, part, tensors)


def load_discriminator(run: Run) -> nn.Module:
    """The trained discriminator in evaluation mode, on the CPU: images (N, C, H, W) in [-1, 1] -> DiscriminatorOutput.

    Raises:
        CheckpointError: no checkpoint can be read.
    """
    tensors, facts, _ = run.load_checkpoint()
    return _filled(_players(run, facts).discriminator, "discriminator", tensors)


def _players(run: Run, facts: Mapping[str, Any]) -> Players:
    if changed := run.changes_since(facts):
        raise UsageError(f"{run.path / CONFIG} was changed since the last checkpoint ({changed}): put that back")
    return run.config.build(tuple(facts["shape"]), facts["classes"])


def _filled(network: nn.Module, part: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    """`network` with the weights of `part`, channels-last as in training, so that samples have the same bits."""
    own = {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
    try:
        fill(network, own)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint does not fit the run's configuration: {reason(error)}") from error
    return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]
