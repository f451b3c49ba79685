import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pytest

from equipoise.data.shards import RetryPolicy, Stream, StreamBroken, open_stream
from equipoise.data.shards.fetch import Download, FileStamp, _stamp_of, redacted
from shard_tools import QUICK, Server, cut, numbers, serving, shards

COUNTS = [40, 33, 25]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    shards(tmp_path / "web", COUNTS)
    with serving(tmp_path / "web") as running:
        yield running


def epoch(stream: Stream) -> list[int]:
    try:
        return numbers(stream.draw(sum(COUNTS), 0, 0).images)
    finally:
        stream.close()


def opened(server: Server, **options: object) -> Stream:
    return open_stream(f"{server.url}/s-{{000..002}}.tar", 4, **{"retry": QUICK, "block": 32, **options})


@pytest.fixture
def expected(tmp_path: Path, server: Server) -> list[int]:
    return epoch(open_stream(f"{tmp_path}/web/s-{{000..002}}.tar", 4, block=32))


def download(server: Server, retry: RetryPolicy = QUICK) -> bytes:
    with Download(f"{server.url}/s-000.tar", retry) as file:
        return file.read()


def whole(server: Server) -> bytes:
    return (server.folder / "s-000.tar").read_bytes()


def test_shards_over_http_give_what_local_ones_give(server: Server, expected: list[int], tmp_path: Path) -> None:
    stream = opened(server)
    assert epoch(stream) == expected
    assert stream.fingerprint == open_stream(f"{tmp_path}/web/s-{{000..002}}.tar", 4, block=32).fingerprint


def test_an_overloaded_server_is_asked_again(server: Server, expected: list[int]) -> None:
    def overloaded(handler: BaseHTTPRequestHandler, number: int) -> bool:
        if number % 3:
            handler.send_error(503)
        return bool(number % 3)

    server.misbehave = overloaded
    assert epoch(opened(server)) == expected


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("tags", [True, False])
def test_a_transfer_that_breaks_goes_on_at_the_byte_it_had_reached(server: Server, ranges: bool, tags: bool) -> None:
    server.ranges, server.tags = ranges, tags
    server.misbehave = lambda handler, number: number == 1 and cut(handler, whole(server), 30_001)
    assert download(server) == whole(server)
    assert [part for _, part in server.log] == ["", "bytes=30001-"]


def test_a_server_that_breaks_every_transfer_is_followed_to_the_end(server: Server, expected: list[int]) -> None:
    """More often than there are waits, since each transfer gets on."""

    def stutter(handler: BaseHTTPRequestHandler, number: int) -> bool:
        asked = handler.headers.get("Range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        data = whole(server)
        part = data[start : start + 9_000]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(part)
        handler.close_connection = True
        return True

    server.misbehave = stutter
    assert download(server) == whole(server)
    assert len(server.log) > len(QUICK.waits) + 2


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("tags", [True, False])
def test_a_file_that_changes_while_it_is_read_is_refused(server: Server, ranges: bool, tags: bool) -> None:
    server.ranges, server.tags = ranges, tags

    def change(handler: BaseHTTPRequestHandler, number: int) -> bool:
        if number == 1:
            cut(handler, whole(server), 20_000)
            server.version = "2"
            (server.folder / "s-000.tar").write_bytes(whole(server) + b"more")
        return number == 1

    server.misbehave = change
    with pytest.raises(StreamBroken, match="has changed while it was read"):
        download(server)


def test_a_server_that_sends_another_part_is_not_believed(server: Server) -> None:
    def wrong(handler: BaseHTTPRequestHandler, number: int) -> bool:
        if number == 1:
            return cut(handler, whole(server), 20_000)
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 5-9/{len(whole(server))}")
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"wrong")
        return True

    server.misbehave = wrong
    with pytest.raises(StreamBroken, match="another part"):
        download(server)


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (401, 1), (500, 4), (503, 4), (429, 4)])
def test_refusals_are_final_and_failures_are_not(server: Server, status: int, requests: int) -> None:
    def refuse(handler: BaseHTTPRequestHandler, number: int) -> bool:
        handler.send_error(status)
        return True

    server.misbehave = refuse
    with pytest.raises(StreamBroken, match=str(status)):
        download(server)
    assert len(server.log) == requests


