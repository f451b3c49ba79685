"""Everything that moves while training: made anew from a configuration, or put back from a checkpoint."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Adam, Adamax, Optimizer, RMSprop

from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed
from equipoise.objectives.base import State
from equipoise.players import Players
from equipoise.randomness import keyed_generator
from equipoise.runs.checkpoint import CheckpointError
from equipoise.training.accumulator import MetricAccumulator
from equipoise.training.cuda_graphs import CUDAGraphStep
from equipoise.training.schedule import Plateau, warmup
from equipoise.training.step import Optimizers, laid_out_like

Shape = tuple[int, int, int]

MOMENTS = {
    Adam: {"step", "exp_avg", "exp_avg_sq"},
    Adamax: {"step", "exp_avg", "exp_inf"},
    RMSprop: {"step", "square_avg"},
}  # what an optimiser keeps for each weight
ENDLESS = 50_000  # images that make an epoch where there is no end to them


@dataclass(frozen=True)
class DataSpec:
    """What the data decides on: everything that networks and objective must know of it.

    Attributes:
        shape: (C, H, W) of an image.
        classes: how many, or 0.
        count: images in an epoch; None where there is no end to them.
    """

    shape: Shape
    classes: int = 0
    count: int | None = None

    @classmethod
    def of(cls, feed: Feed) -> "DataSpec":
        """That of a feed."""
        return cls(feed.shape, feed.classes, feed.count)


class TrainState:
    """Networks, their moving average, optimisers, the objective's state, the learning rate, and images seen."""

    def __init__(self, config: TrainConfig, material: DataSpec, device: torch.device) -> None:
        self.config, self.material, self.device = config, material, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(keyed_generator(config.seed, "weights").initial_seed())
            players = config.build(material.shape, material.classes)
        layout = torch.channels_last
        self.players = Players(*(player.to(device, config.dtype, memory_format=layout) for player in players))  # type: ignore[call-overload]
        self.active_players = self.players
        self.ema = copy.deepcopy(self.players.generator).requires_grad_(requires_grad=False)
        self.optimizers = Optimizers(*(_optimizer(config, player, device) for player in self.players))
        self.cuda_graph_step = CUDAGraphStep()
        self.objective = config.build_objective(material.classes)
        self.steps_per_epoch = max(1, (material.count or ENDLESS) // config.batch)
        self.state: State = {
            name: value.to(device) for name, value in self.objective.initial_state(self.steps_per_epoch).items()
        }
        self.plateau, self.accumulator, self.images = Plateau(), MetricAccumulator(), 0
        self.generator_steps, self.critic_steps_since = 0, 0
        self.cuts = 0  # times that training went back and its learning rate was halved

    def use_players(self, players: Players) -> None:
        """Let steps call these from now on: `self.players`, which hold the weights, or others that share them."""
        self.active_players = players
        self.cuda_graph_step.forget()

    @property
    def lr(self) -> float:
        """The discriminator's learning rate in the next step; the generator's is `config.lr_ratio` times that."""
        return self.config.lr * self.plateau.factor * 0.5**self.cuts * warmup(self.images, self.config.warmup)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train: all images are seen, or the run was to stop once converged, and has."""
        return self.images >= self.config.images or (self.config.until_converged and self.plateau.converged)

    def prepare_step(self) -> None:
        """Set what follows from images seen: the learning rate and the carry of vanishing residuals."""
        rates = (self.lr * self.config.lr_ratio, self.lr)  # in the order of Optimizers
        for optimizer, rate in zip(self.optimizers, rates, strict=True):
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)  # where recordings read it
                else:
                    group["lr"] = rate
        for player in (*self.players, self.ema):
            self.config.network.anneal(player, self.images)

    @property
    def generator_moves(self) -> bool:
        """Whether the generator has its turn in the next step."""
        due = self.objective.critic_steps(self.generator_steps, self.config.n_critic, self.steps_per_epoch)
        return self.critic_steps_since + 1 >= due

    def finish_step(self, state: State, measures: Mapping[str, Tensor], *, generator_moved: bool) -> None:
        """Count the step, and if the generator has moved, move its average.

        Its half-life is `config.ema` images, or a twentieth of the images seen while that is less (the ramp-up of
        Karras et al. 2022, arXiv:2206.00364), so that early samples are not those of the first weights.
        """
        self.state = state
        self.accumulator.add(measures)
        self.images += self.config.batch
        self.critic_steps_since += 1
        if generator_moved:
            self._average(self.critic_steps_since * self.config.batch)
            self.generator_steps, self.critic_steps_since = self.generator_steps + 1, 0

    @torch.no_grad()
    def _average(self, images: int) -> None:
        """Let the average follow the generator over the last `images` images."""
        half_life = min(self.config.ema, self.images / 20)
        decay = 0.5 ** (images / half_life) if half_life else 0.0
        average: list[Tensor] = list(self.ema.parameters())
        weights: list[Tensor] = list(self.players.generator.parameters())
        torch._foreach_lerp_(average, weights, 1 - decay)
        for kept, buffer in zip(self.ema.buffers(), self.players.generator.buffers(), strict=True):
            kept.copy_(buffer)

    def observe(self, means: Mapping[str, float], steps: int) -> bool:
        """Let the learning rate follow the convergence measure; whether it was halved just now."""
        name, before = self.config.objective.convergence_measure, self.plateau
        if name is None or self.config.lr_patience == 0:
            return False
        self.plateau = before.observe(
            means[name],
            steps * self.config.batch,
            window=self.config.lr_window,
            patience=self.config.lr_patience,
            lowest=min(1.0, self.config.lr_floor / self.config.lr),
        )
        return self.plateau.factor < before.factor

    def extremes(self) -> dict[str, float]:
        """Sums of the open window, and each player's largest weight and moment: finite if all is well."""
        extremes = {name: float(value) for name, value in self.accumulator.sums.items()}
        for name, player in self.players._asdict().items():
            largest = [weight.detach().abs().amax() for weight in player.parameters()]
            extremes[f"the {name}'s largest weight"] = float(torch.stack(largest).amax())
            moments = [float(value.abs().amax()) for value in _moments(getattr(self.optimizers, name)).values()]
            extremes[f"the largest moment of the {name}'s gradient"] = float(torch.tensor([0.0, *moments]).amax())
        return extremes

    # To a checkpoint and back

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that a checkpoint must hold, by name."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "generator": self.players.generator.state_dict(),
            "discriminator": self.players.discriminator.state_dict(),
            "ema": self.ema.state_dict(),
            "objective": self.state,
            "window": self.accumulator.sums,
            **{f"optimizer_{name}": _moments(getattr(self.optimizers, name)) for name in Optimizers._fields},
        }
        return {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}

    def facts(self) -> dict[str, Any]:
        """Every number that a checkpoint must hold."""
        return {
            "shape": self.material.shape,
            "classes": self.material.classes,
            "plateau": self.plateau.as_dict(),
            "window_steps": self.accumulator.steps,
            "window_counts": dict(self.accumulator.counts),
            "generator_steps": self.generator_steps,
            "critic_steps_since": self.critic_steps_since,
            "steps_per_epoch": self.steps_per_epoch,
            "cuts": self.cuts,
        }

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Put everything back as `tensors` and `facts` were when they were taken.

        Raises:
            CheckpointError: they belong to other networks or another objective.
        """

        def part(name: str) -> dict[str, Tensor]:
            prefix = f"{name}."
            return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

        self.cuda_graph_step.forget()
        try:
            kinds = {**self.facts(), "window_counts": {}, "images": 0}
            if not _alike(kinds, {key: facts[key] for key in kinds}):
                raise ValueError("its facts are of other kinds")
            for name, module in [*self.players._asdict().items(), ("ema", self.ema)]:
                cast(nn.Module, module).load_state_dict(part(name))
            for name in Optimizers._fields:
                _restore_moments(getattr(self.optimizers, name), part(f"optimizer_{name}"))
            if set(part("objective")) != set(self.state):
                raise ValueError("it belongs to another objective")
            self.state = {name: value.to(self.device) for name, value in _scalars(part("objective")).items()}
            sums, counts = _scalars(part("window")), facts["window_counts"]  # whose order is that of the metrics
            self.accumulator = MetricAccumulator(
                {name: sums[name].to(self.device) for name in counts}, counts, facts["window_steps"]
            )
            self.generator_steps, self.critic_steps_since = facts["generator_steps"], facts["critic_steps_since"]
            self.steps_per_epoch, self.cuts = facts["steps_per_epoch"], facts["cuts"]
            self.plateau, self.images = Plateau(**facts["plateau"]), facts["images"]
        except (RuntimeError, LookupError, TypeError, ValueError) as error:
            words = " ".join(str(error).split())
            raise CheckpointError(f"the checkpoint does not fit the run's configuration: {words}") from error


def _alike(ours: Any, theirs: Any) -> bool:
    """Whether `theirs`, from a file, has the kinds of `ours` throughout; what is empty in ours may hold counts."""
    if isinstance(ours, dict):
        if not ours:
            return isinstance(theirs, dict) and all(_alike(0, each) for each in theirs.values())
        same = isinstance(theirs, dict) and theirs.keys() == ours.keys()
        return same and all(_alike(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, tuple):
        return isinstance(theirs, list | tuple) and list(theirs) == list(ours)
    if isinstance(ours, float):
        return type(theirs) in {int, float}
    return type(theirs) is type(ours) and (isinstance(ours, bool) or theirs >= 0)


def _scalars(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """`named`, if they are single numbers.

    Raises:
        ValueError: one is not.
    """
    for name, value in named.items():
        if value.ndim or not value.is_floating_point():
            raise ValueError(f"{name} is no single number")
    return named


def _optimizer(config: TrainConfig, player: nn.Module, device: torch.device) -> Optimizer:
    weights, betas, recorded = list(player.parameters()), (config.beta1, config.beta2), device.type == "cuda"
    lr = torch.tensor(config.lr, device=device) if recorded else config.lr
    if config.optimizer == "rmsprop":
        return RMSprop(weights, lr=lr, foreach=True, capturable=recorded)
    if config.optimizer == "adamax":
        return Adamax(weights, lr=lr, betas=betas, foreach=True, capturable=recorded)
    return Adam(weights, lr=lr, betas=betas, fused=True, capturable=recorded)


def _moments(optimizer: Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def _restore_moments(optimizer: Optimizer, moments: Mapping[str, Tensor]) -> None:
    """Put an optimiser's moments back.

    Raises:
        ValueError: they are of other weights.
    """
    weights: list[Tensor] = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        index, _, name = key.partition(".")
        weight = weights[int(index)]
        if value.shape != (() if name == "step" else weight.shape):
            raise ValueError(f"the moment {key} has the shape {tuple(value.shape)} for weights {tuple(weight.shape)}")
        own = value if name == "step" else laid_out_like(weight, value)
        state.setdefault(int(index), {})[name] = own
    if state and (len(state) != len(weights) or any(set(each) != MOMENTS[type(optimizer)] for each in state.values())):
        raise ValueError("some weights lack moments, or have those of another optimiser")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
