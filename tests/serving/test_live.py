"""Streams of events: what a process writes into a run's files arrives, whatever happens to either end."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import requests
from PIL import Image

import equipoise
from equipoise import Run, TrainConfig
from equipoise.runs.lock import sole_writer
from equipoise.serving.settings import Limits
from serving.conftest import Client, Serve

Event = tuple[str, dict[str, Any], str]  # kind, data, id


@contextmanager
def stream(client: Client, path: str, **settings: Any) -> Iterator[Iterator[Event]]:
    """The events of a stream, as they come."""
    with closing(requests.get(client.url(path), stream=True, timeout=20, **settings)) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield events(response)


def events(response: requests.Response) -> Iterator[Event]:
    kind = data = place = ""
    for line in response.iter_lines(chunk_size=None, decode_unicode=True):
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            data = value
        elif name == "id":
            place = value
        elif not line and data:
            yield kind, json.loads(data), place
            kind = data = place = ""


def next_of(kind: str, found: Iterator[Event]) -> Event:
    return next(event for event in found if event[0] == kind)


def wait_until(condition: Any) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def test_what_is_written_arrives(serve: Serve, empty_run: Run) -> None:
    client = serve(empty_run.path.parent)
    with stream(client, f"runs/{client.id('live')}/events") as found:
        kind, status, _ = next(found)
        assert (kind, status["state"]) == ("status", "empty")
        empty_run.append("metrics.jsonl", {"images": 16, "k": 0.25})
        assert next_of("metrics", found)[1] == {"images": 16, "k": 0.25}
        empty_run.append(
            "events.jsonl", {"images": 16, "level": "warning", "kind": "blur", "message": "blurred", "remedy": "wait"}
        )
        assert next_of("health", found)[1]["remedy"] == "wait"
        empty_run.save_samples(16, Image.new("L", (4, 4)))
        assert next_of("sample", found)[1] == {"images": 16}
        assert next_of("status", found)[1]["health"][0]["kind"] == "blur"


def test_a_line_that_is_still_being_written_waits_for_its_end(serve: Serve, empty_run: Run) -> None:
    client = serve(empty_run.path.parent)
    with stream(client, f"runs/{client.id('live')}/events") as found:
        next(found)
        with (empty_run.path / "metrics.jsonl").open("a") as file:
            file.write('{"images": 16, "k"')
            file.flush()
            time.sleep(0.2)
            file.write(": 0.5}\n")
        assert next_of("metrics", found)[1] == {"images": 16, "k": 0.5}


def test_a_broken_connection_goes_on_where_it_was(serve: Serve, empty_run: Run) -> None:
    client = serve(empty_run.path.parent)
    path = f"runs/{client.id('live')}/events"
    with stream(client, path) as found:
        next(found)
        empty_run.append("metrics.jsonl", {"images": 16, "k": 0.1})
        place = next_of("metrics", found)[2]
    empty_run.append("metrics.jsonl", {"images": 32, "k": 0.2})  # while nobody listens
    with stream(client, path, headers={"Last-Event-ID": place}) as found:
        assert next_of("metrics", found)[1]["images"] == 32
    with stream(client, path, params={"last_event_id": place}) as found:
        assert next_of("metrics", found)[1]["images"] == 32
    with stream(client, path, params={"since": 0}) as found:
        assert [next_of("metrics", found)[1]["images"] for _ in range(2)] == [16, 32]


def test_a_run_that_went_back_says_so(serve: Serve, empty_run: Run) -> None:
    empty_run.append("metrics.jsonl", {"images": 16, "k": 0.1})
    client = serve(empty_run.path.parent)
    with stream(client, f"runs/{client.id('live')}/events") as found:
        next(found)
        empty_run.rewind(0)
        next_of("rewound", found)
        empty_run.append("metrics.jsonl", {"images": 8, "k": 0.2})
        assert next_of("metrics", found)[1]["images"] == 8


def test_a_run_that_is_deleted_ends_its_stream(serve: Serve, empty_run: Run) -> None:
    client = serve(empty_run.path.parent)
    with stream(client, f"runs/{client.id('live')}/events") as found, stream(client, "live") as everything:
        next(found), next(everything)
        for path in empty_run.path.rglob("*.*"):
            path.unlink()
        assert next_of("gone", found)[1] == {}
        assert list(found) == []
        assert next_of("gone", everything)[1] == {"id": client.id("live")}


def test_a_new_run_shows_up_by_itself(serve: Serve, empty_run: Run, small: TrainConfig) -> None:
    client = serve(empty_run.path.parent)
    with stream(client, "live") as found:
        assert next(found)[:2] == ("runs", {"ids": [client.id("live")]})
        assert next_of("status", found)[1]["name"] == "live"
        Run.create(empty_run.path.parent / "later", small).append("metrics.jsonl", {"images": 0, "k": 0.0})
        assert next_of("new-run", found)[1] == {"id": client.id("later"), "newest": client.id("later")}
        assert next_of("status", found)[1]["name"] == "later"


def test_a_place_in_another_runs_files_is_rewound(serve: Serve, empty_run: Run) -> None:
    """Though they have come to be longer."""
    client = serve(empty_run.path.parent)
    path = f"runs/{client.id('live')}/events"
    empty_run.append("metrics.jsonl", {"images": 16, "k": 0.1})
    place = client.get(f"runs/{client.id('live')}/metrics").json()["place"]
    with stream(client, path, headers={"Last-Event-ID": place}) as found:
        empty_run.append("metrics.jsonl", {"images": 32, "k": 0.2})
        place = next_of("metrics", found)[2]
    rows = [{"images": 8 * row, "k": 0.9} for row in range(20)]
    (empty_run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with stream(client, path, headers={"Last-Event-ID": place}) as found:
        next_of("rewound", found)
        (empty_run.path / "metrics.jsonl").write_text(2 * "".join(json.dumps(row) + "\n" for row in rows[1:]))
        next_of("rewound", found)  # as it is listened to, too
    for absurd in ("1-2", f"-{10**17}-0-5", f"x-{10**40}-0-5", "x-0-0--2"):
        with stream(client, path, headers={"Last-Event-ID": absurd}) as found:
            next_of("status", found)


def test_a_stream_that_breaks_before_its_first_event_loses_nothing(serve: Serve, empty_run: Run) -> None:
    client = serve(empty_run.path.parent)
    for path in (f"runs/{client.id('live')}/events", f"live?runs={client.id('live')}"):
        with closing(requests.get(client.url(path), stream=True, timeout=20)) as response:
            first = next(line for line in response.iter_lines(decode_unicode=True) if line.startswith("id: "))
        empty_run.append("metrics.jsonl", {"images": 16, "k": 0.1})
        with stream(client, path, headers={"Last-Event-ID": first.removeprefix("id: ")}) as found:
            assert next(event for event in found if event[0].endswith("metrics"))[1] == {"images": 16, "k": 0.1}


def test_one_stream_follows_several_runs(serve: Serve, empty_run: Run, small: TrainConfig) -> None:
    other = Run.create(empty_run.path.parent / "other", small)
    other.append("metrics.jsonl", {"images": 0, "k": 0.0})
    client = serve(empty_run.path.parent)
    ids = [client.id("live"), client.id("other")]
    followed = [("runs", run_id) for run_id in (*ids, "0123456789ab")]
    with stream(client, "live", params=followed) as found:
        assert next(found)[0] == "runs"
        empty_run.append("metrics.jsonl", {"images": 16, "k": 0.1})
        next_of(f"{ids[0]}/metrics", found)
        other.append("metrics.jsonl", {"images": 16, "k": 0.2})
        _, row, places = next_of(f"{ids[1]}/metrics", found)
        assert row == {"images": 16, "k": 0.2}
    empty_run.append("metrics.jsonl", {"images": 32, "k": 0.3})
    other.rewind(0)
    with stream(client, "live", params=followed, headers={"Last-Event-ID": places}) as found:
        changes = (event for event in found if "/" in event[0] or event[0] == "newest")
        told = {kind: row for kind, row, _ in (next(changes) for _ in range(3)) if kind != "newest"}
    assert told == {f"{ids[0]}/metrics": {"images": 32, "k": 0.3}, f"{ids[1]}/rewound": {}}


def test_whichever_is_the_newest_is_told(serve: Serve, empty_run: Run, small: TrainConfig) -> None:
    client = serve(empty_run.path.parent)
    with stream(client, "live") as found:
        assert next_of("newest", found)[1] == {"id": client.id("live")}
        Run.create(empty_run.path.parent / "later", small).append("metrics.jsonl", {"images": 0, "k": 0.0})
        assert next_of("newest", found)[1] == {"id": client.id("later")}
        with sole_writer(empty_run.path):  # it is resumed
            assert next_of("newest", found)[1] == {"id": client.id("live")}


def test_ten_thousand_rows_reach_one_who_asks_for_all(serve: Serve, empty_run: Run) -> None:
    rows = [{"images": row + 1, "k": 0.5, "energy_real": 1 / (row + 1)} for row in range(10_000)]
    with (empty_run.path / "metrics.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    client = serve(empty_run.path.parent)
    with stream(client, f"runs/{client.id('live')}/events", params={"since": 0}) as found:
        assert [next_of("metrics", found)[1]["images"] for _ in rows] == list(range(1, 10_001))


def test_who_goes_away_is_forgotten(serve: Serve, empty_run: Run) -> None:
    client = serve(empty_run.path.parent, Limits(watchers=2))
    watcher = client.server.service.watcher
    for _ in range(3):
        with stream(client, "live") as found, stream(client, f"runs/{client.id('live')}/events"):
            next(found)
            full = client.get("live")
            assert full.status_code == 503
            assert int(full.headers["Retry-After"]) > 0
        wait_until(lambda: watcher.count == 0)


def test_who_reads_slowly_holds_up_nobody_and_is_sent_away(serve: Serve, empty_run: Run) -> None:
    client = serve(empty_run.path.parent, Limits(stalled_seconds=0.5))
    run_id = client.id("live")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", client.port))
        slow.sendall(f"GET /api/v1/runs/{run_id}/events?since=0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: client.server.service.watcher.count == 1)
        row = {"images": 1, **{f"measure-{number}": 0.5 for number in range(1000)}}
        for images in range(1, 300):  # megabytes, which nobody takes
            empty_run.append("metrics.jsonl", {**row, "images": images})
        with stream(client, f"runs/{run_id}/events") as found:
            next(found)
            empty_run.append("metrics.jsonl", {"images": 1000, "k": 0.25})
            assert next_of("metrics", found)[1]["images"] == 1000
        wait_until(lambda: client.server.service.watcher.count == 0)


def test_streams_end_with_the_server(serve: Serve, empty_run: Run) -> None:
    client = serve(empty_run.path.parent)
    with stream(client, "live") as found:
        next_of("newest", found)
        client.server.should_exit = True
        assert [kind for kind, _, _ in found if kind != "status"] == []


def test_a_real_training_is_followed_to_its_end(serve: Serve, small: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    client = serve(tmp_path / "runs")
    with stream(client, "live") as everything:
        thread = threading.Thread(target=lambda: equipoise.train(small, tmp_path / "runs" / "run", quiet=True))
        thread.start()
        run_id = next_of("new-run", everything)[1]["id"]
        states, images = [], [0]
        with stream(client, f"runs/{run_id}/events", params={"since": 0}) as found:
            for kind, data, _ in found:
                if kind == "metrics":
                    images.append(data["images"])
                elif kind == "status":
                    states.append(data["state"])
                    if data["state"] == "finished" and images[-1] == small.images:
                        break
        thread.join()
    assert sorted(set(images)) == [0, 32, 64, 80, 96, 128, 160]
    assert states[-1] == "finished"
