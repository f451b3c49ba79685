"""The command line: equipoise train | resume | sample | evaluate | compare | data inspect | data pack."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from equipoise.errors import Diverged, Interrupted, UsageError

if TYPE_CHECKING:
    from equipoise.config import TrainConfig
    from equipoise.run import Run

HELP = """\
usage: equipoise COMMAND ...

GANs kept in balance: train, watch, resume, sample, score.

commands:
  train OBJECTIVE   train a generator on your images (objectives: began)
  resume RUN        go on where a run stopped
  sample RUN        draw images from a run
  evaluate RUN      score a run's samples, or any images, beside real ones
  compare A B ...   scores side by side, if their protocols agree
  data inspect PATH look at images before training on them
  data pack PATH    pack images by hand

examples:
  equipoise train began --data digits --images 200k
  equipoise train began --data photos/ --resolution 64 --out runs/photos
  equipoise train --config runs/photos/config.yaml --seed 1
  equipoise resume runs/photos
  equipoise sample runs/photos --count 64 --out grid.png
  equipoise evaluate runs/photos --json scores.json
  equipoise evaluate --images made/ --reference photos/ --metrics kid,fid

`equipoise COMMAND --help` explains a command; `equipoise --version` names the version.
"""

TRAIN_HELP = """\
usage: equipoise train OBJECTIVE [--preset NAME] [--config FILE] [--out FOLDER] [settings]
       equipoise train --config FILE [--out FOLDER] [settings]

objectives and their presets:
{objectives}

A configuration file (any run's config.yaml) gives the settings; flags win over it.
`equipoise train began --help` lists every setting.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 diverged, 2 cannot work, 128 + N stopped by signal N."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, Callable[[list[str]], int]] = {
        "train": _train,
        "resume": _resume,
        "sample": _sample,
        "evaluate": _evaluate,
        "compare": _compare,
        "data": _data,
    }
    if not words or words[0] in {"-h", "--help"}:
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"equipoise {version('equipoise')}")
        return 0
    if words[0] not in commands:
        return _fail(f"unknown command {words[0]!r}: use one of {', '.join(commands)}", 2)
    try:
        return commands[words[0]](words[1:])
    except UsageError as error:
        return _fail(str(error), 2)
    except Diverged as error:
        return _fail(str(error), 1)
    except Interrupted as error:
        return _fail(str(error), 128 + error.signal)
    except BrokenPipeError:  # the reader of a pipe has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return _fail("stopped at once; what was saved before is intact", 130)


def _fail(message: str, code: int) -> int:
    print(f"equipoise: {message}", file=sys.stderr)
    return code


def _train(words: list[str]) -> int:
    from equipoise.config import PRESETS, read_yaml, suggestion
    from equipoise.flags import take

    objective = words.pop(0) if words and not words[0].startswith("-") else None
    preset, file = take(words, "--preset"), take(words, "--config")
    if objective is None and file is None:
        listing = "\n".join(f"  {name:8} {', '.join(presets)}" for name, presets in PRESETS.items())
        print(TRAIN_HELP.format(objectives=listing), end="")
        return 0 if not words or words[0] in {"-h", "--help"} else 2
    if objective is not None and objective not in PRESETS:
        near = suggestion(objective, PRESETS)
        raise UsageError(f"unknown objective {objective!r}{near}: use one of {', '.join(PRESETS)}")
    if file is None:
        presets = PRESETS[str(objective)]
        if preset is not None and preset not in presets:
            near = suggestion(preset, presets)
            raise UsageError(f"unknown preset {preset!r}{near}: {objective} has {', '.join(presets)}")
        return _train_from(presets[preset or "default"], words)
    if preset is not None:
        raise UsageError("--config and --preset each give all the settings: use one of them")
    base = read_yaml(_read(file), file)
    if objective not in {None, base.objective_name}:
        raise UsageError(f"{file} is for {base.objective_name}, not {objective}: leave one of them out")
    return _train_from(base, words)


