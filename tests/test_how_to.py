"""The page that shows how an objective is added: its code is run as it stands."""

import re
from pathlib import Path

import pytest
import torch

import equipoise
from equipoise.objectives import OBJECTIVES
from equipoise.runs.run import Run

PAGE = Path(__file__).parents[1] / "docs/objectives/new-objective.md"


def test_the_pages_code_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known = dict(OBJECTIVES)
    try:
        names: dict[str, object] = {"__name__": "page"}
        code = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
        assert len(code) == 3
        for block in code:
            exec(block, names)
        run = names["run"]
        assert isinstance(run, Run)
        assert run.config.objective_name == "hinge"
        assert run.config.update == "alternating"
        assert run.rows()[-1]["images"] == 320
        assert {"score_real", "score_fake"} <= {key for row in run.rows() for key in row}
        assert equipoise.Run.open(run.path).config == run.config  # and can be found again under its name
    finally:
        OBJECTIVES.clear()
        OBJECTIVES.update(known)


def test_it_takes_a_dozen_lines() -> None:
    first = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)[0]
    body = first[first.index("class ") :]
    assert len([line for line in body.splitlines() if line.strip()]) <= 12


def test_the_hinge_by_hand() -> None:
    names: dict[str, object] = {"__name__": "page"}
    exec(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)[0], names)
    from equipoise.objectives import Batch
    from equipoise.players import DiscriminatorOutput, GeneratorOutput
    from equipoise.randomness import Draws

    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 1.0])
    images = torch.zeros(3, 1, 1, 1)
    said = DiscriminatorOutput(real), DiscriminatorOutput(fake)
    batch = Batch(
        images, torch.zeros(3, 1), GeneratorOutput(images), *said, torch.nn.Identity(), Draws(0, 0, 3, slice(3))
    )
    hinge = names["Hinge"]()  # type: ignore[operator]
    assert hinge.discriminator_loss(batch, {}).value.item() == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 1 + 2) / 3)
    assert hinge.generator_loss(batch, {}).value.item() == pytest.approx(2 / 3)
