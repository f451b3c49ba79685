"""equipoise train: train a new run from an objective's preset, or from a configuration file."""

import sys
from dataclasses import asdict
from pathlib import Path

from equipoise.cli.flags import given_flags, parse_and_call, plain_dataclass, pop_flag
from equipoise.config.changes import flat, with_settings
from equipoise.config.defaults import network_for
from equipoise.config.numbers import Minutes
from equipoise.config.presets import PRESETS, default_preset
from equipoise.config.train_config import TrainConfig, read_yaml_made_with
from equipoise.data import place_of
from equipoise.devices import is_first_process
from equipoise.errors import UsageError, as_word, did_you_mean, quoted, reason
from equipoise.networks import NETWORKS
from equipoise.reading import read_text
from equipoise.runs.run import CONFIG, DATA_PATH, Run
from equipoise.suggestion.suggest import CHOSEN, fill_in, is_chosen_for, open_settings
from equipoise.training.train import resume_if_exists as resume_or_train
from equipoise.training.train import train as start_training
from equipoise.views.streams import LossyStream
from equipoise.views.terminal import progress_bar

HELP = """\
usage: equipoise train OBJECTIVE [--preset NAME] [--config FILE] [--out FOLDER] [settings]
       equipoise train --config FILE [--out FOLDER] [settings]

objectives and their presets:
{objectives}

networks, by --network NAME: {networks}

A configuration file (any run's config.yaml) gives the settings; flags override it.
`equipoise train began --help` lists every setting with its default, `equipoise train began --network NAME --help` those
of other networks than the objective's own.
"""


def main(words: list[str]) -> int:
    """Parse the words after `equipoise train`, and train; returns the exit code.

    OBJECTIVE, --preset, --config and --network are read first: they decide which settings there are, and their
    defaults. The other flags are made of those settings.
    """
    objective = words.pop(0) if words and not words[0].startswith("-") else None
    preset, file = pop_flag(words, "--preset"), pop_flag(words, "--config")
    if objective is None and file is None and words and words[0] not in {"-h", "--help"}:
        raise UsageError("name an objective, or give --config: `equipoise train` lists the objectives")
    if objective is None and file is None:
        listing = "\n".join(f"  {name:14} {', '.join(presets)}" for name, presets in PRESETS.items())
        print(HELP.format(objectives=listing, networks=", ".join(NETWORKS)), end="")
        return 0
    if objective is not None:
        check_objective(objective)
    automatic = file is None and preset is None
    if file is None:
        base = _read_preset(str(objective), preset, words)
    elif preset is None:
        base = _read_config(file, objective)
    else:
        raise UsageError("--config and --preset each give all the settings: use one of them")
    given = given_flags(words)
    return _train(with_network(base, words), words, given, automatic=automatic)


def with_network(base: TrainConfig, words: list[str]) -> TrainConfig:
    """`base` with the networks that --network names, with default settings; the flag is removed from `words`.

    Raises:
        UsageError: there are no such networks, or they do not suit the objective.
    """
    network = pop_flag(words, "--network")
    if network is None:
        return base
    if network not in NETWORKS:
        near = did_you_mean(network, NETWORKS)
        raise UsageError(f"unknown network {quoted(network)}{near}: use one of {', '.join(NETWORKS)}")
    return base.with_changes(network=network_for(base.objective, network))


def check_objective(name: str) -> None:
    """Refuse an objective that there is not, with UsageError."""
    if name not in PRESETS:
        near = did_you_mean(name, PRESETS)
        raise UsageError(f"unknown objective {quoted(name)}{near}: use one of {', '.join(PRESETS)}")


def _read_preset(objective: str, preset: str | None, words: list[str]) -> TrainConfig:
    presets = PRESETS[objective]
    if preset is None:
        preset = default_preset(objective, pop_flag(list(words), "--data"))  # of a copy: tyro reads --data too
    if preset not in presets:
        near = did_you_mean(preset, presets)
        raise UsageError(f"unknown preset {quoted(preset)}{near}: {objective} has {', '.join(presets)}")
    return presets[preset]