def _train_from(base: "TrainConfig", words: list[str]) -> int:
    """Read flags over `base`, and train."""
    from dataclasses import asdict
    from pathlib import Path

    from equipoise.config import TrainConfig
    from equipoise.flags import flags_of

    def train(
        settings: Any = None, out: Path | None = None, resume_if_exists: bool = False, quiet: bool = False
    ) -> int:
        """Train a new run. Lengths are counted in images; 300k and 1.5M are understood.

        --preset NAME or --config FILE (any run's config.yaml) give the settings to start from; flags win over them.

        As in: equipoise train began --data photos/ --resolution 64 --images 1M --out runs/photos

        Or: equipoise train began --preset paper --data photos.zip --resolution 64

        Or: equipoise train --config runs/photos/config.yaml --gamma 0.7 --seed 1

        Args:
            settings: what decides the run.
            out: The folder to make; by default the first free runs/OBJECTIVE-DATA-RESOLUTION-NNN.
            resume_if_exists: Go on with the run at --out if there is one; for machines that may stop at any time.
            quiet: Show no progress.
        """
        from equipoise.training import resume_if_exists as resume_training
        from equipoise.training import train as start_training

        values = asdict(settings)
        for part, name in (("objective", base.objective_name), ("network", base.network_name)):
            values[part]["name"] = name
        config = TrainConfig.from_dict(values)
        if resume_if_exists:
            if out is None:
                raise UsageError("--resume-if-exists needs --out, the folder to look in")
            return _told(resume_training(config, out, quiet=quiet))
        return _told(start_training(config, out, quiet=quiet))

    twin = flags_of(base)
    train.__annotations__["settings"] = type(twin)
    train.__defaults__ = (twin, None, False, False)
    return int(_command(train, words, f"train {base.objective_name}"))


def _resume(words: list[str]) -> int:
    from pathlib import Path

    from tyro.conf import Positional

    from equipoise.config import Count

    def resume(run: Positional[Path], images: Count | None = None, quiet: bool = False) -> int:
        """Go on with a run where its last checkpoint stands, to the same result as if it had never stopped.

        As in: equipoise resume runs/photos --images 2M

        Args:
            run: The run's folder.
            images: Train to so many images instead of the run's own number.
            quiet: Show no progress.
        """
        from equipoise.training import resume as resume_training

        return _told(resume_training(run, images=images, quiet=quiet))

    return int(_command(resume, words, "resume"))


def _sample(words: list[str]) -> int:
    from pathlib import Path

    from tyro.conf import Positional

    from equipoise.config import Count

    def sample(
        run: Positional[Path],
        count: Count = 64,
        seed: int = 0,
        out: Path = Path("samples.png"),
        ema: bool = True,
        best: bool = False,
    ) -> int:
        """Draw images from a run's generator.

        As in: equipoise sample runs/photos --count 1000 --seed 1 --out samples.npz

        Args:
            run: The run's folder.
            count: How many images.
            seed: Of the latents; the same seed gives the same images.
            out: A grid (.png), an array (.npz: `images`, (N, C, H, W) uint8), or a folder to fill with PNGs.
            ema: Use the moving average of the generator's weights.
            best: Use the checkpoint with the best KID (train with --score-every), not the last.
        """
        from equipoise.latents import sample as draw
        from equipoise.latents import save_images
        from equipoise.run import Run

        save_images(draw(Run.open(run), count, seed=seed, ema=ema, best=best), out)
        print(f"{count} samples: {out}")
        return 0

    return int(_command(sample, words, "sample"))


def _evaluate(words: list[str]) -> int:
    from pathlib import Path

    from tyro.conf import Positional

    from equipoise.config import Count
    from equipoise.evaluation import Split
    from equipoise.team import Device

    def evaluate(
        run: Positional[Path | None] = None,
        images: str | None = None,
        reference: str | None = None,
        features: str = "auto",
        weights: Path | None = None,
        metrics: str | None = None,
        count: Count = 5000,
        split: Split = "held-out",
        resolution: str | None = None,
        seed: int = 0,
        ema: bool = True,
        best: bool = False,
        json: Path | None = None,
        device: Device = "auto",
        devices: Count = 1,
        quiet: bool = False,
    ) -> int:
        """Score a run's samples beside the images held out from its training, or any images beside any others.

        As in: equipoise evaluate runs/photos --json scores.json

        Or: equipoise evaluate --images made/ --reference photos/ --resolution 64 --metrics kid,fid

        Args:
            run: The run's folder.
            images: A run, folder, zip or array to score, where it is no run of its own.
            reference: What to compare with: images of any kind, or another run; by default the run's own data.
            features: inception, dinov2, effnet-lite0, digits or pixels; auto takes digits for the bundled digits, else
                effnet-lite0 where it is installed.
            weights: The extractor's file of weights, if it is not in the usual place.
            metrics: Names with commas between; by default all that apply, but reconstruction.
            count: Images of each set, at most.
            split: Which of the run's data to compare with.
            resolution: To bring images to that are no run's; by default they must be of one size.
            seed: Of the samples, and of every random choice.
            ema: Use the moving average of the generator's weights.
            best: Use the checkpoint with the best KID (train with --score-every), not the last.
            json: A file for the scores and their protocol, for `equipoise compare`.
            device: Where to compute.
            devices: Processes that share the images.
            quiet: Show no progress.
        """
        from equipoise.evaluation import evaluate as score

        if (run is None) == (images is None):
            raise UsageError("give a run's folder, or --images and --reference: `equipoise evaluate --help` shows both")
        chosen = None if metrics is None else tuple(name.strip() for name in metrics.split(",") if name.strip())
        scores = score(
            str(run or images),
            reference,
            device=device,
            devices=devices,
            quiet=quiet,
            features=features,
            weights=weights,
            metrics=chosen,
            count=count,
            split=split,
            resolution=resolution,
            seed=seed,
            ema=ema,
            best=best,
        )
        print(scores)
        if json is not None:
            scores.write(json)
            print(f"scores: {json}")
        return 0

    return int(_command(evaluate, words, "evaluate"))


