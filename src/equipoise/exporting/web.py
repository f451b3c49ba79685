"""A page that runs a generator in the browser: one static folder, which loads nothing from elsewhere."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from equipoise.errors import UsageError
from equipoise.exporting.onnx_models import check_difference, largest_difference, to_onnx
from equipoise.exporting.ports import generator_ports
from equipoise.exporting.runtime import LICENCES, packed_script, runtime_scripts
from equipoise.exporting.trained import Trained
from equipoise.latents.principal import Directions, jacobian_directions
from equipoise.players import Conditions

PAGE = ("index.html", "page.css", "page.js")
DIRECTIONS = 8  # sliders that people can keep apart
PROBES = 8  # latents at which the Jacobian is taken
MOST_SLIDERS = 512  # of single latents


def check_web(trained: Trained) -> None:
    """Refuse what no page can show.

    Raises:
        UsageError: the generator fills in images, and a page has none to fill in.
    """
    if trained.config.inpainting:
        raise UsageError(
            f"{trained.run.path} fills in images, and a page has none to give it: use --format onnx, safetensors or hub"
        )


def write_web(folder: Path, trained: Trained, title: str) -> float:
    """Write the page into a folder; returns the largest difference of its model to PyTorch.

    Raises:
        UsageError: onnxruntime-web cannot be had, or the model does not equal PyTorch.
        OSError: the disk refuses.
    """
    config, inputs = trained.config, trained.inputs()
    ports = generator_ports(trained.generator, inputs, config.levels)
    model = to_onnx(ports, {"equipoise": config.equipoise})
    difference = largest_difference(model, ports)
    check_difference(difference, "the page's model")
    found = principal_directions(trained)
    about: dict[str, Any] = {
        **config.to_dict(),
        "title": title,
        "latent": config.spec.latent,
        "sliders": min(config.spec.latent, MOST_SLIDERS),
        "directions": rounded(found.vectors[:DIRECTIONS]),
        "strengths": rounded(found.strengths[:DIRECTIONS]),
        "weights": trained.weights_text,
        "imported": trained.imported,
    }
    (folder / "runtime").mkdir()
    for name, script in runtime_scripts().items():
        (folder / "runtime" / f"{name}.js").write_bytes(script)
    for name in PAGE:
        (folder / name).write_bytes((files("equipoise.exporting") / "page" / name).read_bytes())
    (folder / "model.js").write_bytes(packed_script("model", model))
    (folder / "about.js").write_text(f"globalThis.ABOUT = {json.dumps(about)};\n")
    (folder / "LICENSES.txt").write_text(LICENCES)
    return difference


def principal_directions(trained: Trained) -> Directions:
    """Directions of the latents in which the generator's images change most: of discrete ones their expected values."""
    network, inputs = trained.generator.network, trained.inputs(PROBES)
    expected = getattr(network, "expected", network)
    return jacobian_directions(lambda z: expected(z, Conditions(inputs.get("labels"))).images, inputs["latents"])


def rounded(values: torch.Tensor) -> Any:
    """Nested lists of numbers, to six digits after the point."""
    return [round(value, 6) for value in values.tolist()] if values.ndim == 1 else [rounded(row) for row in values]
