"""The Hugging Face Hub: a generator behind huggingface_hub's mixin, and a folder pushed there."""

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import CommitOperationAdd, HfApi, PyTorchModelHubMixin, get_token, hf_hub_download, hf_hub_url
from huggingface_hub import errors as hub_errors

from equipoise.data.sources.hub_client import ANSWER_TIME, LOG_IN, call_hub
from equipoise.errors import UsageError, quoted, reason
from equipoise.exporting.pretrained import WEIGHTS, GeneratorConfig, PretrainedGenerator, filled

CARD = """\
---
{{ card_data }}
---

# An image generator of equipoise

```python
import equipoise  # pip install equipoise

generator = equipoise.load("path or name on the hub")
images = generator.sample(16, seed=0)
```

`config.json` says what it was trained on, and by what. Its scores and licence are on the card that
`equipoise export RUN --format hub` writes.
"""


class HubGenerator(
    PretrainedGenerator,
    PyTorchModelHubMixin,
    library_name="equipoise",
    pipeline_tag="unconditional-image-generation",
    tags=["gan", "image-generation"],
    model_card_template=CARD,
):
    """A `PretrainedGenerator` with `from_pretrained`, `save_pretrained` and `push_to_hub`.

    Args:
        settings: what config.json holds.

    Raises:
        UsageError: `settings` describe no generator of this version.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(GeneratorConfig.parse(settings, "config.json"))

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str | torch.device = "cpu",
        **settings: Any,
    ) -> "HubGenerator":
        """Ours instead of the mixin's: sizes in a file take no memory until its weights are seen to have them."""
        path = Path(model_id, WEIGHTS)
        if not path.parent.is_dir():
            path = Path(
                hf_hub_download(
                    model_id,
                    WEIGHTS,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
        with torch.device("meta"):
            generator = cls(**settings)
        return filled(generator, path).to(map_location)


def check_push(name: str, token: str | None = None) -> None:
    """Refuse a push that the hub cannot take, before there is anything to push.

    Args:
        name: on the hub, such as me/faces.
        token: as that of `push`.

    Raises:
        UsageError: no model there can have that name, or there is no token.
    """
    try:
        hf_hub_url(name, WEIGHTS)  # which checks the name
    except hub_errors.HFValidationError as error:
        why = reason(error).partition(":")[0].rstrip(".")
        raise UsageError(
            f"--push {quoted(name)} cannot be a name on the hub ({why}): give one such as me/faces"
        ) from error
    if "/" not in name:
        raise UsageError(f"--push {quoted(name)} lacks its owner: give a name such as me/{name}")
    if not (token or get_token()):
        raise UsageError(f"--push needs your token of the hub: {LOG_IN}")


def push(folder: Path, name: str, *, token: str | None = None, private: bool = False) -> str:
    """Push an exported folder to the hub, as one commit; returns its address.

    Args:
        folder: made by `export(..., format="hub")`.
        name: on the hub, such as me/faces; made if it is not there.
        token: by default the one that `hf auth login` has kept, or HF_TOKEN.
        private: of a new one, whether only you see it.

    Raises:
        UsageError: as `check_push`; or the hub refuses, or does not answer.
    """
    check_push(name, token)
    api = HfApi(token=token)
    files = [CommitOperationAdd(path.name, path) for path in sorted(folder.iterdir())]
    try:
        call_hub(lambda: api.create_repo(name, private=private, exist_ok=True), name, "model", seconds=ANSWER_TIME)
        done = call_hub(lambda: api.create_commit(name, files, commit_message="Export from equipoise"), name, "model")
    except (RuntimeError, ValueError) as error:  # of its uploads, and of its own checks
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"cannot push {folder} to {name} ({reason(error)}); the folder is whole, so try `hf upload {name} {folder}`"
        ) from error
    return str(done.commit_url)
