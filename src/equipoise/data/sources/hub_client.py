"""Calls of the Hugging Face Hub: repeated where it is busy, and explained in one sentence where they fail."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TypeVar

from equipoise.errors import UsageError

WAITS = (1.0, 2.0, 4.0)  # seconds before each repetition
ANSWER_TIME = 60.0  # seconds in which a short answer, such as a list of files, must be there
LEAST_RATE = 20_000.0  # bytes a second that a download must have on average, ANSWER_TIME aside
BUSY = (408, 429, 500, 502, 503, 504)  # statuses of a server that may do better soon
CLIENTS = ("httpx", "httpx2", "httpcore", "requests", "urllib3")  # used by one or another version of huggingface_hub
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"

Answer = TypeVar("Answer")


class MissingRevisionError(UsageError):
    """It exists, but not in this revision."""


class OutOfReachError(UsageError):
    """The hub does not answer, or HF_HUB_OFFLINE forbids to call it."""


def call_hub(
    request: Callable[[], Answer], name: str, kind: str = "data set", *, seconds: float | None = None
) -> Answer:
    """Result of `request`, a call of huggingface_hub, which is repeated while the hub is out of reach.

    Args:
        request: the call.
        name: of what it is about, for messages.
        kind: of what it is about.
        seconds: in which each try must end, for calls with short answers.

    Raises:
        MissingRevisionError, OutOfReachError: as they say.
        UsageError: anything else that goes wrong, in words about the data set, or other `kind`, called `name`.
    """
    for wait in (*WAITS, None):
        try:
            return request() if seconds is None else _within(seconds, request)
        except Exception as error:  # each version of huggingface_hub lets others through
            explained = _explain(error, name, kind)
            if explained is None:
                raise
            if wait is None or not isinstance(explained, OutOfReachError) or _is_offline(error):
                raise explained from error
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def download(
    repository: str, file: str, name: str, kind: str = "data set", *, revision: str | None, repo_type: str | None = None
) -> Path:
    """A file of the hub in the cache of huggingface_hub, downloaded unless it is there already.

    Args:
        repository: where it lies.
        file: its path there.
        name: of the whole, for messages.
        kind: of the whole.
        revision: branch, tag or commit.
        repo_type: `dataset`, or None for a model.

    Raises:
        UsageError: as `call_hub`; or the hub sends less than LEAST_RATE.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    def fetch() -> str:
        return hf_hub_download(repository, file, repo_type=repo_type, revision=revision)

    def fetch_in_time() -> str:
        size = 0
        if not (revision and isinstance(try_to_load_from_cache(repository, file, None, revision, repo_type), str)):
            url = hf_hub_url(repository, file, repo_type=repo_type, revision=revision)
            with suppress(Exception):  # which the download meets again, and is then explained
                size = _within(ANSWER_TIME, lambda: get_hf_file_metadata(url, timeout=ANSWER_TIME)).size or 0
        seconds = ANSWER_TIME + size / LEAST_RATE
        try:
            return _within(seconds, fetch)
        except UnansweredError as error:  # not repeated: what was begun still holds the file's lock
            raise UsageError(
                f"the hub sends {file} of {name} too slowly, {size / 1e6:.1f} MB not in {seconds:.0f} seconds: "
                "try again later, when what has come is kept, or `hf download` it by hand"
            ) from error

    return Path(call_hub(fetch_in_time, name, kind))


class UnansweredError(TimeoutError):
    """No whole answer in time."""


def _within(seconds: float, request: Callable[[], Answer]) -> Answer:
    """Result of `request`, or TimeoutError: clients time each byte alone, and a server may send one now and then."""
    answer: Future[Answer] = Future()

    def work() -> None:
        try:
            answer.set_result(request())
        except BaseException as error:  # of whoever waits
            answer.set_exception(error)

    Thread(target=work, daemon=True).start()  # as a daemon, which an exit does not wait for
    try:
        return answer.result(seconds)
    except TimeoutError as error:
        raise error if answer.done() else UnansweredError(f"no whole answer in {seconds:g} seconds") from None


def _explain(error: Exception, name: str, kind: str) -> UsageError | None:
    """The error in one sentence, or None if this is no fault of the hub or the network."""
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return UsageError(f"{name} is gated: accept its conditions on its page on the hub, then {LOG_IN}")
        case errors.RevisionNotFoundError():
            where = "`revision`" if kind == "model" else "what stands behind the @"
            return MissingRevisionError(f"{name} does not exist in that revision: check {where}")
        case errors.RepositoryNotFoundError():
            return UsageError(f"there is no {kind} {name} on the hub, or it is private: check its name, or {LOG_IN}")
        case errors.HfHubHTTPError() if error.response.status_code in (401, 403):
            what = "read or write" if kind == "model" else "read"
            return UsageError(f"the hub does not let you {what} {name}: {LOG_IN}")
        case errors.HfHubHTTPError() if error.response.status_code not in BUSY:
            return UsageError(f"the hub refuses {name} ({str(error).splitlines()[0]}): check its name")
        case errors.HFValidationError():
            return UsageError(f"{name} is no name of a {kind} on the hub: {str(error).splitlines()[0]}")
    if _is_offline(error):
        return OutOfReachError(f"{name} was not downloaded before, and HF_HUB_OFFLINE forbids it now: unset it")
    if isinstance(error, errors.HfHubHTTPError | errors.LocalEntryNotFoundError | TimeoutError) or _of_client(error):
        return OutOfReachError(f"cannot reach the hub for {name} ({_cause(error)}): check the network and try again")
    if isinstance(error, OSError):
        what = f"{error.filename or 'a file'}: {error.strerror or error}"
        return UsageError(f"cannot download {name} ({what}): make room there, or set HF_HOME to another folder")
    return None


def _is_offline(error: BaseException | None) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return error is not None and (isinstance(error, OfflineModeIsEnabled) or _is_offline(error.__cause__))


def _of_client(error: Exception) -> bool:
    return any(kind.__module__.split(".")[0] in CLIENTS for kind in type(error).__mro__)


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error) or type(error).__name__).splitlines()[0]
