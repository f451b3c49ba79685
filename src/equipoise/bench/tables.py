"""The figures of `measure` and `measure_overheads` as Markdown tables, which a terminal shows as readably."""

from collections.abc import Sequence
from typing import Any


def results_table(rows: Sequence[dict[str, Any]]) -> str:
    """Table of configurations, a row each, in columns of equal width.

    Args:
        rows: figures as from `measure`; what was not measured is shown as "-".
    """
    head = [
        *("objective", "side", "width", "batch", "precision", "images/s"),
        *("× textbook", "× under autocast", "× compiled", "× less work"),
        *("GFLOP/s", "of peak", "memory", "of textbook's", "core-s/1,000", "forward / backward / optimiser / data"),
    ]
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )


def _cells(row: dict[str, Any]) -> list[str]:
    def ratio(prefix: str) -> str:
        if f"{prefix}ratio" not in row:
            return "-"
        low, high = row[f"{prefix}ratio_range"]
        return f"{row[f'{prefix}ratio']:.2f} ({low:.2f}-{high:.2f})"

    time = row.get("time")
    return [
        row["objective"],
        *(str(row[name]) for name in ("resolution", "width", "batch", "precision")),
        f"{row['images_per_second']:.1f}",
        ratio(""),
        ratio("autocast_"),
        f"{row['compiled_gain']:.2f}" if "compiled_gain" in row else "-",
        f"{row['textbook_gflop_per_image'] / row['gflop_per_image']:.2f}" if "ratio" in row else "-",
        f"{row['gflop_per_second']:.0f}",
        f"{row['share_of_peak']:.0%}",
        f"{row['memory_mib']:.0f} MiB",
        f"{row['memory_ratio']:.2f}" if "memory_ratio" in row else "-",
        f"{1000 * row['core_seconds_per_image']:.1f}" if "core_seconds_per_image" in row else "-",
        " / ".join(f"{time[name]:.0%}" for name in ("forward", "backward", "optimiser", "data")) if time else "-",
    ]


def operators_table(row: dict[str, Any]) -> str:
    """Table of the operators that take the most of a step's time."""
    shares = [f"| {name} | {share:.0%} |" for name, share in row["operators"].items()]
    return "\n".join(["| operator | of the step |", "|---|---|", *shares])


def peaks_table(rows: Sequence[dict[str, Any]]) -> str:
    """Table of the machine's peaks in each precision that the rows have."""
    peaks = {row["precision"]: [row["product_peak"], *row["convolution_passes"].values()] for row in rows}
    lines = [
        ["GFLOP/s at best", "product", "convolution", "its gradient by images", "by weights"],
        ["---"] * 5,
        *([precision, *(f"{peak:,.0f}" for peak in values)] for precision, values in peaks.items()),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def overheads_table(figures: dict[str, float]) -> str:
    """Table of what surrounds the steps."""
    rows = {
        "`equipoise --help`": f"{figures['help_seconds']:.2f} s",
        "start to the end of the first step": f"{figures['first_step_seconds']:.1f} s, of which importing torch "
        f"and its Adam {figures['torch_seconds']:.1f} s",
        "images read": f"{figures['read_images_per_second']:,.0f} a second",
        "images ready for a step": f"{figures['dealt_images_per_second']:,.0f} a second, or "
        f"{figures['data_share']:.2%} of training",
        "samples drawn": f"{figures['samples_per_second']:,.0f} a second",
        "training stands still for a checkpoint": f"{1000 * figures['checkpoint_stall_seconds']:.0f} ms, "
        f"which is on the disk after {1000 * figures['checkpoint_seconds']:.0f} ms",
        "lines of metrics": f"{figures['log_share']:.2%} of training",
        "grids of samples and their diversity": f"{figures['sample_share']:.2%} of training",
        "reports": f"{figures['report_share']:.0%} of training at most",
    }
    return "\n".join(["| around the steps | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())])
