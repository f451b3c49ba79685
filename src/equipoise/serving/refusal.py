"""What is not answered: a status and one sentence."""

import math

from starlette.responses import JSONResponse


class Refusal(Exception):  # noqa: N818
    """A request that is refused.

    Attributes:
        status: of HTTP.
        message: one sentence that says what to do.
        retry_after: seconds after which to try again, or None where that would not help.
        facts: that programs need beside the sentence.
    """

    def __init__(self, status: int, message: str, retry_after: float | None = None, **facts: int) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after, self.facts = status, message, retry_after, facts

    def response(self) -> JSONResponse:
        """The refusal as an answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"  # which RFC 9110 asks for
        return JSONResponse({"error": self.message, **self.facts}, self.status, headers)


def busy(what: str, retry_after: float) -> Refusal:
    """The refusal of what would not be answered in time."""
    return Refusal(503, f"{what}: try again in a moment", retry_after)
