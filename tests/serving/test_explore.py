"""Pictures of strangers: to latents and back where they are pictures, refused in a sentence where they are not."""

import base64
import io
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from PIL import Image

import equipoise
from equipoise import Run
from equipoise.config.datasets import open_dataset
from equipoise.serving.explore import distances
from equipoise.serving.settings import Limits
from serving.conftest import Client, Serve

Pixels = np.ndarray


def encoded(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **settings)
    return data.getvalue()


def pixels(text: str) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(int)


def invert(client: Client, name: str, data: bytes, **fields: Any) -> requests.Response:
    path = f"runs/{client.id(name)}/invert"
    return client.until_done("POST", path, files={"image": ("picture.png", data, "image/png")}, data=fields)


def digit(trained: Path, at: int = 3) -> Pixels:
    run = Run.open(trained / "began")
    return open_dataset(run.config).split("train").batch(np.array([at]))[0, 0].numpy()


def test_a_picture_its_latent_its_reconstruction_and_its_energy(served: Client, trained: Path) -> None:
    run, picture = Run.open(trained / "began"), digit(trained)
    answer = invert(served, "began", encoded(Image.fromarray(picture))).json()
    assert (pixels(answer["original"]) == picture).all()
    wanted = equipoise.invert(run, torch.from_numpy(picture)[None, None], steps=150, starts=4, device="cpu")
    np.testing.assert_allclose(answer["latent"], wanted.latents[0], atol=1e-3)
    assert abs(pixels(answer["image"]) - wanted.reconstructions[0, 0].numpy().astype(int)).max() <= 1
    remade = equipoise.reconstruct(run, torch.from_numpy(picture)[None, None], device="cpu")
    assert abs(pixels(answer["reconstruction"]) - remade.reconstructions[0, 0].numpy().astype(int)).max() <= 1
    assert answer["energy"] == pytest.approx(remade.energies[0], rel=1e-4)
    assert pixels(answer["energy_map"]).shape == (16, 16, 3)
    assert 0 < answer["typical"]["median"] <= answer["typical"]["p95"]


def test_without_an_encoder_a_latent_is_searched_for(served: Client) -> None:
    path = f"runs/{served.id('nested/gan')}/generate"
    made = served.until_done("POST", path, json={"count": 1, "seed": 5, "labels": 2}).content
    answer = invert(served, "nested/gan", made).json()
    error = abs(pixels(answer["image"]) - pixels(answer["original"])).mean() / 127.5
    assert answer["residue"] == pytest.approx(error, abs=0.01)
    assert answer["residue"] < 0.02  # it was made by this generator
    assert "reconstruction" not in answer
    assert len(answer["latent"]) == 8


def test_what_was_searched_for_once_is_there_the_next_time(serve: Serve, trained: Path) -> None:
    client = serve(trained, Limits(answer_seconds=0.01))
    data = encoded(Image.fromarray(digit(trained)))
    first = client.post(f"runs/{client.id('began')}/invert", files={"image": data})
    assert first.status_code == 503
    assert invert(client, "began", data).status_code == 200


def test_other_kinds_and_colours_come_out_alike(served: Client, trained: Path) -> None:
    picture = Image.fromarray(digit(trained)).resize((64, 64))
    for data in (
        encoded(picture.convert("RGB"), "JPEG", quality=95),
        encoded(picture.convert("RGBA")),
        encoded(picture.convert("RGB"), "WEBP", lossless=True),
    ):
        assert pixels(invert(served, "began", data).json()["original"]).shape == (16, 16)


def test_a_turned_photograph_is_set_upright(served: Client, trained: Path) -> None:
    upright = digit(trained)
    turned, exif = Image.fromarray(np.rot90(upright).copy()), Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise, to see it upright
    answer = invert(served, "began", encoded(turned, "PNG", exif=exif))
    assert (pixels(answer.json()["original"]) == upright).all()


def test_a_photograph_with_its_preview_behind_it_is_one_picture(served: Client) -> None:
    photograph, preview = (Image.new("RGB", (16, 16), colour) for colour in ("white", "black"))
    answer = invert(served, "began", encoded(photograph, "MPO", save_all=True, append_images=[preview]))
    assert answer.status_code == 200
    assert pixels(answer.json()["original"]).min() > 250


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of some kilobytes whose pixels would fill the memory."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 2**20)) + chunk(b"IEND", b"")


def moving(kind: str) -> bytes:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


