"""Publish a study in docs/results: the report as it is, its figures, and a picture of the first run of each objective.

    equipoise study examples/family-digits.yaml --out studies/family-digits
    python -m benchmarks.publish studies/family-digits --objectives

Without `--objectives` the pages of the objectives keep their pictures.
"""

import argparse
from pathlib import Path

from PIL import Image

from equipoise import Run
from equipoise.sampling.sample import sample
from equipoise.studies.pages import FIGURES
from equipoise.studies.report import CSV, MARKDOWN, open_results, write_report
from equipoise.views.figures import grid
from equipoise.views.report import draw_curves

HEIGHT = 900  # of an objective's picture, in pixels


def publish(study: Path, out: Path) -> None:
    """The study's report as `out`/NAME.md, with all else that it has in `out`/NAME/."""
    write_report(study)
    folder = out / study.name
    folder.mkdir(parents=True, exist_ok=True)
    for figure in (study / FIGURES).iterdir():
        (folder / figure.name).write_bytes(figure.read_bytes())
    table, text = ((study / name).read_text(encoding="utf-8") for name in (CSV, MARKDOWN))
    for place in (study.resolve(), study):  # where it happened to lie
        table, text = (each.replace(f"{place}/trials/", f"studies/{study.name}/trials/") for each in (table, text))
    (folder / CSV).write_text(table, encoding="utf-8")
    text = text.replace(f"]({FIGURES}/", f"]({study.name}/")
    text += f"\nEvery trial in a row: [{CSV}]({study.name}/{CSV}).\n"
    (out / f"{study.name}.md").write_text(text, encoding="utf-8")


def picture(run: Run, out: Path) -> None:
    """64 samples beside the run's curves."""
    parts = [grid(sample(run, 64), columns=8), Image.open(draw_curves(run.path))]
    parts = [part.convert("RGB").resize((round(part.width * HEIGHT / part.height), HEIGHT)) for part in parts]
    sheet = Image.new("RGB", (sum(part.width for part in parts) + 24, HEIGHT), "white")
    sheet.paste(parts[0], (0, 0))
    sheet.paste(parts[1], (parts[0].width + 24, 0))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(128).save(out, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="its folder")
    parser.add_argument("--objectives", action="store_true", help="the pictures of the objectives' pages too")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "results")
    options = parser.parse_args()
    publish(options.study, options.out)
    if options.objectives:
        results, _ = open_results(options.study)
        for arm in results.arms:
            trial, _ = next(iter(results.of(arm, results.plan.data[0])))
            picture(Run.open(options.study / trial.name), options.out / "objectives" / f"{arm}.png")


if __name__ == "__main__":
    main()
