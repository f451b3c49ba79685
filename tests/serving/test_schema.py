"""The API against its own description, with values that nobody would think of (schemathesis)."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation.case import Case

from equipoise.serving.settings import Limits
from serving.conftest import Client, serving

EXAMPLES = 6  # of each operation
STREAMS = r"/(events|live)$"  # which have no end
SETTINGS = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
METHODS = {405}  # of addresses that schemathesis fills in with nothing


@pytest.fixture(scope="module")
def strange(trained: Path) -> Iterator[Client]:
    limits = Limits(burst=1e6, requests_per_second=1e6, toys=4, toy_idle_seconds=0.2, answer_seconds=20)
    with serving(trained, limits) as client:
        yield client


def test_no_request_makes_the_server_fail(strange: Client) -> None:
    schema = schemathesis.openapi.from_url(strange.url("/openapi.json"))
    operations = [found.ok() for found in schema.get_all_operations()]
    tried = [operation for operation in operations if not re.search(STREAMS, operation.path)]
    assert len(tried) > 15
    found = Counter[int]()
    for operation in tried:
        check(strange, operation, found)
    assert found.keys() >= {200, 400, 404, 422}


def check(client: Client, operation: schemathesis.BaseSchema, found: Counter[int]) -> None:
    """Send an operation's examples, and look at every answer."""
    known = [client.id("nested/gan"), client.id("began")]
    documented = {int(code) for code in operation.definition.raw["responses"]} | METHODS

    @settings(SETTINGS)
    @given(case=operation.as_strategy())
    def answered(case: Case) -> None:
        for name in ("run_id", "other"):  # else none would ever be found
            if name in (case.path_parameters or {}):
                case.path_parameters[name] = known[len(str(case.body)) % 2]
        response = case.call()
        said = case.as_curl_command(), response.status_code, response.content[:500]
        assert response.status_code < 500 or response.status_code == 503, said
        assert response.status_code in documented, said
        if response.status_code >= 400:
            assert set(response.json()) == {"error"}, said
        found[response.status_code] += 1

    answered()


JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"[" * 100_000, JSON, "parsing the body"),
        (b'{"count":' * 50_000, JSON, "parsing the body"),
        (b"\xff\xfe", JSON, "JSON"),
        (b"{", JSON, "JSON"),
        (b"", JSON, "the body is empty"),
        (b"null", JSON, "no JSON object"),
        (b"[]", JSON, "no JSON object"),
        (b'{"count": NaN}', JSON, "count: .*finite"),
        (b'{"count": 1e999}', JSON, "count: .*finite"),
        (b'{"count": ' + b"9" * 5000 + b"}", JSON, "body|JSON|count"),
        (b'{"count": 1, "labels": -1}', JSON, "^labels: .*greater than or equal to 0"),
        (b'{"count": 1, "latents": [[1e308]]}', JSON, "latents.0.0: .*less than"),
        (b'{"count": 1}', "text/plain", "Content-Type: application/json"),
        (b"count=1", "application/x-www-form-urlencoded", "Content-Type: application/json"),
        (b"{}" + b" " * 600_000, JSON, "more than 524,288 bytes"),
    ],
)
def test_a_body_that_is_no_request_is_refused_in_a_sentence(strange: Client, body: bytes, kind: str, said: str) -> None:
    path = f"runs/{strange.id('began')}/generate"
    answer = strange.request("POST", path, data=body, headers={"Content-Type": kind})
    assert answer.status_code in {400, 413, 415, 422}
    message = answer.json()["error"]
    assert re.search(said, message), message
    assert "Value error" not in message
    assert len(message) < 300
    assert strange.get("/healthz").status_code == 200
