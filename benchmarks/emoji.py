"""The colour bitmaps of a font as PNG files, each once: 3,926 of Debian's fonts-noto-color-emoji.

    pip install fonttools
    python -m benchmarks.emoji /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf emoji/

For examples/family-drawings.yaml.
"""

import argparse
from pathlib import Path


def write_bitmaps(font: Path, folder: Path) -> int:
    """Write every bitmap of the font's CBDT table; returns how many there are."""
    from fontTools.ttLib import TTFont

    folder.mkdir(parents=True, exist_ok=True)
    bitmaps = {glyph.imageData: name for strike in TTFont(font)["CBDT"].strikeData for name, glyph in strike.items()}
    for data, name in bitmaps.items():
        (folder / f"{name}.png").write_bytes(data)
    return len(bitmaps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("font", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    print(f"{write_bitmaps(options.font, options.folder):,} bitmaps in {options.folder}")


if __name__ == "__main__":
    main()
