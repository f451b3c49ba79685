"""One frozen TrainConfig says all that a run needs to be made again; YAML both ways."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Annotated, Any, Literal, cast

import torch
import yaml
from pydantic import ConfigDict, Field, InstanceOf, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from equipoise.config.compatibility import name_of, network_for, refuse_pairing, refuse_toy, toy_network
from equipoise.config.messages import _checked, _one_line, _refuse_unknown, suggestion
from equipoise.config.numbers import Count, CountOrNone, Resolution
from equipoise.data import TOYS, Fit, Toy
from equipoise.devices import Compile, Device, Precision, resolve_precision
from equipoise.errors import UsageError
from equipoise.networks import NETWORKS, Autoencoder, Network, build_players
from equipoise.objectives import BEGAN, OBJECTIVES, Multitask, Objective, Tasks
from equipoise.objectives.base import Update
from equipoise.players import Players
from equipoise.randomness import Prior


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class TrainConfig:
    """Everything that decides a run. Lengths are counted in images seen.

    What is not given is the objective's own, as its authors published it (`Objective.defaults`), or else what stands
    here.
    """

    objective: InstanceOf[Objective] = BEGAN()
    """What the players play for."""
    network: InstanceOf[Network] = Autoencoder()
    """The networks of both players."""
    tasks: Tasks = Tasks()
    """What they learn beside it."""

    data: str = "digits"
    """`digits` (bundled), a folder or zip of images, an .npz or .npy array, or a toy: ring8, grid25, swissroll."""
    resolution: Resolution = 32
    """Size of the images in pixels: a side, or width and height as in 64x48."""
    channels: Literal[1, 3] | None = None
    """1 for grayscale, 3 for RGB; by default grayscale if every image is."""
    fit: Fit = "crop"
    """How an image of another shape is made to fit: its centre, a padded frame, or stretched."""
    background: str = "white"
    """Colour behind transparent images and around padded ones."""
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Share of the images never trained on, kept to judge by; chosen by each image's own content."""
    flip: bool = False
    """Mirror half of the images, left to right."""

    images: Count = 300_000
    """Images to train on, counted with repetition."""
    batch: Count = 16
    """Images a step, over all processes."""
    update: Update = "simultaneous"
    """Both players move at the same time by one judgement, or the generator after the discriminator, by a new one."""
    n_critic: Count = 1
    """Steps of the discriminator for each of the generator's."""
    separate_latents: bool = False
    """Draw other latents for the generator's loss than for the discriminator's."""
    optimizer: Literal["adam", "rmsprop", "adamax"] = "adam"
    """What turns gradients into steps."""
    lr: Annotated[float, Field(gt=0, le=1)] = 2e-4
    """Learning rate of the discriminator."""
    lr_ratio: Annotated[float, Field(gt=0, le=100)] = 2.0
    """The generator's learning rate over the discriminator's (Heusel et al. 2017, arXiv:1706.08500)."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Adam's and Adamax's decay of the mean gradient."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Adam's and Adamax's decay of the gradient's size."""
    warmup: CountOrNone = 2_000
    """Images over which the learning rate rises from 0."""
    lr_floor: Annotated[float, Field(gt=0)] = 2e-5
    """Lowest learning rate that halving reaches."""
    lr_window: Count = 8_000
    """Images over which the convergence measure is averaged to judge a stall."""
    lr_patience: CountOrNone = 10
    """Windows without a new best after which the learning rate is halved; 0 keeps it constant."""
    on_divergence: Literal["stop", "rollback"] = "stop"
    """After numbers that are not finite, or a sudden collapse: stop, or go back to the last good checkpoint with half
    the learning rate, three times at most."""
    until_converged: bool = False
    """Stop once the convergence measure stalls at the lowest learning rate."""
    prior: Prior = "uniform"
    """Distribution of the latents: U[-1, 1] or N(0, 1)."""
    ema: CountOrNone = 10_000
    """Half-life of the generator's moving average, in images; 0 uses the generator as it is."""

    seed: int = 0
    """Of the weights, the data's order and the latents."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    devices: Count = 1
    """Processes on this machine, one a device; they share the batch."""
    precision: Precision = "auto"
    """Of training and samples: bf16 keeps the weights in fp32, multiplies in bf16; auto takes it where that gains."""
    compile: Compile = "auto"
    """Compile the networks first, half a minute's work; auto does on a GPU that has more than 5 minutes to train."""
    log_every: Count = 1_000
    """Images between two lines of metrics."""
    sample_every: Count = 10_000
    """Images between two sample grids."""
    checkpoint_every: Count = 20_000
    """Images between two checkpoints."""
    keep: Count = 3
    """Checkpoints to keep, beside the one with the best KID."""
    keep_every: CountOrNone = 0
    """Images between two checkpoints that are kept for good, beside the last ones; 0 keeps none."""
    score_every: CountOrNone = 0
    """Images between two scores by KID, which decide on the best checkpoint; 0 takes none."""
    score_count: Annotated[Count, Field(ge=20)] = 1_000
    """Samples, and held-out images at most, that a score compares."""

    @model_validator(mode="before")
    @classmethod
    def _published(cls, given: ArgsKwargs) -> ArgsKwargs:
        """Fill in what the objective's authors used, and networks that suit it and the data."""
        values = dict(given.kwargs or {})
        objective = values.get("objective")
        if isinstance(objective, Objective):
            data = str(values.get("data", ""))
            toy = {"network": toy_network(objective), **objective.toy_defaults} if data in TOYS else {}
            values = {"network": "autoencoder", **objective.defaults, **toy, **values}
            if isinstance(values["network"], str):
                values["network"] = network_for(objective, values["network"])
        return ArgsKwargs(given.args, values)

    def __post_init__(self) -> None:
        refuse_pairing(self.objective, self.network)
        if self.toy:
            refuse_toy(self.objective, self.network, self.data, scored=bool(self.score_every))
        if self.batch % self.devices:
            raise UsageError(f"--batch {self.batch} does not divide by --devices {self.devices}")
        if self.compile == "always" and self.objective.needs.independent:
            raise UsageError(
                f"{self.objective_name} with these settings differentiates its penalty twice, which compiled networks "
                "cannot: use --compile never"
            )
        if self.until_converged and (self.objective.convergence is None or self.lr_patience == 0):
            raise UsageError("--until-converged needs an objective with a convergence measure and --lr-patience > 0")

    @property
    def toy(self) -> Toy | None:
        """The toy that `data` names, if it does."""
        return TOYS.get(self.data)

    @property
    def objective_name(self) -> str:
        """The objective's name in OBJECTIVES."""
        return name_of(self.objective, OBJECTIVES)

    @property
    def network_name(self) -> str:
        """The network's name in NETWORKS."""
        return name_of(self.network, NETWORKS)

    def precision_on(self, device: str) -> Precision:
        """What `precision` comes to on a kind of device; for a toy `auto` is fp32: in bf16's 8 bits points coincide.

        Raises:
            UsageError: as `resolve_precision` does.
        """
        return "fp32" if self.precision == "auto" and self.toy else resolve_precision(self.precision, device)

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and images."""
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

    def game(self, classes: int = 0) -> Objective:
        """The objective, with the tasks that are on."""
        return Multitask(self.objective, self.tasks, classes) if self.tasks.any else self.objective

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the objective and the network as mappings with a `name`."""
        return {
            **asdict(self),
            "objective": {"name": self.objective_name, **asdict(cast(Any, self.objective))},
            "network": {"name": self.network_name, **asdict(cast(Any, self.network))},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """The way back from `to_dict`; what is absent takes its default.

        Raises:
            UsageError: an unknown key (the nearest known one is suggested), or a value out of range.
        """
        values = {**values}
        for key, registry in (("objective", OBJECTIVES), ("network", NETWORKS)):
            if key in values:
                values[key] = _build(key, values[key], registry)
        if isinstance(values.get("tasks"), Mapping):
            _refuse_unknown(values["tasks"], Tasks, "tasks")
        _refuse_unknown(values, cls, "the configuration")
        return cast(TrainConfig, _checked(cls, values))

    def with_changes(self, **changes: Any) -> "TrainConfig":
        """A copy with some values changed, checked anew.

        Raises:
            UsageError: a value is out of range, or the network cannot serve the objective.
        """
        return cast(TrainConfig, _checked(partial(replace, self), changes))


def read_yaml(text: str, origin: str) -> TrainConfig:
    """A configuration from YAML `text`; `origin` names it in errors. A section `made_with` is passed over.

    Raises:
        UsageError: not YAML, not a mapping, an unknown key, or a value out of range.
    """
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{origin} is not valid YAML: {_one_line(error)}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UsageError(f"{origin} must hold a mapping of settings, such as `data: digits`")
    values.pop("made_with", None)
    try:
        return TrainConfig.from_dict(values)
    except UsageError as error:
        raise UsageError(f"{origin}: {error}") from error


def write_yaml(config: TrainConfig, made_with: Mapping[str, str]) -> str:
    """`config` as YAML, with the versions it was made with."""
    return yaml.safe_dump({**config.to_dict(), "made_with": dict(made_with)}, sort_keys=False, allow_unicode=True)


def _build(key: str, value: Any, registry: Mapping[str, type]) -> Any:
    if isinstance(value, str):
        value = {"name": value}
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in registry:
        raise UsageError(f"unknown {key} {name!r}{suggestion(str(name), registry)}: use one of {', '.join(registry)}")
    kind = registry[name]
    settings = dict(value)
    del settings["name"]
    _refuse_unknown(settings, kind, f"{key} {name}")
    return _checked(kind, settings)
