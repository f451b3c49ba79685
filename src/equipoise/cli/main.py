"""The command line: equipoise train | resume | sample | inpaint | evaluate | compare | data inspect | data pack."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from equipoise.errors import Diverged, Interrupted, UsageError

if TYPE_CHECKING:
    from equipoise.config.train_config import TrainConfig
    from equipoise.runs.run import Run

HELP = """\
usage: equipoise COMMAND ...

GANs kept in balance: train, watch, resume, sample, score.

commands:
  train OBJECTIVE   train a generator on your images; `equipoise train` lists the objectives
  resume RUN        go on where a run stopped
  sample RUN        draw images from a run
  inpaint RUN IMAGE fill in what a mask hides of an image
  evaluate RUN      score a run's samples, or any images, beside real ones
  compare A B ...   scores side by side, if their protocols agree
  bench             how fast this machine trains
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
        "sample": _elsewhere("sample"),
        "inpaint": _elsewhere("inpaint"),
        "evaluate": _elsewhere("evaluate"),
        "compare": _elsewhere("compare"),
        "data": _elsewhere("data"),
        "bench": _elsewhere("bench"),
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
    from equipoise.cli.flags import take
    from equipoise.config.messages import suggestion
    from equipoise.config.presets import PRESETS
    from equipoise.config.train_config import read_yaml
    from equipoise.data import TOYS

    objective = words.pop(0) if words and not words[0].startswith("-") else None
    preset, file = take(words, "--preset"), take(words, "--config")
    if objective is None and file is None:
        listing = "\n".join(f"  {name:14} {', '.join(presets)}" for name, presets in PRESETS.items())
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
        preset = preset or ("toy" if "toy" in presets and _value(words, "--data") in TOYS else "default")
        return _train_from(_with_network(presets[preset], words), words)
    if preset is not None:
        raise UsageError("--config and --preset each give all the settings: use one of them")
    base = read_yaml(_read(file), file)
    if objective not in {None, base.objective_name}:
        raise UsageError(f"{file} is for {base.objective_name}, not {objective}: leave one of them out")
    return _train_from(_with_network(base, words), words)


def _value(words: list[str], flag: str) -> str | None:
    """What `flag` is given in `words`, which stay as they are."""
    from equipoise.cli.flags import take

    return take(list(words), flag)


def _with_network(base: "TrainConfig", words: list[str]) -> "TrainConfig":
    """`base` with the networks that `--network` names, whose settings are flags of their own."""
    from equipoise.cli.flags import take
    from equipoise.config.defaults import network_for
    from equipoise.config.messages import suggestion
    from equipoise.networks import NETWORKS

    name = take(words, "--network")
    if name is None:
        return base
    if name not in NETWORKS:
        raise UsageError(f"unknown network {name!r}{suggestion(name, NETWORKS)}: use one of {', '.join(NETWORKS)}")
    return base.with_changes(network=network_for(base.objective, name))


def _train_from(base: "TrainConfig", words: list[str]) -> int:
    """Read flags over `base`, and train."""
    from dataclasses import asdict
    from pathlib import Path

    from equipoise.cli.flags import call, flags_dataclass
    from equipoise.config.train_config import TrainConfig

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
        from equipoise.training.train import resume_if_exists as resume_training
        from equipoise.training.train import train as start_training

        values = asdict(settings)
        for part, name in (("objective", base.objective_name), ("network", base.network_name)):
            values[part]["name"] = name
        config = TrainConfig.from_dict(values)
        if resume_if_exists:
            if out is None:
                raise UsageError("--resume-if-exists needs --out, the folder to look in")
            return _told(resume_training(config, out, quiet=quiet))
        return _told(start_training(config, out, quiet=quiet))

    twin = flags_dataclass(base)
    train.__annotations__["settings"] = type(twin)
    train.__defaults__ = (twin, None, False, False)
    return call(train, words, f"train {base.objective_name}")


def _resume(words: list[str]) -> int:
    from pathlib import Path

    from tyro.conf import Positional

    from equipoise.cli.flags import call
    from equipoise.config.numbers import Count

    def resume(run: Positional[Path], images: Count | None = None, quiet: bool = False) -> int:
        """Go on with a run where its last checkpoint stands, to the same result as if it had never stopped.

        As in: equipoise resume runs/photos --images 2M

        Args:
            run: The run's folder.
            images: Train to so many images instead of the run's own number.
            quiet: Show no progress.
        """
        from equipoise.training.train import resume as resume_training

        return _told(resume_training(run, images=images, quiet=quiet))

    return call(resume, words, "resume")


def _elsewhere(name: str) -> Callable[[list[str]], int]:
    """The command in a module of its own, which is imported when it is called."""

    def call(words: list[str]) -> int:
        return int(import_module(f"equipoise.cli.{name}").main(words))

    return call


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