def _read_config(file: str, objective: str | None) -> TrainConfig:
    try:
        text = read_text(Path(file))
    except OSError as error:
        raise UsageError(f"cannot read the configuration {file}: {reason(error)}") from error
    config, made_with = read_yaml_made_with(text, file)
    place = place_of(made_with.get(DATA_PATH, ""))  # of a run made in another folder, as `resume` finds its data
    if place and place != place_of(config.data):
        config = config.with_changes(data=place)
    if objective not in {None, config.objective_name}:
        raise UsageError(f"{file} is for {config.objective_name}, not {objective}: leave one of them out")
    return config


def _train(base: TrainConfig, words: list[str], given: set[str], *, automatic: bool) -> int:
    """Parse flags that override `base`, choose what is not `given` where that is `automatic`, and train."""
    defaults = plain_dataclass(base)

    def train(
        settings: type(defaults) = defaults,  # type: ignore[valid-type]  # each field is a flag
        out: Path | None = None,
        minutes: Minutes | None = None,
        resume_if_exists: bool = False,
        quiet: bool = False,
    ) -> int:
        """Train a new run. Lengths are counted in images; 300k and 1.5M are understood.

        For images of your own, what no flag says is chosen by a look at them and by the speed of this machine, and told
        with its reason: resolution, gamma, wavelet, rate, width, latent, flips, augmentation, batch and length.
        `equipoise suggest` shows it first.

        --preset NAME or --config FILE (any run's config.yaml) give all settings instead; flags override them.

        Example: equipoise train began --data photos/ --minutes 30 --out runs/photos

        Example: equipoise train began --data photos/ --resolution 64 --images 1M --out runs/photos

        Example: equipoise train began --preset paper --data photos.zip --resolution 64

        Example: equipoise train --config runs/photos/config.yaml --gamma 0.7 --seed 1

        Args:
            settings: Settings of the run.
            out: Folder of the new run; by default the first free runs/OBJECTIVE-DATA-RESOLUTION-NNN.
            minutes: Minutes that training may take on this machine, instead of --images.
            resume_if_exists: Continue the run at --out if there is one; for machines that may stop at any time.
            quiet: Show no progress.
        """
        values = asdict(settings)
        values["objective"]["name"], values["network"]["name"] = base.objective_name, base.network_name
        config, notes = TrainConfig.from_dict(values), list[str]()
        if resume_if_exists and out is None:
            raise UsageError("--resume-if-exists needs --out, the folder to look in")
        chosen = automatic and is_chosen_for(config.data)
        fixed = given if chosen else given | {*CHOSEN} - {"images"}
        if (chosen and open_settings(config, fixed)) or minutes is not None:
            config, notes = _choose(config, fixed, minutes, out if resume_if_exists else None, quiet=quiet)
        if resume_if_exists and out is not None:
            print_paths(resume_or_train(config, out, quiet=quiet, notes=notes))
        else:
            print_paths(start_training(config, out, quiet=quiet, notes=notes))
        return 0

    return parse_and_call(train, words, f"train {base.objective_name}")


def _choose(
    config: TrainConfig, given: set[str], minutes: float | None, existing: Path | None, *, quiet: bool
) -> tuple[TrainConfig, list[str]]:
    """The configuration with what is chosen for its data, and why; of an existing run, what was chosen then."""
    if existing is not None and (existing / CONFIG).exists():
        settings = flat(Run.open(existing).config.to_dict())
        names = [name for name in open_settings(config, given) if name in settings]
        return with_settings(config, {name: settings[name] for name in names}), []
    if not is_first_process():  # it trains by what the first one writes
        return config, []
    with progress_bar(f"looking at {config.data}", quiet=quiet) as progress:
        suggestion = fill_in(config, given, minutes, progress)
    if not quiet:
        print(suggestion, file=LossyStream(sys.stderr), flush=True)
    return suggestion.config, suggestion.sentences


def print_paths(run: Run) -> None:
    """Print where a trained run's files are, how to go on, and how good it is, if anybody reads it."""
    grids, out = run.samples(), LossyStream(sys.stdout)  # the run is whole, whether or not this can be written
    print(f"run:     {run.path}", file=out)
    print(f"samples: {grids[-1] if grids else 'none yet'}", file=out)
    print(f"curves:  {run.path / 'curves.png'}", file=out)
    print(f"report:  {run.path / 'report.html'}", file=out)
    print(f"more:    equipoise sample {as_word(run.path)} --count 64 --out grid.png", file=out)
    if sentence := run.closing_score():
        print(f"score:   {sentence}", file=out)
    out.flush()
