"""A generator on its own: its configuration and weights in a folder or on the hub, without the run that trained it."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from equipoise.config.arguments import checked
from equipoise.config.messages import explain
from equipoise.config.numbers import Count, CountOrZero, Seed
from equipoise.config.train_config import TrainConfig, from_registry
from equipoise.data import to_uint8
from equipoise.data.sizes import MAX_SIDE
from equipoise.data.sources.extras import extra
from equipoise.data.sources.hub_client import download
from equipoise.errors import UsageError, quoted, reason
from equipoise.isolation import isolated
from equipoise.networks import NETWORKS, Network, build_players
from equipoise.randomness import Draws, Prior, keyed_generator, latents
from equipoise.reading import check_name, expand_home, read_text
from equipoise.runs.checkpoint import CheckpointError, fill, read_tensors
from equipoise.sampling.load import ImageGenerator
from equipoise.sampling.sample import BLOCK

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"  # as the hub calls them
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class GeneratorConfig(BaseModel):
    """What config.json holds: how the generator is built, what it takes and makes, and where it comes from."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    network: dict[str, Any]
    """The specification of the network, with its `name` in NETWORKS."""
    shape: tuple[Annotated[int, Field(ge=1, le=3)], Side, Side]
    """(C, H, W) of the images, whose values are nominally in [-1, 1]."""
    classes: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Number of classes that it makes images of, or 0."""
    class_names: tuple[str, ...] = ()
    """Their names in order, where they are known."""
    inpainting: bool = False
    """Whether it fills in images."""
    levels: Annotated[int, Field(ge=0, le=256)] = 0
    """Number of values of a pixel, for discrete images, or 0."""
    prior: Prior = "normal"
    """Distribution of the latents."""
    objective: str = "unknown"
    data: str = "unknown"
    images: int = 0
    """Images seen in training."""
    equipoise: str = "unknown"
    """Version that wrote it."""

    @classmethod
    def parse(cls, values: Mapping[str, Any], origin: str) -> "GeneratorConfig":
        """A configuration from a file's values; `origin` names the file in errors.

        Raises:
            UsageError: it is of a newer version, lacks something, or a value is out of range.
        """
        written = values.get("format", FORMAT)
        if isinstance(written, int) and written > FORMAT:
            version = quoted(values.get("equipoise", "a newer version"))
            raise UsageError(
                f"{origin} has format {written}, and this version reads {FORMAT}: it was written by equipoise "
                f"{version}, so `pip install -U equipoise`"
            )
        try:
            config = cls.model_validate(dict(values))
        except ValidationError as error:
            raise UsageError(f"{origin}: {explain(error)}") from error
        try:
            assert config.spec  # noqa: S101  # which checks the network's settings
        except UsageError as error:
            raise UsageError(f"{origin}: {error}") from error
        return config

    @cached_property
    def spec(self) -> Network:
        """The network's specification.

        Raises:
            UsageError: its name is unknown, or a setting is.
        """
        network: Network = from_registry("network", self.network, NETWORKS)
        return network

    def build(self) -> nn.Module:
        """The generator, untrained.

        Raises:
            UsageError: the network does not allow such images.
        """
        return build_players(
            self.spec, self.shape, classes=self.classes, inpainting=self.inpainting, levels=self.levels
        ).generator

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return self.model_dump(mode="json")


def generator_config(
    config: TrainConfig, facts: Mapping[str, Any], class_names: tuple[str, ...] = ()
) -> GeneratorConfig:
    """The configuration of a run's generator on its own.

    Args:
        config: of the run.
        facts: of the checkpoint.
        class_names: of the data's classes, where they are known.
    """
    from importlib.metadata import version

    return GeneratorConfig(
        network=config.to_dict()["network"],
        shape=tuple(facts["shape"]),
        classes=facts["classes"] if config.tasks.classify else 0,
        class_names=class_names if config.tasks.classify else (),
        inpainting=config.tasks.inpaint > 0,
        levels=config.objective.needs.levels,
        prior=config.prior,
        objective=config.objective_name,
        data=config.data,
        images=facts["images"],
        equipoise=version("equipoise"),
    )


class PretrainedGenerator(ImageGenerator):
    """A generator that knows what it takes and makes; `equipoise.load` returns one.

    Attributes:
        config: how it is built, and where it comes from.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config.build(), config.spec.latent)
        self.config = config

    @checked
    @torch.inference_mode()
    def sample(self, count: Count, *, seed: Seed = 0, label: CountOrZero | None = None) -> Tensor:
        """Samples (count, C, H, W) uint8, from the latents and classes that `equipoise.sample` draws with this seed.

        Args:
            count: number of samples.
            seed: of the latents.
            label: class of all samples, where it makes images of a class; by default any.

        Raises:
            UsageError: it makes no images of that class, or fills in images, which must be given: call it instead.
        """
        if self.config.inpainting:
            raise UsageError("this generator fills in images: call it with latents, masked images and masks")
        if label is not None and not 0 <= label < self.classes:
            raise UsageError(f"this generator makes images of {self.classes} classes, of which {label} is none")
        blocks, device = [torch.empty(0, *self.config.shape, dtype=torch.uint8)], next(self.parameters()).device
        for start in range(0, count, BLOCK):
            z = latents(BLOCK, self.latent, self.config.prior, keyed_generator(seed, "sample", start))
            labels = None
            if self.classes:
                labels = Draws(seed, start, BLOCK, slice(None)).integers("classes to make", self.classes)
                labels = (labels if label is None else torch.full_like(labels, label)).to(device)
            blocks.append(to_uint8(self(z.to(next(self.parameters())), labels)).cpu())
        return torch.cat(blocks)[:count]


