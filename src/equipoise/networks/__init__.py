"""Networks by name, each a frozen specification of both players, and `build_players`, which makes them for a run."""

from equipoise.networks.autoencoder import Autoencoder
from equipoise.networks.base import Network
from equipoise.networks.compare_gan import CompareGAN
from equipoise.networks.conditional import build_players
from equipoise.networks.dcgan import DCGAN, DCGANAutoencoder
from equipoise.networks.mlp import MLP, MLPAutoencoder

NETWORKS: dict[str, type[Network]] = {
    "autoencoder": Autoencoder,
    "dcgan": DCGAN,
    "dcgan-autoencoder": DCGANAutoencoder,
    "mlp": MLP,
    "mlp-autoencoder": MLPAutoencoder,
    "compare-gan": CompareGAN,
}

__all__ = [
    "DCGAN",
    "MLP",
    "NETWORKS",
    "Autoencoder",
    "CompareGAN",
    "DCGANAutoencoder",
    "MLPAutoencoder",
    "Network",
    "build_players",
]
