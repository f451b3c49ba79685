"""BEGAN beside the best of its family, for equal minutes of one CPU core: on digits, faces, photographs and emoji.

Every entrant trains on one thread for as many images as it gets through in the budget, which a short run measures once
for each entrant and kind of images; all seeds then train for that many. KID and coverage are of 1,000 samples of the
averaged generator beside the held-out images, by fixed features: those of digits, else EfficientNet-Lite0's. `detail`
is the share of the power in the finest octave over the data's; `noise` how much more of it is spread evenly, as grain
is, than of the data's: 0 for as much, 1 for white noise on plain ground.

    python -m benchmarks.heart --only digits faces-32 --seeds 0 1 2
    python -m benchmarks.heart --cars CIFAR/train/automobile --emoji NotoColorEmoji.ttf

Finished runs are kept and not made again; a run that was killed goes on at its last checkpoint. Writes
docs/results/heart.md and a picture of each kind of images. `--cars` is a folder of the class automobile of CIFAR-10 as
images (Krizhevsky 2009), `--emoji` a font with colour bitmaps, such as Debian's fonts-noto-color-emoji.
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

import equipoise
from equipoise import BEGAN, PRESETS, Diverged, Run, TrainConfig
from equipoise.data import normalise, open_dataset
from equipoise.evaluation.closing_score import DIGITS
from equipoise.metrics import manifold_scores, squared_mmd
from equipoise.metrics.detail import fine_share, noise_share
from equipoise.metrics.features import load_extractor
from equipoise.objectives import EBGAN
from equipoise.sampling.sample import sample
from equipoise.studies.budget import images_in
from equipoise.training.allocator import freed_memory_kept
from equipoise.views.figures import grid

SAMPLES = 1000
COLUMNS = ["images of", "objective", "KID", "worst KID", "coverage", "detail", "noise", "digits", "entropy"]
COLUMNS += ["trained on", "CPU minutes", "seeds"]


@dataclass(frozen=True)
class Kind:
    """A kind of images: their data, resolution, budget in minutes of one core, and the extractor that scores them."""

    data: str
    resolution: int
    minutes: float
    features: str = "effnet-lite0"
    photographs: bool = False


KINDS = {
    "digits": Kind("digits", 32, 6, "digits"),
    "faces-32": Kind("faces", 32, 10),
    "faces-64": Kind("faces", 64, 20),
    "cars": Kind("", 32, 10, photographs=True),
    "emoji": Kind("", 32, 10),
}
TRANSLATION: dict[str, Any] = {"augment": ("translation",)}
ENTRANTS: dict[str, dict[str, Any]] = {
    "began": {},
    "gan": {"lr": 1e-3, **TRANSLATION},
    "wgan-gp": {"lr": 1e-3, **TRANSLATION},
    "dragan": {"lr": 5e-4, **TRANSLATION},
    "ebgan": {"objective": EBGAN(margin=0.05), **TRANSLATION},
}
"""By objective: the best settings found for it (docs/began-in-practice.md), where they are not its defaults."""
PHOTOGRAPHS: dict[str, dict[str, Any]] = {
    "began": {"objective": BEGAN(gamma=0.85), "lr": 1e-3, **TRANSLATION},
    "ebgan": {"objective": EBGAN(margin=0.1)},
}
"""What is different on photographs, of which moreover half are mirrored."""
UNCHANGED: dict[str, Any] = {"augment": ()}
"""What is different on digits, for all."""


def config_of(entrant: str, kind: Kind) -> TrainConfig:
    """The entrant's configuration for a kind of images, but for its length."""
    changes = {**ENTRANTS[entrant]}
    if kind.photographs:
        changes |= {**PHOTOGRAPHS.get(entrant, {}), "flip": True}
    if kind.data == "digits":
        changes |= UNCHANGED
    return PRESETS[entrant]["default"].with_changes(data=kind.data, resolution=kind.resolution, **changes)


def trained(config: TrainConfig, folder: Path) -> tuple[Run, float]:
    """The run in `folder`, trained to its end, and the CPU seconds that took; continued if it is there."""
    clock = folder.with_suffix(".seconds")
    if clock.exists():
        return Run.open(folder), json.loads(clock.read_text())
    started = time.process_time()
    try:
        run = equipoise.resume(folder, quiet=True) if folder.exists() else equipoise.train(config, folder, quiet=True)
    except Diverged as error:
        print(f"{folder.name}: {error}", flush=True)
        run = Run.open(folder)
    seconds = time.process_time() - started
    clock.write_text(json.dumps(seconds))
    return run, seconds


class Scorer:
    """Compares samples with held-out images of one kind."""

    def __init__(self, config: TrainConfig, features: str, device: str = "cpu") -> None:
        data = open_dataset(config.data, config.resolution, held_out=0.1)
        images = data.split("held-out")
        self.real = images.batch(list(range(min(len(images), SAMPLES))))
        self.extractor = load_extractor(features, device=device, shape=images.shape)
        self.reference = self.extractor(self.real).vectors

    def __call__(self, samples: torch.Tensor) -> dict[str, float]:
        """KID, coverage, fine detail and grain of samples (N, C, H, W) uint8, and of digits what they show."""
        vectors, probabilities = self.extractor(samples)
        fine, real = normalise(samples), normalise(self.real)
        row = {
            "kid": squared_mmd(vectors, self.reference),
            "coverage": manifold_scores(self.reference, vectors).coverage,
            "detail": fine_share(fine) / fine_share(real),
            "noise": noise_share(fine) - noise_share(real),
        }
        if self.extractor.name == "digits" and probabilities is not None:
            shares = torch.bincount(probabilities.argmax(dim=1), minlength=len(DIGITS)) / len(probabilities)
            row["digits"] = float((shares >= 0.01).sum())
            row["entropy"] = float(torch.special.entr(shares).sum() / torch.tensor(float(len(DIGITS))).log())
        return row


