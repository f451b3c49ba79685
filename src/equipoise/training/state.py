"""Everything that moves while training: made anew from a configuration, or restored from a checkpoint."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed
from equipoise.errors import reason
from equipoise.objectives.base import State
from equipoise.players import Players
from equipoise.randomness import keyed_generator
from equipoise.runs.checkpoint import CheckpointError, fill
from equipoise.training.accumulator import MetricAccumulator
from equipoise.training.cuda_graphs import CUDAGraphStep
from equipoise.training.optimizers import make_optimizer, moments_of, restore_moments
from equipoise.training.schedule import Plateau, decay, warmup
from equipoise.training.step import Optimizers

Shape = tuple[int, int, int]

ENDLESS_EPOCH = 50_000  # images that count as an epoch where there is no end to them


@dataclass(frozen=True)
class DataSpec:
    """What networks and objectives must know of the data.

    Attributes:
        shape: (C, H, W) of an image.
        classes: number of classes, or 0.
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
    """Networks, their moving average, optimizers, the objective's state, the learning rate, and images seen.

    Attributes:
        players: both networks, which hold the weights.
        active_players: what a step calls: the same, or compiled versions that share their weights.
        ema: the generator's moving average.
        objective_state: the objective's own moving quantities.
        accumulator: sums of the measures since the last line of metrics.
        schedule_window: sum of the convergence measure in the schedule's open window, which lines of metrics leave.
        images: seen so far, with repetition.
        kid_stalled: whether KID has been no lower for so long that training is to stop, where it goes by that.
        rollbacks: times that training went back to a checkpoint and halved its learning rate.
        processes: that the run began with, whatever their number now: the order of shards is that of so many.
    """

    def __init__(self, config: TrainConfig, data: DataSpec, device: torch.device, processes: int = 1) -> None:
        self.config, self.data, self.device = config, data, device
        with torch.random.fork_rng(devices=[]):
            # Weights are drawn from the global generator, as modules do; outside it is left as it was.
            torch.manual_seed(keyed_generator(config.seed, "weights").initial_seed())
            players = config.build(data.shape, data.classes)
        layout = torch.channels_last  # what convolutions are fastest in, on CPUs and on GPUs
        self.players = Players(*(player.to(device, config.dtype, memory_format=layout) for player in players))  # type: ignore[call-overload]
        self.active_players = self.players
        self.ema = copy.deepcopy(self.players.generator).requires_grad_(requires_grad=False)
        self.optimizers = Optimizers(*(make_optimizer(config, player, device) for player in self.players))
        self.cuda_graph_step = CUDAGraphStep()
        self.objective = config.build_objective(data.classes)
        self.steps_per_epoch = max(1, (data.count or ENDLESS_EPOCH) // config.batch)
        initial = self.objective.initial_state(self.steps_per_epoch)
        self.objective_state: State = {name: value.to(device) for name, value in initial.items()}
        self.plateau, self.schedule_window = Plateau(), MetricAccumulator()
        self.accumulator, self.images = MetricAccumulator(), 0
        self.generator_steps, self.critic_steps_since = 0, 0
        self.kid_stalled, self.rollbacks, self.processes = False, 0, processes

    def use_players(self, players: Players) -> None:
        """Let steps call these networks from now on: `players`, or compiled versions of them."""
        self.active_players = players
        self.cuda_graph_step.forget()

    # Before, during and after a step

    @property
    def lr(self) -> float:
        """The discriminator's learning rate in the next step; the generator's is `config.lr_ratio` times that."""
        config, cuts = self.config, self.plateau.factor * 0.5**self.rollbacks
        ends = warmup(self.images, config.warmup) * decay(self.images, config.images, config.lr_decay)
        return config.lr * cuts * ends

    @property
    def finished(self) -> bool:
        """Whether all images are seen, or the run was to stop once converged, and has converged."""
        converged = self.config.until_converged and (self.plateau.converged or self.kid_stalled)
        return self.images >= self.config.images or converged

    def reached(self, every: int) -> bool:
        """Whether the last step reached or passed a multiple of `every` images; of 0 there is none."""
        return every > 0 and self.images // every > (self.images - self.config.batch) // every

    @property
    def score_due(self) -> bool:
        """Whether there is to be a score after so many images: at its interval, and at the end."""
        every = self.config.score_every
        return every > 0 and self.images > 0 and (self.reached(every) or self.finished)

    @property
    def generator_moves(self) -> bool:
        """Whether the generator has its turn in the next step."""
        due = self.objective.critic_steps(self.generator_steps, self.config.n_critic, self.steps_per_epoch)
        return self.critic_steps_since + 1 >= due

    def prepare_step(self) -> None:
        """Set what follows from images seen: the learning rates and the carry of vanishing residuals."""
        for optimizer, rate in zip(self.optimizers, (self.lr * self.config.lr_ratio, self.lr), strict=True):
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)  # in place, where a CUDA graph reads it
                else:
                    group["lr"] = rate
        for player in (*self.players, self.ema):
            self.config.network.anneal(player, self.images)

    def finish_step(self, objective_state: State, measures: Mapping[str, Tensor]) -> bool:
        """Take in what a step has returned, count it, and if the generator has moved, move its average.

        Returns:
            Whether the learning rate was halved.
        """
        generator_moved = self.generator_moves  # which is of the step that is not counted yet
        self.objective_state = objective_state
        self.accumulator.add(measures)
        self.images += self.config.batch
        self.critic_steps_since += 1
        if generator_moved:
            self._update_average(self.critic_steps_since * self.config.batch)
            self.generator_steps, self.critic_steps_since = self.generator_steps + 1, 0
        return self._follow_convergence(measures)

    @torch.no_grad()
    def _update_average(self, images: int) -> None:
        """Move the average towards the generator, after a step of it that stands for so many images.

        Its half-life is `config.ema` images, or a twentieth of the images seen while that is less (the ramp-up of
        Karras et al. 2022, arXiv:2206.00364), so that early samples are not those of the first weights.

        BatchNorm's running means and variances are averaged with the weights: those of the newest weights do not fit
        the average of many (docs/architecture.md). Buffers of whole numbers are copied.
        """
        half_life = min(self.config.ema, self.images / 20)
        decay = 0.5 ** (images / half_life) if half_life else 0.0
        pairs = list(zip(_weights_and_buffers(self.ema), _weights_and_buffers(self.players.generator), strict=True))
        averaged, newest = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(averaged, newest, 1 - decay)
        for count, newest_count in (pair for pair in pairs if not pair[0].is_floating_point()):
            count.copy_(newest_count)

    def _follow_convergence(self, measures: Mapping[str, Tensor]) -> bool:
        """Let the learning rate follow the convergence measure; whether it was halved.

        Its means are over windows of its own: nothing that is only logged may change training.
        """
        config, name, before = self.config, self.config.objective.convergence_measure, self.plateau
        if name is None or not config.rate_follows_measure:
            return False
        self.schedule_window.add({name: measures[name]})
        if self.schedule_window.steps * config.batch < config.lr_window:
            return False
        means = self.schedule_window.close()
        lowest = min(1.0, config.lr_floor / config.lr)
        self.plateau = before.observe(means[name], patience=config.lr_patience, lowest=lowest)
        return self.plateau.factor < before.factor

    def extremes(self) -> dict[str, float]:
        """The accumulated sums, and each player's largest weight and moment: all finite, or a checkpoint is worthless.

        A weight can become infinite in the very step after which a checkpoint is due, before any loss shows it.
        """
        extremes = {name: float(value) for name, value in self.accumulator.sums.items()}
        for name, player in self.players._asdict().items():
            largest = [weight.detach().abs().amax() for weight in player.parameters()]
            extremes[f"the {name}'s largest weight"] = float(torch.stack(largest).amax())
            moments = [float(value.abs().amax()) for value in moments_of(getattr(self.optimizers, name)).values()]
            extremes[f"the largest moment of the {name}'s gradient"] = float(torch.tensor([0.0, *moments]).amax())
        return extremes

    # To a checkpoint and back; the names are those of the file, and stay

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that a checkpoint must hold, by name."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "generator": self.players.generator.state_dict(),
            "discriminator": self.players.discriminator.state_dict(),
            "ema": self.ema.state_dict(),
            "objective": self.objective_state,
            "window": self.accumulator.sums,
            "schedule": self.schedule_window.sums,
            **{f"optimizer_{name}": moments_of(getattr(self.optimizers, name)) for name in Optimizers._fields},
        }
        return {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}

    def facts(self) -> dict[str, Any]:
        """Every number that a checkpoint must hold, but for the images seen."""
        return {
            "shape": self.data.shape,
            "classes": self.data.classes,
            "plateau": self.plateau.as_dict(),
            "schedule_steps": self.schedule_window.steps,
            "window_steps": self.accumulator.steps,
            "window_counts": dict(self.accumulator.counts),
            "generator_steps": self.generator_steps,
            "critic_steps_since": self.critic_steps_since,
            "steps_per_epoch": self.steps_per_epoch,
            "cuts": self.rollbacks,
            "processes": self.processes,
        }

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Put everything back as it was when `tensors` and `facts` (with the images seen) were taken.

        Raises:
            CheckpointError: they belong to other networks or another objective.
        """

        def part(name: str) -> dict[str, Tensor]:
            prefix = f"{name}."
            return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

        self.cuda_graph_step.forget()  # moments are about to be other tensors
        try:
            expected = {**self.facts(), "window_counts": {}, "images": 0}
            if not _same_types(expected, {key: facts[key] for key in expected}):
                raise ValueError("its facts are of other kinds")
            for name, module in [*self.players._asdict().items(), ("ema", self.ema)]:
                fill(cast(nn.Module, module), part(name))
            for name in Optimizers._fields:
                restore_moments(getattr(self.optimizers, name), part(f"optimizer_{name}"))
            state, sums, schedule = part("objective"), part("window"), part("schedule")
            if set(state) != set(self.objective_state):
                raise ValueError("it belongs to another objective")
            for name, value in (state | sums | schedule).items():
                if value.ndim or not value.is_floating_point():
                    raise ValueError(f"{name} is no single number")
            self.objective_state = {name: value.to(self.device) for name, value in state.items()}
            # in the order in which metrics are logged, which tensors do not keep
            self.accumulator = self._accumulated(sums, facts["window_counts"], facts["window_steps"])
            steps = facts["schedule_steps"]
            self.schedule_window = self._accumulated(schedule, dict.fromkeys(schedule, steps), steps)
            self.generator_steps, self.critic_steps_since = facts["generator_steps"], facts["critic_steps_since"]
            self.steps_per_epoch, self.rollbacks = facts["steps_per_epoch"], facts["cuts"]
            self.plateau, self.images = Plateau(**facts["plateau"]), facts["images"]
            self.processes = facts["processes"]
            if self.processes < 1 or self.config.batch % self.processes:
                raise ValueError(f"batches of {self.config.batch} are not those of {self.processes} processes")
        except (RuntimeError, LookupError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint does not fit the run's configuration: {reason(error)}") from error

    def _accumulated(self, sums: Mapping[str, Tensor], counts: dict[str, int], steps: int) -> MetricAccumulator:
        """An accumulator as it was, its sums in the order of `counts`."""
        return MetricAccumulator({name: sums[name].to(self.device) for name in counts}, counts, steps)


def _weights_and_buffers(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _same_types(expected: Any, value: Any) -> bool:
    """Whether `value`, from a file, has the types of `expected` throughout; an empty mapping stands for counts."""
    if isinstance(expected, dict):
        if not isinstance(value, dict):
            return False
        if not expected:
            return all(_same_types(0, each) for each in value.values())
        return value.keys() == expected.keys() and all(_same_types(expected[key], value[key]) for key in expected)
    if isinstance(expected, tuple):
        return isinstance(value, list | tuple) and list(value) == list(expected)
    if isinstance(expected, float):
        return type(value) in {int, float}
    return type(value) is type(expected) and (isinstance(expected, bool) or value >= 0)
