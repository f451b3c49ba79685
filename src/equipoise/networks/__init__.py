"""Networks by name: each a frozen specification with `build(shape) -> Players`."""

from equipoise.networks.autoencoder import Autoencoder

NETWORKS = {"autoencoder": Autoencoder}

Network = Autoencoder

__all__ = ["NETWORKS", "Autoencoder", "Network"]
