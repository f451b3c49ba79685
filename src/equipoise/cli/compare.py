"""The command `equipoise compare`: scores side by side."""

from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.evaluation.scores import Scores
from equipoise.evaluation.scores import compare as side_by_side


def main(words: list[str]) -> int:
    """Run `equipoise compare` with the arguments `words`; returns the exit code."""

    def compare(files: Positional[tuple[Path, ...]]) -> int:
        """Scores side by side, the better ones marked; refused where their protocols differ.

        Example: equipoise compare a.json b.json

        Args:
            files: Files that `equipoise evaluate --json` wrote.
        """
        alike = len({file.name for file in files}) < len(files)
        print(side_by_side([(str(file) if alike else file.name, Scores.read(file)) for file in files]))
        return 0

    return parse_and_call(compare, words, "compare")
