"""equipoise outliers: the odd ones among many pictures."""

from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import Count, CountOrZero
from equipoise.devices import Device
from equipoise.runs.files import check_picture, check_place
from equipoise.runs.run import Run
from equipoise.sampling.outliers import outliers as compute
from equipoise.sampling.pictures import check_spared
from equipoise.sampling.save_latents import outlier_lines, save_outlier_sheet, save_outlier_table
from equipoise.views.terminal import progress_bar


def main(words: list[str]) -> int:
    """Parse the words after `equipoise outliers`, compute and save; returns the exit code."""
    return parse_and_call(outliers, words, "outliers")


def outliers(
    run: Positional[Path],
    data: str | None = None,
    shown: Count = 24,
    csv: Path = Path("outliers.csv"),
    sheet: Path = Path("outliers.png"),
    best: bool = False,
    at: CountOrZero | None = None,
    device: Device = "auto",
    quiet: bool = False,
) -> int:
    """Pictures ranked by how odd they are to a run's discriminator, beside the images that it was trained on.

    Example: equipoise outliers runs/photos

    Example: equipoise outliers runs/photos --data new/ --csv new.csv --sheet new.png

    Args:
        run: Folder of the run.
        data: Folder, zip or other data to rank; by default the run's own.
        shown: Number of the oddest, and of the most typical, on the sheet.
        csv: File for the table: every picture's oddness, energy, energy relative to its contrast, and copies.
        sheet: File (.png, .jpg) for the sheet of the oddest and the most typical, with their names.
        best: Use the checkpoint with the best KID (train with --score-every), not the last.
        at: Use the checkpoint after so many images.
        device: Device to compute on.
        quiet: Show no progress.
    """
    check_picture(sheet)
    check_place(csv, sheet)
    for place in (csv, sheet):
        check_spared(place, [run, *([] if data is None else [data])])
    with progress_bar("looking", quiet=quiet) as progress:
        result = compute(
            Run.open(run),
            None if data is None else [data],
            shown=shown,
            best=best,
            at=at,
            device=device,
            progress=progress,
        )
    save_outlier_table(result, csv)
    save_outlier_sheet(result, sheet)
    print("\n".join(outlier_lines(result)))
    print(f"table: {csv}\nsheet: {sheet}")
    return 0
