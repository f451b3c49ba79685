"""Ready-made configurations, by objective and name."""

from equipoise.config.train_config import TrainConfig
from equipoise.data import TOYS
from equipoise.networks import DCGAN, Autoencoder
from equipoise.objectives import BEGAN, OBJECTIVES, Objective


def presets_of(kind: type[Objective]) -> dict[str, TrainConfig]:
    """All presets of an objective: `default`, `toy` unless its images are discrete, and those that it publishes."""
    presets = {"default": TrainConfig(objective=kind())}
    if not kind().needs.levels:
        presets["toy"] = TrainConfig(objective=kind(), data="grid25")
    for name, (objective, settings) in kind.presets().items():
        presets[name] = TrainConfig(**{"objective": objective, **settings})
    return presets


def default_preset(objective: str, data: str | None) -> str:
    """Name of the preset that applies if none is named: `toy` for points in the plane, where there is one."""
    return "toy" if data in TOYS and "toy" in PRESETS[objective] else "default"


PRESETS: dict[str, dict[str, TrainConfig]] = {name: presets_of(kind) for name, kind in OBJECTIVES.items()}
"""`default` applies if no preset is named, or `toy` for points in the plane."""

# Two draws of latents, and 400,000 steps of 16, of which the authors say that images are good from 200,000 on.
PAPER = TrainConfig(
    objective=BEGAN.paper(),
    network=Autoencoder.paper(),
    images=6_400_000,
    separate_latents=True,
    lr=1e-4,
    lr_ratio=1.0,
    warmup=0,
    ema=0,
    precision="fp32",
    sample_every=100_000,
    checkpoint_every=100_000,
)

PRESETS["began"] |= {
    # Small enough for two CPU cores: `make demo`.
    "demo": TrainConfig(
        network=Autoencoder(width=16, latent=10), images=140_000, lr=5e-4, lr_window=4_000, lr_patience=5
    ),
    "paper": PAPER,
    # With what the paper adds for larger images: skip connections, and residuals that vanish in 16,000 steps.
    "paper-skips": PAPER.with_changes(network=Autoencoder.paper(skips=True, residual=256_000)),
}

# Equipoise's own: spectral normalisation holds the discriminator back while the generator, with ten times its learning
# rate, keeps up (docs/results/digits.md).
PRESETS["bgan-discrete"]["steady"] = PRESETS["bgan-discrete"]["default"].with_changes(
    network=DCGAN(norm="none", spectral=True), lr=2e-4, lr_ratio=10.0
)