HOSTILE: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 415),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 415),
    "html": (b"<!doctype html><script>alert(1)</script>", 415),
    "gif": (encoded(Image.new("RGB", (16, 16)), "GIF"), 415),
    "bmp": (encoded(Image.new("RGB", (16, 16)), "BMP"), 415),
    "tiff": (encoded(Image.new("RGB", (16, 16)), "TIFF"), 415),
    "pdf": (b"%PDF-1.7", 415),
    "zip": (b"PK\x03\x04" + b"\0" * 100, 415),
    "wave": (b"RIFF\x24\x00\x00\x00WAVEfmt ", 415),
    "moving png": (moving("PNG"), 415),
    "moving webp": (moving("WEBP"), 415),
    "cut short": (encoded(Image.effect_noise((64, 64), 50))[:400], 415),
    "of damaged head": (b"\x89PNG\r\n\x1a\n" + b"\xff" * 100, 415),
    "jpeg of nothing": (b"\xff\xd8\xff\xe0" + b"\0" * 50, 415),
    "bomb": (bomb(5001, 5000), 413),
    "bomb beyond Pillow": (bomb(60_000, 60_000), 413),
    "no pixels": (bomb(0, 5), 415),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_picture_is_refused(served: Client, name: str) -> None:
    data, status = HOSTILE[name]
    answer = invert(served, "began", data)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert "\n" not in answer.json()["error"]


def test_what_is_too_large_is_refused_unread(served: Client) -> None:
    most = served.server.service.settings.limits.upload_bytes
    answer = invert(served, "began", b"\x89PNG\r\n\x1a\n" + b"\0" * most)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"picture": ("a.png", b"x")},
        {"image": ("../../etc/passwd", b"x")},
        {"image": (None, "a text, not a file")},
    ],
)
def test_other_forms_are_refused(served: Client, files: dict[str, Any]) -> None:
    answer = served.post(f"runs/{served.id('began')}/invert", files=files or None)
    assert answer.status_code in (415, 422)


def test_many_parts_are_refused(served: Client) -> None:
    body = b"".join(b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % n for n in range(20_000))
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = served.request("POST", f"runs/{served.id('began')}/invert", data=body + b"--x--\r\n", headers=headers)
    assert 400 <= answer.status_code < 500


def test_the_nearest_training_images(served: Client, trained: Path) -> None:
    run_id = served.id("nested/gan")
    made = served.until_done("POST", f"runs/{run_id}/generate", json={"count": 1, "labels": 3, "format": "json"}).json()
    asked = {"latent": made["latents"][0], "label": 3}
    answer = served.until_done("POST", f"runs/{run_id}/nearest", json=asked).json()
    run = Run.open(trained / "nested/gan")
    images = open_dataset(run.config).split("train").pixels[:, 0].astype(float)
    wanted = np.sqrt(((images - pixels(made["images"][0])) ** 2).mean(axis=(1, 2))) / 255
    order = np.argsort(wanted, kind="stable")[:6]
    assert [each["index"] for each in answer["images"]] == order.tolist()
    np.testing.assert_allclose([each["distance"] for each in answer["images"]], wanted[order], rtol=1e-5)
    assert (pixels(answer["images"][0]["image"]) == images[order[0]]).all()
    assert 0 < answer["usual_distance"] < 1


def test_distances_of_pictures_against_their_definition() -> None:
    a, b = (torch.randint(0, 256, (count, 3, 5, 4), dtype=torch.uint8) for count in (4, 7))
    b[2] = a[1]
    wanted = ((a[:, None].double() - b[None].double()) / 255).square().flatten(2).mean(dim=2).sqrt()
    np.testing.assert_allclose(distances(a, b), wanted, rtol=1e-6)
    assert distances(a, b)[1, 2] == 0
    black, white = torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)
    assert distances(black, white).item() == pytest.approx(1)


def test_another_run_in_the_same_folder_has_its_own_training_images(
    serve: Serve, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "began", tmp_path / "runs" / "began")
    config = tmp_path / "runs" / "began" / "config.yaml"
    client = serve(tmp_path / "runs")
    path = f"runs/{client.id('began')}/real.png?count=1"
    for resolution in (16, 8):
        config.write_text(config.read_text().replace("resolution: 16", f"resolution: {resolution}"))
        answer = client.until_done("GET", path)
        assert Image.open(io.BytesIO(answer.content)).size == (resolution, resolution)
        assert answer.headers["Cache-Control"] == "no-store"


def test_data_that_have_gone_are_told(serve: Serve, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "began", tmp_path / "runs" / "began")
    config = tmp_path / "runs" / "began" / "config.yaml"
    config.write_text(config.read_text().replace("data: digits", "data: gone/"))
    client = serve(tmp_path / "runs")
    answer = client.until_done("GET", f"runs/{client.id('began')}/real.png")
    assert answer.status_code == 400
    assert "gone" in answer.json()["error"]
