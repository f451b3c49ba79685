"""equipoise suggest: the settings that fit images and this machine, as a command to run."""

import sys
from dataclasses import asdict
from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import given_flags, parse_and_call, plain_dataclass, pop_flag
from equipoise.cli.train import check_objective, with_network
from equipoise.config.numbers import Minutes
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.runs.files import check_place, to_json, write_where_asked
from equipoise.sampling.pictures import check_spared
from equipoise.suggestion.suggest import fill_in, require_images
from equipoise.views.streams import LossyStream
from equipoise.views.terminal import progress_bar


def main(words: list[str]) -> int:
    """Parse the words after `equipoise suggest`, look at the data, and print; returns the exit code.

    --objective and --network are read first: they decide which settings there are, and their defaults.
    """
    objective = pop_flag(words, "--objective") or "began"
    check_objective(objective)
    given, base = given_flags(words), with_network(PRESETS[objective]["default"], words)
    defaults = plain_dataclass(base, without={"data"})

    def suggest(
        data: Positional[str],
        settings: type(defaults) = defaults,  # type: ignore[valid-type]  # each field is a flag
        minutes: Minutes | None = None,
        json: Path | None = None,
    ) -> int:
        """Settings that fit images and this machine, each with its reason, and the command that trains with them.

        It looks at some of the images and times a few steps. Nothing is trained. `equipoise train` chooses the same by
        itself. The reasons go to stderr, the command alone to stdout.

        --objective NAME (began) and --network NAME say what to train; what else is given stays.

        Example: equipoise suggest photos/ --minutes 30

        Example: equipoise suggest photos.zip --resolution 64 --json suggestion.json

        Args:
            data: Images, as for `equipoise train --data`.
            settings: Settings of the run that are not to be chosen.
            minutes: Minutes that training may take; by default as long as the images are good for.
            json: File to write choices, reasons and the whole configuration to.
        """
        require_images(data)
        check_place(json)
        if json is not None:
            check_spared(json, [data])
        values = asdict(settings) | {"data": data}
        values["objective"]["name"], values["network"]["name"] = base.objective_name, base.network_name
        with progress_bar(f"looking at {data}") as progress:
            suggestion = fill_in(TrainConfig.from_dict(values), given, minutes, progress)
        print(suggestion, file=LossyStream(sys.stderr), flush=True)
        print(suggestion.command)
        if json is not None:
            write_where_asked(json, to_json(suggestion.to_dict(), indent=1) + "\n")
        return 0

    return parse_and_call(suggest, words, "suggest")