def write_weights(folder: Path, generator: ImageGenerator, config: GeneratorConfig) -> None:
    """Write config.json and model.safetensors, which `load` reads, into a folder.

    Raises:
        OSError: the disk refuses.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}
    (folder / WEIGHTS).write_bytes(to_bytes(weights, {"format": "pt"}))
    (folder / CONFIG).write_text(json.dumps(config.to_dict(), indent=2) + "\n")


Pretrained = TypeVar("Pretrained", bound=PretrainedGenerator)


@checked
@isolated()
def load(source: Path | str, *, revision: str | None = None) -> PretrainedGenerator:
    """A generator that was exported as safetensors or for the hub, in evaluation mode, on the CPU.

    Args:
        source: the folder, or a name on the Hugging Face Hub such as `me/faces`.
        revision: branch, tag or commit on the hub; by default the newest.

    Raises:
        UsageError: there is no such folder or name, or what is there is no generator of this version.
    """
    folder = expand_home(source)
    check_name(folder)
    if not folder.is_dir():
        folder = _downloaded(str(source), revision)
    path = folder / CONFIG
    try:
        values = TypeAdapter(dict[str, Any]).validate_json(read_text(path))
    except OSError as error:
        raise UsageError(
            f"{folder} holds no exported generator, as it has no readable {CONFIG} ({reason(error)}): give a folder "
            "made by `equipoise export RUN --format hub`"
        ) from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: export the generator again") from error
    with torch.device("meta"):  # takes no memory, whatever sizes the file names
        generator = PretrainedGenerator(GeneratorConfig.parse(values, str(path)))
    return filled(generator, folder / WEIGHTS)


def filled(generator: Pretrained, path: Path) -> Pretrained:
    """`generator`, built without memory, with the weights in a file, in evaluation mode.

    Raises:
        CheckpointError: the file cannot be read, or holds other weights.
    """
    weights, _ = read_tensors(path)
    single = {
        name: each.float() if each.dtype in {torch.float16, torch.bfloat16} else each for name, each in weights.items()
    }
    try:
        fill(generator, single, assign=True)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} does not fit the {CONFIG} beside it: {reason(error)}") from error
    return generator.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]


def _downloaded(name: str, revision: str | None) -> Path:
    """The folder in which huggingface_hub keeps a generator's two files, downloaded unless they are there."""
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UsageError(
            f"there is no folder {name}: give one made by `equipoise export`, or a name on the hub such as me/faces"
        )
    with extra("hub", name):
        import huggingface_hub  # noqa: F401
    paths = [download(name, file, name, "model", revision=revision) for file in (CONFIG, WEIGHTS)]
    return paths[-1].parent