def emoji_folder(font: Path, folder: Path) -> Path:
    """The font's colour bitmaps as PNG files, each once."""
    from fontTools.ttLib import TTFont

    folder.mkdir(parents=True, exist_ok=True)
    strikes = TTFont(font)["CBDT"].strikeData
    bitmaps = {glyph.imageData: name for strike in strikes for name, glyph in strike.items()}
    for data, name in bitmaps.items():
        (folder / f"{name}.png").write_bytes(data)
    return folder


def table(results: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """All results in Markdown: means over seeds, and the worst KID."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for kind, entrants in results.items():
        for entrant, rows in sorted(entrants.items(), key=lambda item: statistics.mean(row["kid"] for row in item[1])):

            def mean(name: str, form: str, rows: list[dict[str, float]] = rows) -> str:
                return format(statistics.mean(row[name] for row in rows), form) if name in rows[0] else ""

            cells = [
                kind,
                entrant,
                mean("kid", ".3f"),
                f"{max(row['kid'] for row in rows):.3f}",
                mean("coverage", ".2f"),
                mean("detail", ".2f"),
                mean("noise", ".2f"),
                mean("digits", ".1f"),
                mean("entropy", ".3f"),
                mean("images", ",.0f"),
                mean("minutes", ".1f"),
                str(len(rows)),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def sheet(samples: dict[str, torch.Tensor], out: Path) -> None:
    """32 samples of each entrant below its name, side by side."""
    grids = [grid(images[:32], columns=8).convert("RGB") for images in samples.values()]
    scale = max(1, 256 // grids[0].width)
    grids = [
        picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST) for picture in grids
    ]
    width, height = grids[0].size
    picture = Image.new("RGB", (len(grids) * (width + 16) - 16, height + 20), "white")
    for place, (name, each) in enumerate(zip(samples, grids, strict=True)):
        ImageDraw.Draw(picture).text((place * (width + 16), 4), name, fill="black")
        picture.paste(each, (place * (width + 16), 20))
    picture.save(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(KINDS), choices=list(KINDS), help="kinds of images")
    parser.add_argument("--entrants", nargs="*", default=list(ENTRANTS), choices=list(ENTRANTS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--cars", type=Path, help="folder of photographs of cars")
    parser.add_argument("--emoji", type=Path, help="font with colour bitmaps")
    parser.add_argument("--runs", type=Path, default=Path("runs/heart"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.runs.mkdir(parents=True, exist_ok=True)
    kinds = dict(KINDS)
    for name in ("cars", "emoji"):
        path = getattr(options, name)
        if path is None:
            del kinds[name]
        else:
            data = emoji_folder(path, options.runs / "emoji") if name == "emoji" else path
            kinds[name] = replace(kinds[name], data=str(data))
    for seed in options.seeds:
        for kind in options.only:
            for entrant in options.entrants if kind in kinds else []:
                one_run(entrant, kind, kinds[kind], seed, options.runs)
                report(options.runs, options.out)


def one_run(entrant: str, name: str, kind: Kind, seed: int, runs: Path) -> None:
    """Train and score one entrant by one seed, unless that is done; the row lies beside the run."""
    row_file = runs / f"{name}-{entrant}-{seed}.json"
    if row_file.exists():
        return
    config, lengths = config_of(entrant, kind), runs / f"{name}-{entrant}.images"
    with freed_memory_kept():
        if not lengths.exists():
            lengths.write_text(str(images_in(config, 60 * kind.minutes)))
        images = int(lengths.read_text())
        whole = config.with_changes(
            images=images, seed=seed, sample_every=images // 10, checkpoint_every=images // 10, keep=1
        )
        run, seconds = trained(whole, runs / f"{name}-{entrant}-{seed}")
    samples = sample(run, SAMPLES)
    torch.save(samples[:32], runs / f"{name}-{entrant}-{seed}.pt")
    row = {**Scorer(config, kind.features)(samples), "images": float(images), "minutes": seconds / 60}
    row_file.write_text(json.dumps(row))
    print(name, entrant, seed, {key: round(value, 3) for key, value in row.items()}, flush=True)


def report(runs: Path, out: Path) -> None:
    """Write the table and the pictures of all rows that there are."""
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for kind in KINDS:
        for entrant in ENTRANTS:
            if files := sorted(runs.glob(f"{kind}-{entrant}-*.json")):
                results.setdefault(kind, {})[entrant] = [json.loads(file.read_text()) for file in files]
    out.mkdir(parents=True, exist_ok=True)
    about = "`python -m benchmarks.heart` made this table; its docstring says what the columns are."
    pictures = []
    for kind, entrants in results.items():
        sheet(
            {each: torch.load(sorted(runs.glob(f"{kind}-{each}-*.pt"))[0]) for each in entrants},
            out / f"heart-{kind}.png",
        )
        pictures.append(f"![32 samples of each on {kind}](heart-{kind}.png)")
    (out / "heart.md").write_text("\n\n".join(["# Equal minutes", about, table(results), *pictures]) + "\n")


if __name__ == "__main__":
    main()
