"""Who is let in, by which name, from which site; and that nobody leads the server out of its runs."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from starlette.datastructures import Headers

from equipoise.serving.app import KNOWN
from equipoise.serving.guard import HEADERS, Bucket, cookie_name, cookie_value, same
from equipoise.serving.settings import Limits
from serving.conftest import Client, serving

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def locked(trained: Path) -> Iterator[Client]:
    """A server that wants a token."""
    limits = Limits(burst=10_000, requests_per_second=10_000, logins_per_minute=4, answer_seconds=20)
    with serving(trained, limits, token=TOKEN, names=("gan.example.org",)) as client:
        yield client


def test_every_answer_carries_the_headers(served: Client) -> None:
    for path in ("/", "runs", "nothing", "/healthz", "/metrics"):
        headers = served.get(path).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "server" not in headers
    assert served.get("runs").headers["Cache-Control"] == "no-store"


def test_heads_are_those_of_the_answers(served: Client) -> None:
    for path in ("/healthz", "/", "runs", f"runs/{served.id('began')}", "nothing", "live"):
        head = served.request("HEAD", path)
        assert head.content == b""
        if path != "live":  # which never ends
            whole = served.get(path)
            assert (head.status_code, len(whole.content)) == (whole.status_code, int(head.headers["Content-Length"]))


@pytest.mark.parametrize("path", ["runs", "live", "toys", "nothing", "/metrics", "/openapi.json"])
def test_nothing_without_the_token(locked: Client, path: str) -> None:
    cookie = cookie_name(Headers({"host": f"127.0.0.1:{locked.port}"}))
    wrong = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer \xff".encode("latin-1").decode("latin-1")},
        {"Cookie": f"{cookie}={TOKEN}"},
        {"Cookie": f"{cookie}="},
        {"Cookie": ";;;=;" * 50},
    ]
    for headers in wrong:
        answer = locked.get(path, headers=headers)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), headers
        assert "token" in answer.json()["error"]
    assert locked.get(f"{path}?token={TOKEN}").status_code == 401  # never in an address


def test_the_token_opens_and_so_does_the_cookie_of_a_login(locked: Client) -> None:
    assert locked.get("runs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert locked.get("session").json() == {"token_required": True, "logged_in": False}
    assert locked.get("/healthz").status_code == 200
    with requests.Session() as browser:
        answer = browser.post(locked.url("login"), json={"token": TOKEN}, timeout=10)
        assert answer.json() == {"token_required": True, "logged_in": True}
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert browser.get(locked.url("runs"), timeout=10).status_code == 200
        assert browser.get(locked.url("session"), timeout=10).json()["logged_in"]
    name = cookie.partition("=")[0]
    assert locked.get("runs", headers={"Cookie": f"{name}={cookie_value(TOKEN + 'x')}"}).status_code == 401


@pytest.mark.parametrize("other", ['x={"k":1}', "x=a b", "na@me=1", "flag", "\xe9=1", "equipoise-1=of another port"])
def test_cookies_of_other_programs_on_this_host_end_no_login(locked: Client, other: str) -> None:
    own = f"equipoise-{locked.port}={cookie_value(TOKEN)}"
    for cookies in (f"{other}; {own}", f"{own};{other}"):
        assert locked.get("runs", headers={"Cookie": cookies}).status_code == 200


def test_logins_that_fail_are_counted(locked: Client) -> None:
    answers = [locked.post("login", {"token": f"guess {number}"}) for number in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 4 + [429] * 2
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert locked.post("login", {"token": TOKEN}).status_code == 200  # who knows it is let in


def test_no_token_no_login(served: Client) -> None:
    assert served.get("session").json() == {"token_required": False, "logged_in": True}
    assert served.post("login", {"token": "x"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:9000", 200),  # a tunnel has another port
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8000", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ],
)
def test_a_foreign_name_is_refused(served: Client, host: str, status: int) -> None:
    assert served.get("runs", headers={"Host": host}).status_code == status
    assert served.get("/", headers={"Host": host}).status_code in ((200, 404) if status == 200 else (403,))


def test_a_server_for_others_has_more_names(locked: Client) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for host, status in (
        ("gan.example.org:8000", 200),
        (socket.gethostname(), 200),
        ("192.168.0.7:8000", 200),
        ("evil.example", 403),
    ):
        assert locked.get("runs", headers={"Host": host, **bearer}).status_code == status, host


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost:80"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),  # a link from elsewhere
    ],
)
def test_requests_of_other_sites_are_refused(served: Client, headers: dict[str, str], status: int) -> None:
    assert served.get("runs", headers={"Host": "localhost:80", **headers}).status_code == status


def test_a_form_of_another_site_changes_nothing(served: Client) -> None:
    headers = {"Host": "localhost:80", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert served.post("toys", {}, headers=headers).status_code == 403
    plain = served.request("POST", "toys", data='{"objective": "gan"}', headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415


SECRET = "nobody may read this"
OUTSIDE = (
    "../secret.txt",
    "..%2fsecret.txt",
    "%2e%2e/secret.txt",
    "....//secret.txt",
    "..\\secret.txt",
    "..%5csecret.txt",
)
OUTSIDE += (
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "/etc/passwd",
    "..%00/secret.txt",
    "%c0%ae%c0%ae/secret.txt",
    "~/secret.txt",
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_parameter_leads_out_of_the_runs(served: Client, trained: Path, path: str) -> None:
    (trained.parent / "secret.txt").write_text(SECRET)
    run = served.id("began")
    targets = [f"/{path}", f"/api/v1/runs/{path}", f"/api/v1/runs/{path}/metrics", f"/api/v1/runs/{run}/samples/{path}"]
    targets += [f"/api/v1/runs/{run}/samples/{path}.png", f"/api/v1/runs/{run}/difference/{path}"]
    targets += [f"/api/v1/toys/{path}/step", f"/api/v1/runs/{run}/{path}", f"/page/{path}", f"/api/v1/../../{path}"]
    for target in targets:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        connection.request("GET", target)  # as it stands: a usual client would tidy it up
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status in (307, 400, 404, 405, 422), target
        assert SECRET.encode() not in body
        assert b"root:" not in body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("POST", "toy", 404), ("DELETE", "runs/a/b/c/d", 404), ("GET", "nothing", 404), ("POST", "/nothing", 405)),
        *(("POST", "runs", 405), ("GET", "login", 405)),
    ],
)
def test_what_is_not_there_is_told_from_what_takes_other_methods(
    served: Client, method: str, path: str, status: int
) -> None:
    answer = served.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"] == KNOWN[status]


def test_no_value_in_a_body_is_a_path(served: Client) -> None:
    for data in ("../secret.txt", "/etc/passwd", "digits/../../secret.txt", "~root"):
        answer = served.post("toys", {"data": data})
        assert answer.status_code == 400
        assert SECRET not in answer.text


def test_links_out_of_the_folder_are_no_runs(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(trained / "began")
    with serving(tmp_path / "runs") as client:
        assert client.get("runs").json()["runs"] == []


def test_bodies_are_bounded(served: Client) -> None:
    limits = served.server.service.settings.limits
    path = f"runs/{served.id('began')}/generate"
    headers = {"Content-Type": "application/json"}
    large = served.request("POST", path, data=b"[" * (limits.body_bytes + 1), headers=headers)
    assert large.status_code == 413
    pieces = (b"x" * 2**16 for _ in range(limits.body_bytes // 2**16 + 1))  # whose length no header says
    assert served.request("POST", path, data=pieces, headers=headers).status_code == 413
    deep = served.request("POST", path, data=b"[" * 200_000, headers=headers)
    assert deep.status_code in (400, 422)
    for length in ("-1", "1e3", "9" * 400, "0x10"):
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        connection.putrequest("POST", f"/api/v1/{path}")
        connection.putheader("Content-Length", length)
        connection.endheaders()
        assert connection.getresponse().status in (400, 413)
        connection.close()


def test_floods_are_slowed_down(trained: Path) -> None:
    with serving(trained, Limits(burst=5, requests_per_second=0.01)) as client:
        codes = [client.get("/healthz").status_code for _ in range(7)]
        assert codes[:5] == [200] * 5
        assert codes[-1] == 429


def test_who_sends_slowly_is_sent_away(trained: Path) -> None:
    with serving(trained, Limits(request_seconds=1)) as client:
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as slow:
            slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Never")  # no end of the head
            assert slow.recv(100) == b""
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as slow:
            slow.sendall(b"POST /api/v1/toys HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            assert b" 408 " in slow.recv(100)
        assert client.get("/healthz").status_code == 200


def test_more_connections_than_are_served_are_refused(trained: Path) -> None:
    with serving(trained, Limits(connections=4)) as client:
        idle = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(4)]
        time.sleep(0.2)
        refused = client.get("/healthz")
        assert refused.status_code == 503
        assert "4 connections" in refused.json()["error"]
        assert {"Retry-After", *HEADERS} <= refused.headers.keys()
        for each in idle:
            each.close()


def test_a_bucket_refills() -> None:
    bucket = Bucket(1000, 2)
    assert (bucket.take(), bucket.take()) == (0, 0)
    wait = bucket.take()
    assert 0 < wait <= 0.001
    time.sleep(0.01)
    assert bucket.take() == 0


def test_secrets_are_compared_whole() -> None:
    assert same("token", "token")
    for other in ("", "toke", "tokens", "tokeN", "tökén", "\ud800"):
        assert not same(other, "token")


def test_the_description_of_the_api(served: Client) -> None:
    paths = served.get("/openapi.json").json()["paths"]
    assert {"/api/v1/runs", "/api/v1/runs/{run_id}/generate", "/healthz"} <= paths.keys()
    assert json.dumps(paths).count("#/components/schemas") > 5


def test_the_description_says_where_a_token_is_needed(served: Client, locked: Client) -> None:
    assert "securitySchemes" not in served.get("/openapi.json").json()["components"]
    found = locked.get("/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert found["components"]["securitySchemes"] == {"HTTPBearer": {"type": "http", "scheme": "bearer"}}
    assert found["paths"]["/api/v1/runs"]["get"]["security"] == [{"HTTPBearer": []}]
    assert "security" not in found["paths"]["/api/v1/login"]["post"]


def test_figures_for_prometheus(served: Client) -> None:
    served.get("runs")
    text = served.get("/metrics").text
    assert 'equipoise_requests_total{method="GET",route="/runs",status="200"}' in text
    assert "equipoise_runs 3.0" in text
