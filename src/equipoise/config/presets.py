"""Ready-made configurations, by objective and name."""

from dataclasses import fields, replace

from equipoise.config.train_config import TrainConfig
from equipoise.data import TOYS
from equipoise.networks import DCGAN, Autoencoder, DCGANAutoencoder, Network
from equipoise.objectives import BEGAN, OBJECTIVES, Objective


def presets_of(kind: type[Objective]) -> dict[str, TrainConfig]:
    """All presets of an objective: `default`, `toy` unless its images are discrete, `published`, and its variants."""
    variants = {"published": (kind(), {}), **kind.presets()}
    presets = {"default": TrainConfig(objective=kind())}
    if not kind().needs.levels:
        objective, settings = variants.pop("toy", (kind(), {"data": "grid25"}))
        presets["toy"] = TrainConfig(objective=objective, **settings)
    # As any GAN is trained, but for what its authors changed; nothing is left to our recipe.
    neutral = {field.name: field.default for field in fields(TrainConfig) if field.name in kind.recipe}
    for name, (objective, settings) in variants.items():
        values = {"objective": objective, "network": published_network(objective), **neutral, **kind.published}
        presets[name] = TrainConfig(**{**values, **settings})
    return presets


def published_network(objective: Objective) -> Network:
    """BEGAN's autoencoder for energies, else DCGAN's networks as wide as the paper's."""
    if objective.needs.score == "energy":
        return Autoencoder()
    needs = objective.needs
    network = DCGAN.default(
        independent=needs.independent, independent_g=needs.independent_g, smooth=needs.smooth, spectral=False
    )
    return replace(network, width=64)


def default_preset(objective: str, data: str | None) -> str:
    """Name of the preset that applies if none is named: `toy` for points in the plane, where there is one."""
    return "toy" if data in TOYS and "toy" in PRESETS[objective] else "default"


PRESETS: dict[str, dict[str, TrainConfig]] = {name: presets_of(kind) for name, kind in OBJECTIVES.items()}
"""`default` applies if no preset is named, or `toy` for points in the plane."""

# The paper's networks in small, kept diverse by remedies of ours and others; the default before DCGAN's layers.
REMEDIES = TrainConfig(
    objective=BEGAN.remedies(),
    network=Autoencoder(width=16, latent=10),
    images=140_000,
    batch=16,
    update="simultaneous",
    lr=5e-4,
    lr_ratio=2.0,
    lr_window=4_000,
    lr_patience=5,
    prior="uniform",
)

# Two draws of latents, and 400,000 steps of 16, of which the authors say that images are good from 200,000 on.
PAPER = TrainConfig(
    objective=BEGAN.paper(),
    network=Autoencoder.paper(),
    images=6_400_000,
    batch=16,
    update="simultaneous",
    separate_latents=True,
    lr=1e-4,
    warmup=0,
    lr_patience=10,
    prior="uniform",
    ema=0,
    precision="fp32",
    sample_every=100_000,
    checkpoint_every=100_000,
)

PRESETS["began"] |= {
    # For two CPU cores: `make demo`. By so many digits a wider generator gains nothing, and it is slower.
    "demo": TrainConfig(images=250_000, network=DCGANAutoencoder()),
    "remedies": REMEDIES,
    "paper": PAPER,
    "published": PAPER,
    # With what the paper adds for larger images: skip connections, and residuals that vanish in 16,000 steps.
    "paper-skips": PAPER.with_changes(network=Autoencoder.paper(skips=True, residual=256_000)),
    "toy": TrainConfig(objective=BEGAN.remedies(), data="grid25"),
}
