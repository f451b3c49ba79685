"""Data to train on: opened, decoded, packed or streamed, and put in order.

- `open`: data of any kind opened once, with what is held out from it; begin to read here.
- `feed`: the interface to training: batches that are functions of their position.
- `order`: which images come next, and which of them are mirrored.
- `formats`, `framing`, `decode`, `png`, `sizes`, `pixels`, `digests`: one image, from its file to what networks see.
- `sources`: every kind of data that can be packed, a file a kind.
- `packed`: images decoded once into one array on the disk, in the `cache`.
- `shards`: WebDataset shards, streamed.
- `augmentation`: real and generated images changed alike before the discriminator sees them.
- `toys`: points in the plane.
- `inspection`: a report on data before it is packed.
"""

from equipoise.data.augmentation import Augmentation, augment
from equipoise.data.cache import cache_folder
from equipoise.data.digests import HeldOut, content_digest, held_out
from equipoise.data.feed import Feed, FeedBatch
from equipoise.data.framing import Fit
from equipoise.data.inspection.inspect import Inspection, Values, inspect
from equipoise.data.inspection.sheets import contact_sheet, duplicates_sheet, sheet
from equipoise.data.open import Dataset, Part, as_text, is_path, open_dataset, place_of
from equipoise.data.order import flips, indices
from equipoise.data.packed.images import Images
from equipoise.data.packed.pack import open_images, pack
from equipoise.data.packed.workers import ProgressCallback
from equipoise.data.pixels import channels_last, normalise, to_uint8
from equipoise.data.shards import StreamBroken
from equipoise.data.sizes import Sizes, parse_resolution
from equipoise.data.sources import BUNDLED
from equipoise.data.sources.files import read_image
from equipoise.data.toys import TOYS, Toy

__all__ = [
    "BUNDLED",
    "TOYS",
    "Augmentation",
    "Dataset",
    "Feed",
    "FeedBatch",
    "Fit",
    "HeldOut",
    "Images",
    "Inspection",
    "Part",
    "ProgressCallback",
    "Sizes",
    "StreamBroken",
    "Toy",
    "Values",
    "as_text",
    "augment",
    "cache_folder",
    "channels_last",
    "contact_sheet",
    "content_digest",
    "duplicates_sheet",
    "flips",
    "held_out",
    "indices",
    "inspect",
    "is_path",
    "normalise",
    "open_dataset",
    "open_images",
    "pack",
    "parse_resolution",
    "place_of",
    "read_image",
    "sheet",
    "to_uint8",
]
