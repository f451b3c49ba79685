"""`export`: a run's trained generator, or its discriminator, written into a folder in one of four forms."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from equipoise.config.arguments import checked
from equipoise.config.numbers import BatchSize, CountOrZero
from equipoise.errors import UsageError, printable
from equipoise.evaluation.scores import Scores
from equipoise.exporting.card import SAMPLES, model_card
from equipoise.exporting.folder import folder_size, size_text
from equipoise.exporting.int8 import kid_loss, open_kid, quantize
from equipoise.exporting.onnx_models import (
    LARGEST_DIFFERENCE,
    OPSET,
    check_difference,
    largest_difference,
    require_onnx,
    to_onnx,
)
from equipoise.exporting.ports import Ports, discriminator_ports, generator_ports
from equipoise.exporting.pretrained import write_weights
from equipoise.exporting.trained import Trained
from equipoise.exporting.web import check_web, write_web
from equipoise.isolation import isolated
from equipoise.runs.files import folder_where_asked, to_json
from equipoise.runs.run import Run
from equipoise.sampling.load import load_discriminator
from equipoise.sampling.sample import sample
from equipoise.views.figures import grid

Format = Literal["safetensors", "onnx", "hub", "web"]
What = Literal["generator", "discriminator"]
REPORT = "export.json"


@dataclass(frozen=True)
class Exported:
    """What an export has written.

    Attributes:
        path: the folder.
        size: bytes of all its files.
        notes: what was measured, in sentences.
    """

    path: Path
    size: int
    notes: tuple[str, ...] = ()


@checked
@isolated()
def export(
    run: Run | Path | str,
    out: Path | str,
    *,
    format: Format = "safetensors",
    what: What = "generator",
    ema: bool = True,
    best: bool = False,
    at: CountOrZero | None = None,
    batch: BatchSize = 1,
    fp16: bool = True,
    int8: bool = False,
    name: str | None = None,
    repository: str | None = None,
    scores: Path | str | None = None,
    licence: str | None = None,
) -> Exported:
    """Export a trained generator, or its discriminator, into a new folder, which appears whole or not at all.

    Args:
        run: a trained run, or its folder.
        out: the folder, which must be new or empty.
        format: safetensors (weights and configuration, for `equipoise.load`), onnx, hub (safetensors and a model card),
            or web (a page that runs the generator in a browser).
        what: the discriminator goes into onnx alone.
        ema: of the generator, the moving average of the weights, where the run keeps one.
        best: the checkpoint with the best KID, instead of the last.
        at: the checkpoint after so many images, give or take a batch.
        batch: rows of the ONNX models of a fixed batch; the others take any number.
        fp16: ONNX models in half precision too.
        int8: an ONNX generator with weights in 8 bits too, whose loss in KID is measured beside the run's data.
        name: for the page's title and the card's; by default the repository's, or the run's.
        repository: on the hub, such as me/photos, from which the card is to say that the model is loaded.
        scores: file of `equipoise evaluate --json`, for the card.
        licence: of the model on the hub, such as cc-by-4.0; by default none is stated.

    Raises:
        UsageError: there is nothing to export, it is not for this format, a package is missing, an ONNX model differs
            from PyTorch, or `out` is not empty or cannot be written.
    """
    run, out = run if isinstance(run, Run) else Run.open(run), Path(out)
    _check_combination(format, what, best=best, int8=int8)
    _check_unused(format, name=name, scores=scores, licence=licence, repository=repository)
    card_scores = Scores.read(Path(scores)) if scores is not None else None
    trained = Trained.open(run, ema=ema and what == "generator", best=best, at=at)
    title = printable(name or (repository or run.path.absolute().name).rpartition("/")[2])
    notes: list[str] = []
    with folder_where_asked(out) as folder:
        if format == "web":
            check_web(trained)
            notes.append(_equality("the page's model", "fp32", write_web(folder, trained, title)))
        elif format == "onnx":
            notes += _write_onnx(folder, trained, what, batch, fp16=fp16, int8=int8)
        else:
            write_weights(folder, trained.generator, trained.config)
        if format == "hub":
            _write_card(folder, trained, model_card(trained, title, card_scores, licence, repository=repository))
        size = folder_size(folder)
    return Exported(out, size, tuple(notes))


def _write_card(folder: Path, trained: Trained, card: str) -> None:
    """Write a model card, and the samples that it shows."""
    samples = sample(trained.run, 64, ema=trained.ema, best=trained.best, at=trained.at)
    grid(samples).save(folder / SAMPLES)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _check_combination(format: Format, what: What, *, best: bool, int8: bool) -> None:
    """Check that this can be exported in this form.

    Raises:
        UsageError: it cannot, or a package is missing.
    """
    if format not in get_args(Format) or what not in get_args(What):
        raise UsageError(f"cannot export a {what} as {format}: use one of {', '.join(get_args(Format))}")
    if what == "discriminator" and (best or format != "onnx"):
        raise UsageError(
            "a discriminator is exported as onnx, of the last checkpoint or --at: add --format onnx, without --best"
        )
    if int8 and (format, what) != ("onnx", "generator"):
        raise UsageError("--int8 is for generators in onnx: add --format onnx, or leave it out")
    if format in {"onnx", "web"}:
        require_onnx()


def _check_unused(format: Format, **described: object) -> None:
    """Refuse what describes a model, in a form without a place for it.

    Raises:
        UsageError: something is said for a card or a title that is not written.
    """
    for option, value in described.items():
        forms = ("web", "hub") if option == "name" else ("hub",)
        if value is not None and format not in forms:
            written = "a page or a model card" if option == "name" else "a model card"
            raise UsageError(f"--{option} is for {written}: add --format {' or '.join(forms)}, or leave it out")


def _write_onnx(folder: Path, trained: Trained, what: What, batch: int, *, fp16: bool, int8: bool) -> list[str]:
    """Write the models and what is known of them; returns it in sentences."""
    kid = open_kid(trained.run) if int8 else None  # first, as nothing is written without it
    if what == "generator":
        ports = generator_ports(trained.generator, trained.inputs(max(64, batch)), trained.config.levels)
    else:
        network = load_discriminator(trained.run, at=trained.at).float().requires_grad_(requires_grad=False)
        ports = discriminator_ports(network, trained.generated(max(64, batch)))
    metadata = _metadata(trained, ports, what)
    models: list[dict[str, Any]] = []
    notes = []
    for precision in ["fp32", *(["fp16"] if fp16 else [])]:
        inside = ports.half() if precision == "fp16" else ports
        for rows in (None, batch):
            name = "-".join([what, *(["fp16"] if precision == "fp16" else []), *([f"batch{rows}"] if rows else [])])
            model = to_onnx(inside, {**metadata, "precision": precision}, batch=rows)
            difference = largest_difference(model, ports, batch=rows)
            if precision == "fp32":
                check_difference(difference, f"{name}.onnx")
            elif not difference <= LARGEST_DIFFERENCE[precision]:
                notes.append(
                    f"{name}.onnx is left out: in {precision} it differs from PyTorch by {difference:.2g}, more than "
                    f"{LARGEST_DIFFERENCE[precision]:.2g}"
                )
                continue
            (folder / f"{name}.onnx").write_bytes(model)
            models.append(
                {
                    "file": f"{name}.onnx",
                    "precision": precision,
                    "batch": rows or "any",
                    "bytes": len(model),
                    "largest_difference": difference,
                }
            )
            notes.append(_equality(f"{name}.onnx ({size_text(len(model))})", precision, difference))
    report: dict[str, Any] = {"metadata": metadata, "models": models}
    if kid is not None:
        source, target = folder / "generator.onnx", folder / "generator-int8.onnx"
        quantize(source, target)
        loss = kid_loss(kid, trained.generator.classes, source, target)
        report["int8"] = loss._asdict() | {"file": target.name, "loss": loss.int8 - loss.fp32}
        notes.append(f"{target.name} ({size_text(target.stat().st_size)}): {loss}")
    (folder / REPORT).write_text(to_json(report, indent=2) + "\n")
    return notes


def _metadata(trained: Trained, ports: Ports, what: What) -> dict[str, str]:
    """What a model says of itself, as metadata_props."""
    config = trained.config
    return {
        "equipoise": config.equipoise,
        "what": what,
        "opset": str(OPSET),
        "inputs": ", ".join(ports.inputs),
        "outputs": ", ".join(ports.outputs),
        "latent": str(trained.generator.latent),
        "prior": {"normal": "N(0, 1)", "uniform": "U[-1, 1]"}[config.prior],
        "range": "[-1, 1], not clamped",
        "shape": "x".join(map(str, config.shape)),
        "classes": json.dumps(list(config.class_names) or config.classes),
        "data": config.data,
        "objective": config.objective,
        "images_seen": str(config.images),
        "weights": trained.weights_text,
    }


def _equality(name: str, precision: str, difference: float) -> str:
    return f"{name}: equal to PyTorch in {precision}, largest difference {difference:.1e}"
