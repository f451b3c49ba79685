"""equipoise export: a trained generator as safetensors, as ONNX, for the Hugging Face Hub, or as a page."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import BatchSize, CountOrZero
from equipoise.data.sources.extras import extra
from equipoise.errors import UsageError
from equipoise.exporting.export import Format, What
from equipoise.exporting.export import export as write
from equipoise.exporting.folder import size_text

OPENED = ": open index.html in a browser, or `python -m http.server` there"


def main(words: list[str]) -> int:
    """Parse the words after `equipoise export`, export, and say what was written; returns the exit code."""
    return parse_and_call(export, words, "export")


def export(
    run: Positional[Path],
    out: Path,
    format: Format = "safetensors",
    what: What = "generator",
    ema: bool = True,
    best: bool = False,
    at: CountOrZero | None = None,
    batch: BatchSize = 1,
    fp16: bool = True,
    int8: bool = False,
    name: str | None = None,
    scores: Path | None = None,
    licence: str | None = None,
    push: str | None = None,
    private: bool = False,
) -> int:
    """Export a trained generator, or its discriminator, into a new folder.

    Example: equipoise export runs/photos --format web --out page

    Example: equipoise export runs/photos --format onnx --int8 --out onnx

    Example: equipoise export runs/photos --format hub --licence cc-by-4.0 --push me/photos --out hub

    Args:
        run: Folder of the run.
        out: Folder to write, new or empty.
        format: safetensors for `equipoise.load`; onnx, compared with PyTorch; hub, safetensors with a model card; or
            web, a page that runs the generator in a browser.
        what: Generator, or as onnx the discriminator: energy, reconstruction and code, or score.
        ema: Use the moving average of the generator's weights.
        best: Use the checkpoint with the best KID (train with --score-every), not the last.
        at: Use the checkpoint after so many images.
        batch: Rows of the ONNX models of a fixed batch; the others take any number.
        fp16: ONNX models in half precision too.
        int8: ONNX generator with weights in 8 bits too, and its loss in KID beside the run's data.
        name: Title of the page and the card; by default the run's name, or the one of --push.
        scores: File of `equipoise evaluate RUN --json`, for the card.
        licence: Licence of the model, as the hub names it; by default the card says that none is stated.
        push: Name on the Hugging Face Hub to push the folder to, with your own token (`hf auth login`, or HF_TOKEN).
        private: With --push, only you see a new model.
    """
    push_folder = _push_function(format, push, private=private)
    weights, models = dict[str, Any](ema=ema, best=best, at=at), dict[str, Any](batch=batch, fp16=fp16, int8=int8)
    described = dict[str, Any](name=name, repository=push, scores=scores, licence=licence)
    done = write(run, out, format=format, what=what, **weights, **models, **described)
    print(*done.notes, f"{out} ({size_text(done.size)}){OPENED if format == 'web' else ''}", sep="\n")
    if push_folder is not None:
        print(f"pushed: {push_folder(out, push)}")
    return 0


def _push_function(format: Format, name: str | None, *, private: bool) -> Callable[..., str] | None:
    """The hub's function, where a name says to push; that it can be called is seen before anything is written."""
    if name is None:
        if private:
            raise UsageError("--private is for a model that is pushed: add --push OWNER/NAME, or leave it out")
        return None
    if format != "hub":
        raise UsageError("--push is for the hub: add --format hub")
    with extra("hub", "--push"):
        from equipoise.exporting.hub import check_push, push
    check_push(name)
    return partial(push, private=private)
