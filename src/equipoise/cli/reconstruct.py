"""equipoise reconstruct: what the discriminator's autoencoder makes of pictures."""

from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import CountOrZero
from equipoise.devices import Device
from equipoise.runs.run import Run
from equipoise.sampling.pictures import check_output
from equipoise.sampling.reconstruct import reconstruct as compute
from equipoise.sampling.save_latents import RECONSTRUCTIONS, save_reconstruction


def main(words: list[str]) -> int:
    """Parse the words after `equipoise reconstruct`, compute and save; returns the exit code."""
    return parse_and_call(reconstruct, words, "reconstruct")


def reconstruct(
    run: Positional[Path],
    images: Positional[tuple[str, ...]],
    out: Path = Path("reconstruction.png"),
    best: bool = False,
    at: CountOrZero | None = None,
    device: Device = "auto",
) -> int:
    """What the discriminator's autoencoder makes of pictures, and where it fails: the energy of every pixel.

    For runs whose discriminator is an autoencoder: began, ebgan, magan, and ls-gan on such a network.

    Example: equipoise reconstruct runs/photos a.png b.png

    Args:
        run: Folder of the run.
        images: Pictures: files, folders, or other data.
        out: Rows of picture, reconstruction and energy map (.png, .jpg), or array (.npz: `originals`,
            `reconstructions`, `energy_maps`, `energies`).
        best: Use the checkpoint with the best KID (train with --score-every), not the last.
        at: Use the checkpoint after so many images.
        device: Device to compute on.
    """
    check_output(out, images, "reconstructions", RECONSTRUCTIONS)
    result = compute(Run.open(run), images, best=best, at=at, device=device)
    save_reconstruction(result, out)
    for name, energy in zip(result.names, result.energies, strict=True):
        print(f"{name}: energy {energy:.4f}")
    print(f"originals, reconstructions and energy maps: {out}")
    return 0
