"""The configuration of a training run, `TrainConfig`, and its YAML form."""

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import torch
import yaml
from pydantic import ConfigDict, Field, InstanceOf, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from equipoise.config.arguments import checked
from equipoise.config.compatibility import check_batch, check_pairing, check_toy, name_of
from equipoise.config.data_settings import DataSettings
from equipoise.config.defaults import default_settings, network_for
from equipoise.config.messages import check_keys, construct
from equipoise.config.numbers import BatchSize, Count, CountOrZero, LearningRate, ProcessCount, Seed
from equipoise.data.augmentation import Augmentation
from equipoise.devices import Compile, Device, Precision, resolve_precision
from equipoise.errors import UsageError, did_you_mean, quoted
from equipoise.networks import DCGAN, NETWORKS, Network, build_players
from equipoise.objectives import BEGAN, OBJECTIVES, Multitask, Objective, Tasks
from equipoise.objectives.base import Update
from equipoise.players import Players
from equipoise.randomness import Prior
from equipoise.reading import parse_yaml


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class TrainConfig(DataSettings):
    """Configuration of a training run. Lengths are counted in images seen.

    The fields' defaults are neutral. An objective's `recipe` replaces them where its authors used other settings, and
    the networks are chosen to fit the objective and the data (see `config.defaults`).

    Raises:
        UsageError: settings that do not go together.
        pydantic.ValidationError: a value of the wrong type or out of range.
    """

    objective: InstanceOf[Objective] = BEGAN()
    """Objective."""
    network: InstanceOf[Network] = DCGAN()
    """Generator and discriminator."""
    tasks: Tasks = Tasks()
    """Auxiliary tasks."""

    images: Count = 300_000
    """Training length in images seen, with repetition."""
    batch: BatchSize = 64
    """Batch size over all processes."""
    update: Update = "alternating"
    """Update order: both players from the same forward pass, or the generator after the discriminator's update."""
    n_critic: Count = 1
    """Discriminator steps per generator step."""
    augment: tuple[Augmentation, ...] = ()
    """Random differentiable changes of all images that the discriminator sees, for a few thousand images or fewer:
    colour, translation (Zhao et al. 2020, arXiv:2006.10738), scale (after Karras et al. 2020, arXiv:2006.06676)."""
    separate_latents: bool = False
    """Separate latents for the generator's loss and the discriminator's."""
    optimizer: Literal["adam", "rmsprop", "adamax"] = "adam"
    """Optimizer."""
    lr: LearningRate = 2e-4
    """Learning rate of the discriminator."""
    lr_ratio: Annotated[float, Field(ge=1e-6, le=100)] = 1.0
    """Ratio of the generator's learning rate to the discriminator's (Heusel et al. 2017, arXiv:1706.08500)."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Decay rate of the first moment, for Adam and Adamax."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay rate of the second moment, for Adam and Adamax."""
    warmup: CountOrZero = 0
    """Length of the linear learning rate warm-up in images."""
    lr_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Final share of the run over which the learning rate falls linearly to 0."""
    lr_floor: LearningRate = 2e-5
    """Minimum learning rate after halvings."""
    lr_window: Count = 8_000
    """Length in images of one period of the plateau schedule, over which the convergence measure is averaged."""
    lr_patience: CountOrZero = 0
    """Periods without a new best after which the learning rate is halved; 0 for a constant rate."""
    on_divergence: Literal["stop", "rollback"] = "stop"
    """Response to divergence: stop, or at most three times go back to a good checkpoint at half the learning rate."""
    until_converged: bool = False
    """Early stop: once the lowest KID is old; where the rate follows the convergence measure, once that stalls."""
    prior: Prior = "normal"
    """Distribution of the latents: U[-1, 1] or N(0, 1)."""
    ema: CountOrZero = 10_000
    """Half-life in images of the moving average of the generator's weights; 0 for none."""

    seed: Seed = 0
    """Random seed of initial weights, data order and latents."""
    device: Device = "auto"
    """Device; auto takes a GPU if there is one."""
    devices: ProcessCount = 1
    """Processes on this machine, one per device; the batch is divided among them."""
    precision: Precision = "auto"
    """Precision of training and sampling; bf16 is autocast with fp32 weights, and auto takes it where it is faster."""
    compile: Compile = "auto"
    """Compilation of the networks, which takes half a minute; auto compiles on a GPU for runs over 5 minutes."""
    log_every: Count = 1_000
    """Images between log entries."""
    sample_every: Count = 10_000
    """Images between sample grids."""
    checkpoint_every: Count = 20_000
    """Images between checkpoints."""
    keep: Count = 3
    """Number of latest checkpoints to keep, beside the one with the best KID."""
    keep_every: CountOrZero = 0
    """Images between checkpoints that are kept permanently; 0 for none."""
    score_every: CountOrZero = 0
    """Images between KID scores, which select the best checkpoint; 0 for none."""
    score_count: Annotated[Count, Field(ge=20, le=1_000_000)] = 1_000
    """Samples per KID score, and maximum of held-out images."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, arguments: ArgsKwargs) -> ArgsKwargs:
        """Fill in the objective's recipe and networks that fit, before pydantic fills in the fields' own defaults."""
        values = {"objective": BEGAN(), **(arguments.kwargs or {})}
        objective = values["objective"]
        if isinstance(objective, Objective):  # else pydantic refuses it
            values = default_settings(objective, str(values.get("data", ""))) | values
            if isinstance(values["network"], str) and values["network"] in NETWORKS:
                values["network"] = network_for(objective, values["network"])
        return ArgsKwargs(arguments.args, values)

    def __post_init__(self) -> None:
        check_pairing(self.objective, self.network)
        if self.toy:
            check_toy(self.objective, self.network, self.tasks, self.data, scored=bool(self.score_every))
        if self.augment and (self.toy or self.objective.needs.levels or self.tasks.inpaint):
            reason = "points" if self.toy else "discrete images" if self.objective.needs.levels else "inpainting"
            raise UsageError(f"--augment changes images at random, which does not go with {reason}: leave it out")
        check_batch(self.network, self.batch, self.devices)
        if self.compile == "always" and self.objective.needs.independent:
            raise UsageError(
                f"{self.objective_name} with these settings differentiates its penalty twice, which compiled networks "
                "cannot: use --compile never"
            )
        if self.until_converged and not self.score_every and not self.rate_follows_measure:
            raise UsageError("--until-converged goes by KID here: say how often to score, as with --score-every 20k")

    @property
    def rate_follows_measure(self) -> bool:
        """Whether the learning rate is halved where the objective's convergence measure stalls."""
        return self.lr_patience > 0 and self.objective.convergence_measure is not None

    @property
    def ends_by_kid(self) -> bool:
        """Whether training stops once KID has stalled."""
        return self.until_converged and not self.rate_follows_measure

    @property
    def objective_name(self) -> str:
        """The objective's name in OBJECTIVES."""
        return name_of(self.objective, OBJECTIVES)

    @property
    def network_name(self) -> str:
        """The network's name in NETWORKS."""
        return name_of(self.network, NETWORKS)

    def precision_on(self, device: str) -> Precision:
        """The precision on a kind of device, with `auto` resolved; fp32 for toys, as in bf16's 8 bits points coincide.

        Raises:
            UsageError: as `resolve_precision` does.
        """
        return "fp32" if self.precision == "auto" and self.toy else resolve_precision(self.precision, device)

    def precision_message(self, device: str) -> str:
        """The precision on a kind of device, and the reason, in a sentence."""
        precision, where = self.precision_on(device), {"cpu": "the CPU", "cuda": "the GPU"}.get(device, device)
        if self.precision != "auto":
            reason = "as asked"
        elif self.toy:
            reason = "as always for points in the plane"
        elif "EQUIPOISE_AUTO_PRECISION" in os.environ:
            reason = "as EQUIPOISE_AUTO_PRECISION says"
        else:
            reason = f"which {'multiplies it' if precision == 'bf16' else 'does not multiply bf16'} natively"
        return f"computing in {precision} on {where}, {reason}"

    @property
    def run_name(self) -> str:
        """Objective, data and, where they have one, the images' resolution, such as `began-digits-32`."""
        return "-".join([self.objective_name, Path(self.data).stem, *([] if self.toy else [str(self.resolution)])])

    @property
    def dtype(self) -> torch.dtype:
        """Data type of weights and images."""
        return torch.float64 if self.precision == "fp64" else torch.float32

    def build(self, shape: tuple[int, int, int], classes: int = 0) -> Players:
        """Both players, untrained, for images of `shape` (C, H, W) and so many classes.

        Raises:
            UsageError: the network does not allow such images.
        """
        needs, tasks = self.objective.needs, self.tasks
        return build_players(
            self.network,
            shape,
            classes=classes if tasks.classify else 0,
            inpainting=tasks.inpaint > 0,
            logits=tasks.logits(classes),
            levels=needs.levels,
            samples=needs.samples,
        )

    def build_objective(self, classes: int = 0) -> Objective:
        """The objective, with its auxiliary tasks if any has a weight."""
        return Multitask(self.objective, self.tasks, classes) if self.tasks.any else self.objective

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for YAML; objective and network are mappings with a `name`."""
        return {
            **asdict(self),
            "augment": list(self.augment),
            "objective": {"name": self.objective_name, **asdict(cast(Any, self.objective))},
            "network": {"name": self.network_name, **asdict(cast(Any, self.network))},
        }

    @classmethod
    @checked
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """The inverse of `to_dict`; missing keys take their defaults.

        Raises:
            UsageError: an unknown key (the nearest known one is suggested), or a value out of range.
        """
        values = {**values}
        for key, registry in (("objective", OBJECTIVES), ("network", NETWORKS)):
            if key in values:
                values[key] = from_registry(key, values[key], registry)
        if isinstance(values.get("tasks"), Mapping):
            check_keys(values["tasks"], Tasks, "tasks")
        check_keys(values, cls, "the configuration")
        return cast(TrainConfig, construct(cls, values))

    def with_changes(self, **changes: Any) -> "TrainConfig":
        """A copy with some settings changed; all others stay, also those that another objective's recipe would set.

        Raises:
            UsageError: a value out of range, or settings that do not go together.
        """
        return cast(TrainConfig, construct(partial(replace, self), changes))


def read_yaml(text: str, origin: str) -> TrainConfig:
    """The configuration in YAML `text`, without its section `made_with`; `origin` names the text in errors.

    Raises:
        UsageError: not YAML, not a mapping, an unknown key, or a value out of range.
    """
    return read_yaml_made_with(text, origin)[0]


def read_yaml_made_with(text: str, origin: str) -> tuple[TrainConfig, dict[str, str]]:
    """As `read_yaml`, with what the section `made_with` holds; nothing where there is none."""
    try:
        values = parse_yaml(text)
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise UsageError("it must hold a mapping of settings, such as `data: digits`")
        made_with = values.pop("made_with", None)
        versions = {str(key): str(value) for key, value in made_with.items()} if isinstance(made_with, dict) else {}
        return TrainConfig.from_dict(values), versions
    except ValueError as error:  # UsageError is one, too
        raise UsageError(f"{origin}: {error}") from error


def write_yaml(config: TrainConfig, made_with: Mapping[str, str]) -> str:
    """`config` as YAML, with the versions of the software in a section `made_with`."""
    return yaml.safe_dump({**config.to_dict(), "made_with": dict(made_with)}, sort_keys=False, allow_unicode=True)


def from_registry(key: str, value: Any, registry: Mapping[str, type]) -> Any:
    """The objective or network that a configuration describes, by its name alone or as a mapping with a `name`.

    Raises:
        UsageError: an unknown name or key, or a value out of range.
    """
    if isinstance(value, str):
        value = {"name": value}
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in registry:
        near = did_you_mean(str(name), registry)
        raise UsageError(f"unknown {key} {quoted(name)}{near}: use one of {', '.join(registry)}")
    kind = registry[name]
    settings = dict(value)
    del settings["name"]
    if "lambda_k" in settings:
        settings.setdefault("boundary", "batch")  # as BEGAN had it before there was a choice
    check_keys(settings, kind, f"{key} {name}")
    return construct(kind, settings)