def test_a_server_may_ask_for_time(server: Server) -> None:
    def busy(handler: BaseHTTPRequestHandler, number: int) -> bool:
        if number == 1:
            handler.send_response(429)
            handler.send_header("Retry-After", "1")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        return number == 1

    server.misbehave = busy
    waits: list[float] = []
    assert download(server, replace(QUICK, wait=lambda stop, seconds: waits.append(seconds) or False)) == whole(server)
    assert waits == [1.0]


def test_an_unreachable_server_is_an_error_after_a_bounded_number_of_tries() -> None:
    waits: list[float] = []
    retry = replace(QUICK, wait=lambda stop, seconds: waits.append(seconds) or False)
    with pytest.raises(StreamBroken, match=r"^http://127\.0\.0\.1:9/a\.tar cannot be reached .*tried 4 times.*resume$"):
        open_stream("http://127.0.0.1:9/a.tar?token=secret", 4, retry=retry)
    assert waits == list(QUICK.waits)
    assert redacted("https://user:secret@host:1/a.tar?token=secret#x") == "https://host:1/a.tar"


def test_a_server_that_falls_silent_is_an_error_in_bounded_time(server: Server) -> None:
    done = threading.Event()

    def silent(handler: BaseHTTPRequestHandler, number: int) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "99")
        handler.end_headers()
        handler.wfile.flush()
        return done.wait(20)

    server.misbehave = silent
    with pytest.raises(StreamBroken, match="timed out"):
        download(server, RetryPolicy((0.01,), timeout=0.2))
    done.set()


def test_a_server_that_sends_a_byte_now_and_then_is_an_error_in_bounded_time(server: Server) -> None:
    done = threading.Event()

    def dripping(handler: BaseHTTPRequestHandler, number: int) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "10000")
        handler.end_headers()
        with suppress(OSError):  # the client hangs up
            while not done.wait(0.02):
                handler.wfile.write(b"x")
        return True

    server.misbehave = dripping
    with pytest.raises(StreamBroken, match="only .* bytes came in 0.3 seconds.*tried 3 times"):
        download(server, RetryPolicy((0.01, 0.01), timeout=0.3))
    done.set()


@pytest.mark.parametrize(
    ("answer", "drop"),
    [
        ("", "H"),  # the status never ends
        ("HTTP/1.1 200 OK\r\nX: ", "x"),  # nor does a header
        ("HTTP/1.1 200 OK\r\n", "X: x\r\n"),
        ("HTTP/1.1 302 Found\r\nLocation: /s-000.tar\r\nContent-Length: 10000\r\n\r\n", "x"),  # nor a redirect
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0"),  # nor the size of a chunk
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: x\r\n"),  # nor what follows the last
    ],
)
def test_a_server_whose_headers_never_end_is_an_error_in_bounded_time(server: Server, answer: str, drop: str) -> None:
    done = threading.Event()

    def dripping(handler: BaseHTTPRequestHandler, number: int) -> bool:
        handler.close_connection = True
        with suppress(OSError):  # the client hangs up
            handler.wfile.write(answer.encode())
            while not done.wait(0.02):
                handler.wfile.write(drop.encode())
        return True

    server.misbehave = dripping
    with pytest.raises(StreamBroken, match="headers did not end in 0.3 seconds.*tried 3 times"):
        download(server, RetryPolicy((0.01, 0.01), timeout=0.3))
    done.set()


