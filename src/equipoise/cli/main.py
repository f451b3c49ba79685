"""The entry point `equipoise`: the table of commands, the general help, and the exit codes.

A command NAME is the file cli/NAME.py with a function `main(words) -> int`, and an entry in COMMANDS. This module
imports neither torch nor tyro, so that `equipoise --help` answers at once; a command's file is imported when called.
"""

import errno
import sys
from collections.abc import Sequence
from importlib import import_module

from equipoise.errors import Diverged, Interrupted, UsageError, did_you_mean, quoted, reason
from equipoise.views.characters import write_anything
from equipoise.views.streams import LossyStream, flush_standard_streams, open_standard_streams, quiet_libraries

COMMANDS = {
    "train OBJECTIVE": "train a generator on your images; `equipoise train` lists the objectives",
    "suggest PATH": "choose settings for your images and this machine, and print the command",
    "resume RUN": "continue a run from its last checkpoint",
    "runs DIR": "list runs and how they are; what is different between two; what may be deleted",
    "sample RUN": "generate images from a run",
    "interpolate RUN A B ...": "go from picture to picture through the latents, as strip or film",
    "invert RUN IMAGE ...": "find the latents of pictures",
    "reconstruct RUN IMAGE ...": "show what the discriminator's autoencoder makes of pictures",
    "outliers RUN": "rank pictures by how odd they are, the run's own or others",
    "inpaint RUN IMAGE": "fill in the masked part of an image",
    "export RUN": "export a generator: safetensors, ONNX, Hugging Face Hub, or a page in the browser",
    "import WEIGHTS": "make a run of a generator's weights from elsewhere",
    "evaluate RUN": "score a run's samples, or any images, against real images",
    "compare A B ...": "show scores side by side, if their protocols agree",
    "study STUDY": "compare objectives or settings over seeds on equal budgets; search over settings",
    "serve [RUN ...]": "watch runs live and explore them in the browser; an API for programs",
    "bench": "measure training speed on this machine",
    "data inspect PATH": "check a data set before training on it",
    "data pack PATH": "pack a data set by hand",
}
"""Usage and help of each command, in the order of the general help; the first word is the command's name."""

READER_LEFT = 141  # what the shell reports for SIGPIPE

HELP = """\
usage: equipoise COMMAND ...

GANs kept in balance: train, watch, resume, sample, score.

commands:
{commands}

examples:
  equipoise train began --data digits --images 200k
  equipoise train began --data photos/ --out runs/photos
  equipoise suggest photos/ --minutes 30
  equipoise train --config runs/photos/config.yaml --seed 1
  equipoise resume runs/photos
  equipoise sample runs/photos --count 64 --out grid.png
  equipoise interpolate runs/photos a.png b.png --out film.webp
  equipoise export runs/photos --format web --out page
  equipoise evaluate runs/photos --json scores.json
  equipoise evaluate --images made/ --reference photos/ --metrics kid,fid

`equipoise COMMAND --help` explains a command; `equipoise --version` prints the version.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: words after `equipoise`; by default those of the process.

    Returns:
        The exit code: 0 success, 1 training diverged, 2 usage error, 128 + N stopped by signal N.
    """
    open_standard_streams()
    write_anything()
    command, *words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with quiet_libraries():
            code = _run(command, words)
    finally:  # also where tyro exits by itself
        failed = flush_standard_streams()
    if failed is None or code:
        return code
    return READER_LEFT if isinstance(failed, BrokenPipeError) else _fail(_refusal(failed), 2)


def _run(command: str, words: list[str]) -> int:
    """Run a command, and tell in one sentence what stopped it."""
    try:
        return _call(command, words)
    except UsageError as error:
        return _fail(str(error), 2)
    except Diverged as error:
        return _fail(str(error), 1)
    except Interrupted as error:
        return _fail(str(error), 128 + error.signal)
    except BrokenPipeError:  # as `| head` does
        return READER_LEFT
    except (MemoryError, RuntimeError) as error:
        if not import_module("equipoise.devices").is_out_of_memory(error):
            raise
        return _fail(
            "there is too little memory: make room, or ask for fewer images at once, or for smaller ones",
            2,
        )
    except OSError as error:  # in printing too, where nothing is kept in memory
        return _fail(_refusal(error), 2)
    except KeyboardInterrupt:
        return _fail("stopped at once; what was saved before is intact", 130)


def _call(command: str, words: list[str]) -> int:
    names = list(dict.fromkeys(usage.split()[0] for usage in COMMANDS))
    if command in {"-h", "--help"}:
        width = max(map(len, COMMANDS))
        print(HELP.format(commands="\n".join(f"  {usage:{width}} {text}" for usage, text in COMMANDS.items())), end="")
        return 0
    if command == "--version":
        from importlib.metadata import version

        print(f"equipoise {version('equipoise')}")
        return 0
    if command not in names:
        near = did_you_mean(command, names)
        raise UsageError(f"unknown command {quoted(command)}{near}: use one of {', '.join(names)}")
    for word in words:  # none of which may hold what no file can be called
        import_module("equipoise.reading").check_name(word)
    return int(import_module(f"equipoise.cli.{command}").main(words))


def _refusal(error: OSError) -> str:
    where = "" if error.filename is None else f" {quoted(str(error.filename))}"
    remedy = "; make room there, or send what is printed elsewhere" if error.errno == errno.ENOSPC else ""
    return f"the system refuses{where}: {reason(error)}{remedy}"


def _fail(message: str, code: int) -> int:
    print(f"equipoise: {message}", file=LossyStream(sys.stderr), flush=True)
    return code
