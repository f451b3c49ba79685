"""Images for training: found, packed once, and streamed in an order that is a function of seed and images seen."""

from equipoise.data.cache import cache_folder
from equipoise.data.decode import Fit
from equipoise.data.images import Images
from equipoise.data.inspection import Inspection, contact_sheet, inspect, sheet
from equipoise.data.order import flips, indices
from equipoise.data.pack import open_images
from equipoise.data.pixels import normalise, to_uint8
from equipoise.data.sizes import Sizes
from equipoise.data.sources import BUNDLED
from equipoise.data.workers import Progress

__all__ = [
    "BUNDLED",
    "Fit",
    "Images",
    "Inspection",
    "Progress",
    "Sizes",
    "cache_folder",
    "contact_sheet",
    "flips",
    "indices",
    "inspect",
    "normalise",
    "open_images",
    "sheet",
    "to_uint8",
]