def _compare(words: list[str]) -> int:
    from pathlib import Path

    from tyro.conf import Positional

    def compare(files: Positional[tuple[Path, ...]]) -> int:
        """Show scores side by side, the better ones marked; refused where their protocols differ.

        As in: equipoise compare a.json b.json

        Args:
            files: What `equipoise evaluate --json` wrote.
        """
        from equipoise.scores import Scores
        from equipoise.scores import compare as side_by_side

        print(side_by_side([(file.name, Scores.read(file)) for file in files]))
        return 0

    return int(_command(compare, words, "compare"))


def _data(words: list[str]) -> int:
    commands = {"inspect": _inspect, "pack": _pack}
    if not words or words[0] not in commands:
        print("usage: equipoise data inspect DATA [--out sheet.png]\n       equipoise data pack DATA --resolution 64")
        return 0 if not words or words[0] in {"-h", "--help"} else 2
    return commands[words[0]](words[1:])


def _inspect(words: list[str]) -> int:
    from pathlib import Path

    from tyro.conf import Positional

    def inspect(
        data: Positional[str],
        resolution: str = "64",
        held_out: float = 0.1,
        out: Path | None = None,
        duplicates: Path | None = None,
    ) -> int:
        """Look at images before training on them: sizes, channels, values, labels, duplicates, what would be skipped.

        As in: equipoise data inspect photos/ --out sheet.png --duplicates pairs.png

        Args:
            data: What --data takes.
            resolution: At which values and looks are compared.
            held_out: The share to be held out.
            out: Also draw a contact sheet of 64 of them, as a PNG.
            duplicates: Also draw pairs of equal or nearly equal images, as a PNG.
        """
        from equipoise.data import contact_sheet, duplicates_sheet
        from equipoise.data import inspect as look
        from equipoise.display import counting

        with counting(f"reading {data}") as count:
            found = look(data, resolution, share=held_out, progress=count)
        print(found)
        if out is not None:
            contact_sheet(data).save(out)
            print(f"contact sheet: {out}")
        if duplicates is not None:
            pairs = duplicates_sheet(found)
            if pairs is not None:
                pairs.save(duplicates)
            print(f"duplicates: {duplicates if pairs is not None else 'none'}")
        return 0

    return int(_command(inspect, words, "data inspect"))


def _pack(words: list[str]) -> int:
    from pathlib import Path
    from typing import Literal

    from tyro.conf import Positional

    from equipoise.data import Fit

    def pack(
        data: Positional[str],
        resolution: str,
        out: Path | None = None,
        channels: Literal[1, 3] | None = None,
        fit: Fit = "crop",
        background: str = "white",
    ) -> int:
        """Pack images by hand: into the cache, where training then finds them, or also into a file to take along.

        As in: equipoise data pack photos/ --resolution 64 --out photos64.npy

        Args:
            data: What --data takes.
            resolution: A side in pixels, or width and height as in 64x48.
            out: An .npy, or .npz with the labels; either is data again.
            channels: 1 for grayscale, 3 for RGB; by default grayscale if every image is.
            fit: How an image of another shape is made to fit.
            background: Colour behind transparent images and around padded ones.
        """
        from equipoise.data import pack as pack_images
        from equipoise.display import counting

        with counting(f"packing {data}") as count:
            images = pack_images(
                data, resolution, out, channels=channels, fit=fit, background=background, progress=count
            )
        print(f"{len(images):,} images, {len(images.skipped):,} skipped: {out or images.path}")
        return 0

    return int(_command(pack, words, "data pack"))


def _command(function: Callable[..., int], words: list[str], name: str) -> Any:
    """Let tyro read `words` as the arguments of `function`, and call it."""
    import tyro

    return tyro.cli(function, args=words, prog=f"equipoise {name}", config=(tyro.conf.OmitArgPrefixes,))


def _read(file: str) -> str:
    from pathlib import Path

    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"cannot read the configuration {file}: {reason}") from error


def _told(run: "Run") -> int:
    """Say where everything lies."""
    grids = run.samples()
    print(f"run:     {run.path}")
    print(f"samples: {grids[-1] if grids else 'none yet'}")
    print(f"curves:  {run.path / 'curves.png'}")
    print(f"report:  {run.path / 'report.html'}")
    print(f"more:    equipoise sample {run.path} --count 64 --out grid.png")
    return 0
