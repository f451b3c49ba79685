"""Formats of image files: which are read, by which names and first bytes they are known, and what reads the others."""

import re
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import NamedTuple

from PIL import Image

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO", "PCX")
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif", ".tga", ".ico", ".pcx"),
)
HEAD = 16  # bytes by which an image without a suffix is known
HEADS = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|BM....\0{4}|\0{3}\x0cjP  |....ftypavi[fs]",
    re.DOTALL,
)


class Plugin(NamedTuple):
    """A package that teaches Pillow a format, where it is installed."""

    format: str  # Pillow's name
    suffixes: tuple[str, ...]
    head: re.Pattern[bytes]
    module: str
    register: str  # the function of the module that has to be called, or ""
    package: str  # to install


PLUGINS = (
    Plugin(
        *("HEIF", (".heic", ".heif", ".hif"), re.compile(rb"....ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL)),
        *("pillow_heif", "register_heif_opener", "pillow-heif"),
    ),
    Plugin(
        *("JXL", (".jxl",), re.compile(rb"\xff\x0a|\0{3}\x0cJXL \r\n\x87\n")),
        *("pillow_jxl", "", "pillow-jxl-plugin"),
    ),
)


@lru_cache(maxsize=1)
def installed_plugins() -> tuple[Plugin, ...]:
    """The plug-ins that are installed here."""
    return tuple(plugin for plugin in PLUGINS if find_spec(plugin.module) is not None)


@lru_cache(maxsize=1)
def readable_suffixes() -> frozenset[str]:
    """Suffixes of the images that can be read here, in lower case."""
    return frozenset((*SUFFIXES, *(suffix for plugin in installed_plugins() for suffix in plugin.suffixes)))


@lru_cache(maxsize=1)
def readable_formats() -> tuple[str, ...]:
    """Formats to offer `Image.open`: plain images only, none that runs another program (as EPS does)."""
    Image.init()
    for plugin in installed_plugins():
        module = import_module(plugin.module)
        if plugin.register:
            getattr(module, plugin.register)()
    return tuple(name for name in (*FORMATS, *(plugin.format for plugin in installed_plugins())) if name in Image.OPEN)


def is_hidden(name: str) -> bool:
    """Whether a file, by its name with / between its folders, is hidden or lies in a hidden folder."""
    return any(part == "__MACOSX" or (part[0] == "." and part != "..") for part in PurePosixPath(name).parts)


def is_image(name: str) -> bool:
    """Whether a file's name, with / between its folders, is that of an image that can be read, and not hidden."""
    return PurePosixPath(name).suffix.lower() in readable_suffixes() and not is_hidden(name)


def looks_like_image(head: bytes) -> bool:
    """Whether a file that begins with `head`, its first HEAD bytes, is an image that can be read."""
    return bool(HEADS.match(head)) or any(plugin.head.match(head) for plugin in installed_plugins())


def missing_plugin(head: bytes) -> Plugin | None:
    """The plug-in that would read a file which begins with `head`, if it is not installed."""
    installed = installed_plugins()
    return next((plugin for plugin in PLUGINS if plugin not in installed and plugin.head.match(head)), None)
