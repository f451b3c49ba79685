"""A model card, filled in from the run itself: what is not known is said to be unknown, and nothing is left open."""

import textwrap
from collections.abc import Iterator
from dataclasses import replace

import yaml

from equipoise.config.train_config import TrainConfig
from equipoise.evaluation.scores import Scores
from equipoise.exporting.pretrained import GeneratorConfig
from equipoise.exporting.trained import Trained, data_name

SAMPLES = "samples.png"
MOST_WARNINGS = 5
PAPERS = {"began": "[arXiv:1703.10717](https://arxiv.org/abs/1703.10717)"}


def model_card(
    trained: Trained,
    title: str,
    scores: Scores | None = None,
    licence: str | None = None,
    *,
    repository: str | None = None,
) -> str:
    """The text of README.md, for people and, in its first lines, for the hub.

    Args:
        trained: the generator and its run.
        title: of the card.
        scores: from `equipoise evaluate`.
        licence: identifier on the hub, such as cc-by-4.0; by default none is stated.
        repository: on the hub, such as me/photos; by default the model is loaded from its folder.
    """
    config = trained.config
    header = {
        "library_name": "equipoise",
        "pipeline_tag": "unconditional-image-generation",
        "tags": [*dict.fromkeys(["gan", config.objective, "image-generation", "pytorch_model_hub_mixin"])],
        **({"license": licence} if licence else {}),
    }
    sections = {
        "Data": _data(trained),
        "Training": _training(trained),
        "Scores": _scores(trained, scores),
        "Loading": _loading(config, repository or "path/to/this/folder"),
        "Limits": "\n".join(f"- {line}" for line in _limits(trained, scores)),
        "Licence": f"`{licence}`" if licence else "Not stated by whoever exported this model.",
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return (
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n# {title}\n\n{_summary(trained)}\n\n"
        f"![samples]({SAMPLES})\n\n{body}\n"
    )


def _summary(trained: Trained) -> str:
    config = trained.config
    channels, height, width = config.shape
    classes = f", of {config.classes} classes" if config.classes else ""
    task = " It fills in the masked part of an image." if config.inpainting else ""
    made = f"trained on `{config.data}` as a GAN with the objective `{config.objective}`"
    return (
        f"A generator of {'colour' if channels == 3 else 'gray'} images of {width}x{height} pixels{classes}, "
        f"{'trained elsewhere, and imported' if trained.imported else made} by equipoise {config.equipoise}.{task} "
        "The samples below are not selected."
    )


def _data(trained: Trained) -> str:
    settings, images = trained.run.config, trained.images
    if trained.imported:
        return "Not known here, as the weights come from elsewhere."
    if images is None:
        count = "They were not at hand when this card was written, so that their number is not known here."
    else:
        names = f" ({', '.join(images.class_names)})" if images.class_names else ""
        classes = f", in {images.classes} classes{names}" if images.classes else ""
        count = f"{len(images):,} training images{classes}; what was held out is not among them."
    mirrored = " They were mirrored at random." if settings.flip else ""
    return f"`{trained.config.data}`, {_framing(settings)}. {count}{mirrored}"


def _framing(settings: TrainConfig) -> str:
    sides = (
        str(settings.resolution) if "x" in str(settings.resolution) else f"{settings.resolution}x{settings.resolution}"
    )
    fit = {"crop": "cropped at the centre", "pad": "padded", "stretch": "stretched"}.get(settings.fit, settings.fit)
    return f"{fit} and resized to {sides}"


def _training(trained: Trained) -> str:
    settings, facts = trained.run.config, trained.facts
    network = ", ".join(f"{key} {value}" for key, value in settings.to_dict()["network"].items() if key != "name")
    paper = PAPERS.get(settings.objective_name)
    history = [
        f"{facts['images']:,} images seen in batches of {settings.batch}. The weights: {trained.weights_text}.",
        f"Objective `{settings.objective_name}`{f', {paper}' if paper else ''}: `{settings.objective}`.",
        f"{settings.optimizer.capitalize()}, learning rate {settings.lr:g}; seed {settings.seed}.",
    ]
    if trained.imported:  # the run's settings are those by default, and say nothing of how the weights came to be
        history = ["Not known here, as the weights come from elsewhere."]
    built = [
        f"Network `{settings.network_name}`: {network}. "
        f"{sum(each.numel() for each in trained.generator.parameters()):,} weights in the generator.",
        f"Latents of length {trained.generator.latent} from the {settings.prior} prior"
        f" ({'N(0, 1)' if settings.prior == 'normal' else 'U[-1, 1]'}).",
    ]
    return "\n".join(f"- {line}" for line in [*history, *built])


def _scores(trained: Trained, scores: Scores | None) -> str:
    lines = []
    if scores is not None:
        names = {key: data_name(str(scores.subject.get(key, ""))) for key in ("name", "beside")}
        scores = replace(scores, subject={**scores.subject, **names})  # without this machine's folders
        protocol = yaml.safe_dump(scores.protocol, sort_keys=False, allow_unicode=True)
        lines.append(f"```\n{scores}\n```\n\nBy this protocol:\n\n```yaml\n{protocol}```")
    if closing := trained.run.closing_score():
        lines.append(f"At the end of training: {closing}.")
    return "\n\n".join(lines) or "Not measured: `equipoise evaluate RUN --json scores.json` does."


def _loading(config: GeneratorConfig, name: str) -> str:
    code = f"""\
        import equipoise  # pip install equipoise

        generator = equipoise.load("{name}")
        images = generator.sample(16, seed=0)  # uint8 {(16, *config.shape)}
    """
    if config.inpainting:
        code = f"""\
        import equipoise  # pip install equipoise

        generator = equipoise.load("{name}")
        images = generator(latents, masked=images, mask=mask)  # mask is 1 where to fill in
    """
    mixin = f"""\
        from equipoise.exporting.hub import HubGenerator  # pip install 'equipoise[hub]'

        generator = HubGenerator.from_pretrained("{name}")
    """
    return (
        f"```python\n{textwrap.dedent(code)}```\n\nor through huggingface_hub's mixin:\n\n"
        f"```python\n{textwrap.dedent(mixin)}```\n\nIt is a `torch.nn.Module`: latents (N, {config.spec.latent}) to "
        f"images (N, {', '.join(map(str, config.shape))}), nominally in [-1, 1]."
    )


def _limits(trained: Trained, scores: Scores | None) -> Iterator[str]:
    """What to expect of it and what not, from what the run itself has noticed."""
    _, height, width = trained.config.shape
    yield f"Images of {width}x{height} pixels, and of nothing but what is in its data."
    yield "A GAN leaves out part of the variety of its data; biases in the data are biases of the samples."
    if scores is None or "memorisation" not in scores.figures:
        yield (
            "Whether samples repeat training images was not measured: "
            "`equipoise evaluate RUN --metrics memorisation` does."
        )
    last: dict[str, str] = {}  # of each kind of symptom, the last that was said
    for row in trained.run.rows("events.jsonl"):
        if row.get("level") in {"warning", "info"} and isinstance(row.get("kind"), str):
            last[row["kind"]] = row["message"] if row["level"] == "warning" else ""
    for message in [message for message in last.values() if message][:MOST_WARNINGS]:
        yield f"At the end of training there was a warning: {message}."