def test_a_server_that_goes_away_in_training_breaks_the_stream_and_comes_back(
    server: Server, expected: list[int]
) -> None:
    stream = opened(server, lanes=1)
    first = numbers(stream.draw(32, 0, 0).images)
    server.misbehave = lambda handler, number: not handler.send_error(503)  # type: ignore[func-returns-value]
    with pytest.raises(StreamBroken, match="503"):
        stream.draw(sum(COUNTS) - 32, 0, 32)
    stream.close()
    server.misbehave = lambda handler, number: False
    again = opened(server, lanes=1)
    assert sorted(first + numbers(again.draw(sum(COUNTS) - 32, 0, 32).images)) == list(range(sum(COUNTS)))
    again.close()


def test_closing_does_not_wait_for_retries(server: Server) -> None:
    def close(stop: threading.Event, seconds: float) -> bool:
        assert seconds == 60
        threading.Thread(target=stream.close).start()
        return stop.wait()  # for ever, unless closing ends it

    stream = opened(server, retry=replace(QUICK, waits=(60.0,), wait=close), lanes=1)
    server.misbehave = lambda handler, number: not handler.send_error(503)  # type: ignore[func-returns-value]
    with pytest.raises(StreamBroken, match="stopped"):
        stream.draw(32, 0, 0)
    assert len([part for _, part in server.log if part != "bytes=0-0"]) == 2  # the probe and one try


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a.tar", "gopher://x/"])
def test_redirects_lead_to_nothing_but_http(server: Server, target: str) -> None:
    def redirect(handler: BaseHTTPRequestHandler, number: int) -> bool:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    server.misbehave = redirect
    with pytest.raises(StreamBroken):
        download(server)


def test_redirects_to_http_are_followed(server: Server) -> None:
    def redirect(handler: BaseHTTPRequestHandler, number: int) -> bool:
        if handler.path.endswith("?again"):
            return False
        handler.send_response(302)
        handler.send_header("Location", f"{server.url}/s-000.tar?again")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    server.misbehave = redirect
    assert download(server) == whole(server)


def test_redirects_in_a_circle_are_refused(server: Server) -> None:
    def redirect(handler: BaseHTTPRequestHandler, number: int) -> bool:
        handler.send_response(302)
        handler.send_header("Location", f"{server.url}/s-000.tar")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    server.misbehave = redirect
    with pytest.raises(StreamBroken, match="redirect|302"):
        download(server)


@pytest.mark.parametrize(
    "url", ["http://", "http://[", "http://a b/c.tar", "http://host:port/a.tar", "http://\x00/a.tar"]
)
def test_nonsense_for_a_url_is_refused(url: str) -> None:
    with pytest.raises(StreamBroken):
        open_stream(url, 4, retry=QUICK)


def test_the_index_saves_whole_shards_of_traffic(server: Server) -> None:
    stream = opened(server, lanes=1)
    walked = numbers(stream.draw(2 * sum(COUNTS), 0, 0).images)
    stream.close()
    server.log.clear()
    again = opened(server, lanes=1)
    again_first = numbers(again.draw(1, 0, 2 * sum(COUNTS) - 1).images)
    again.close()
    assert again_first == walked[-1:]
    assert len([part for _, part in server.log if part != "bytes=0-0"]) < 2 * len(COUNTS)


@pytest.mark.parametrize(
    ("headers", "stamp"),
    [
        ({"Content-Length": "12", "ETag": '"a"'}, FileStamp(12, '"a"')),
        ({"Content-Length": "9" * 5000}, FileStamp(None, "")),
        ({"Content-Length": "-1", "ETag": "x" * 5000}, FileStamp(None, "")),
        ({"Content-Range": f"bytes 0-0/{'9' * 5000}", "Content-Length": "1"}, FileStamp(1, "")),
        ({"Content-Range": "bytes 0-0/70"}, FileStamp(70, "")),
        ({"ETag": '"a\r\n b"'}, FileStamp(None, "")),
    ],
)
def test_headers_are_believed_within_bounds(headers: dict[str, str], stamp: FileStamp) -> None:
    response = SimpleNamespace(headers=headers, status=200)
    assert _stamp_of(response) == stamp
