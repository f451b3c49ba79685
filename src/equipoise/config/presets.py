"""Ready configurations by objective and name."""

from equipoise.config.train_config import TrainConfig
from equipoise.networks import DCGAN, Autoencoder
from equipoise.objectives import BEGAN, OBJECTIVES

PRESETS: dict[str, dict[str, TrainConfig]] = {
    name: {"default": TrainConfig(objective=kind())}
    | ({} if kind().needs.levels else {"toy": TrainConfig(objective=kind(), data="grid25")})
    | {
        preset: TrainConfig(**{"objective": objective, **settings})
        for preset, (objective, settings) in kind.presets().items()
    }
    for name, kind in OBJECTIVES.items()
}
"""`default` is what a run takes that names no preset, or `toy` if its data are points in the plane; `paper` is what the
authors used, `demo` is made for two CPU cores."""

PRESETS["began"] |= {
    "demo": TrainConfig(
        network=Autoencoder(width=16, latent=10), images=140_000, lr=5e-4, lr_window=4_000, lr_patience=5
    ),
    "paper": TrainConfig(
        objective=BEGAN.paper(),
        network=Autoencoder.paper(),
        lr=1e-4,
        lr_ratio=1.0,
        warmup=0,
        ema=0,
    ),
}

PRESETS["bgan-discrete"]["steady"] = PRESETS["bgan-discrete"]["default"].with_changes(
    network=DCGAN(norm="none", spectral=True), lr=2e-4, lr_ratio=10.0
)
"""Ours: a discriminator that cannot run away, and a generator that keeps up (docs/results/digits.md)."""
