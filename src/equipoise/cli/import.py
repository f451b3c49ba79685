# ruff: noqa: N999  # the file of a command is called as the command is
"""equipoise import: make a run of a generator's weights from elsewhere."""

from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.errors import as_word
from equipoise.exporting.import_weights import import_weights


def main(words: list[str]) -> int:
    """Parse the words after `equipoise import`, and import; returns the exit code."""
    return parse_and_call(import_, words, "import")


def import_(weights: Positional[Path], map: str, out: Path) -> int:
    """Make a run of a generator's weights from elsewhere: a plain state dict of a BEGAN or DCGAN.

    The run can be sampled and exported; without a discriminator it cannot be trained on.

    Example: equipoise import G_300000.pth --map began-pytorch --out runs/imported

    Example: equipoise import netG_epoch_24.pth --map dcgan-pytorch --out runs/imported

    Example: equipoise import mine.safetensors --map map.yaml --out runs/imported

    Args:
        weights: File of the state dict, .safetensors or of torch.save; no code in it is run.
        map: YAML file that translates the names of its weights, or the name of a bundled one: began-pytorch
            (carpedm20/BEGAN-pytorch), dcgan-pytorch (pytorch/examples).
        out: Folder of the new run.
    """
    run = import_weights(weights, map, out)
    channels, height, width = run.load_checkpoint()[1]["shape"]
    print(f"run: {run.path}, {'colour' if channels == 3 else 'gray'} images of {width}x{height}")
    print(f"try: equipoise sample {as_word(run.path)} --out grid.png")
    return 0
