"""BEGAN 128 wide at 64x64 and 128x128, for so many minutes of a GPU a run: by our defaults, and by the paper's preset.

On drawn faces, and on a folder of photographs, which has to be named. Each run is as long as the device gets through in
the time, which a short run measures. Scores are of 1,000 samples beside the held-out images, by EfficientNet-Lite0's
features. Finished runs are kept and not made again; one that was killed goes on at its last checkpoint. Writes
docs/results/large.md and a picture of each kind of images and size.

    python -m benchmarks.large --photographs photos/ --minutes 10
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.heart import Scorer, sheet, trained
from equipoise import BEGAN, PRESETS, TrainConfig
from equipoise.devices import resolve_device
from equipoise.networks import DCGANAutoencoder
from equipoise.sampling.sample import sample
from equipoise.studies.budget import images_in

SIDES = (64, 128)
WAYS = ("default", "paper")
COLUMNS = ["images of", "side", "preset", "KID", "coverage", "detail", "noise", "trained on", "minutes", "device"]


def config_of(way: str, data: str, side: int, *, photographs: bool, device: str) -> TrainConfig:
    """BEGAN 128 wide, by our defaults or the paper's."""
    changes: dict[str, Any] = {"data": data, "resolution": side, "device": device}
    if way == "default":
        changes["network"] = DCGANAutoencoder(width=128)
        if photographs:
            changes |= {"objective": BEGAN(gamma=0.85), "augment": ("translation",), "flip": True}
    return PRESETS["began"][way].with_changes(**changes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, help="folder of photographs")
    parser.add_argument("--minutes", type=float, default=10.0, help="of a run")
    parser.add_argument("--sides", nargs="*", type=int, default=list(SIDES))
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS, help="presets")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs/large"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    device = resolve_device(options.device)
    name = torch.cuda.get_device_name() if device == "cuda" else device
    kinds = {"faces": "faces"} | ({"photographs": str(options.photographs)} if options.photographs else {})
    lines, pictures = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"], []
    options.runs.mkdir(parents=True, exist_ok=True)
    for kind, data in kinds.items():
        for side in options.sides:
            samples = {}
            for way in options.ways:
                config = config_of(way, data, side, photographs=kind == "photographs", device=options.device)
                place = options.runs / f"{kind}-{side}-{way}"
                length = place.with_suffix(".images")
                if not length.exists():
                    length.write_text(str(images_in(config, 60 * options.minutes, time.perf_counter)))
                images = int(length.read_text())
                tenth = max(1, images // 10)
                run, _ = trained(config.with_changes(images=images, sample_every=tenth, checkpoint_every=tenth), place)
                samples[way] = sample(run, 1000).cpu()
                row = Scorer(config, "effnet-lite0", device)(samples[way])
                place.with_suffix(".json").write_text(json.dumps(row))
                scores = [f"{row[key]:.3f}" for key in ("kid", "coverage", "detail", "noise")]
                cells = [kind, str(side), way, *scores, f"{images:,}", f"{options.minutes:g}", name]
                lines.append(f"| {' | '.join(cells)} |")
                print(lines[-1], flush=True)
            sheet(samples, options.out / f"large-{kind}-{side}.png")
            pictures.append(f"![32 samples of each: {kind}, {side}x{side}](large-{kind}-{side}.png)")
    about = "`python -m benchmarks.large` made this table and these pictures; its docstring says what they are."
    (options.out / "large.md").write_text("\n\n".join(["# Large", about, "\n".join(lines), *pictures]) + "\n")


if __name__ == "__main__":
    main()
