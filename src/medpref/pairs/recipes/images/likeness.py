"""How alike two images look: simple features, kept in files, and the distance between them."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from skimage.feature import hog

from medpref.files import content_hash, write_bytes
from medpref.pairs.images import open_image
from medpref.pairs.recipes.images.workers import work_through

Features = Float[np.ndarray, " features"]

EDGE = 64
"""Images are looked at on a square of so many pixels."""
THUMBNAIL = 16
BINS = 16
# Raised when the features change, so that no file of an earlier version is taken for one of these.
VERSION = 1


def features_of(image: Image.Image) -> Features:
    """Return what an image looks like: three parts, each of unit length, float32.

    They are its standardised grey values on a coarse grid (where it is bright), its histogram (how bright)
    and its oriented gradients (Dalal and Triggs 2005, doi 10.1109/CVPR.2005.177; where its edges run).
    """
    grey = np.asarray(image.convert("L").resize((EDGE, EDGE), Image.Resampling.BOX), dtype=np.float32) / 255
    step = EDGE // THUMBNAIL
    coarse = grey.reshape(THUMBNAIL, step, THUMBNAIL, step).mean((1, 3)).ravel()
    histogram = np.histogram(grey, BINS, (0, 1))[0].astype(np.float32)
    edges = hog(grey, orientations=8, pixels_per_cell=(8, 8), cells_per_block=(2, 2))
    parts = (coarse - coarse.mean(), histogram, np.asarray(edges, dtype=np.float32))
    return np.concatenate([_unit(part) for part in parts])


def _unit(part: Features) -> Features:
    length = float(np.linalg.norm(part))
    return part / length if length > 0 else part


def read_features(paths: Iterable[Path], folder: Path, workers: int) -> Mapping[Path, Features]:
    """Return the features of image files; those found in `folder` are not computed again.

    Raises:
        InputError: a file is missing or is no image.
        RunError: the folder cannot be written.
    """
    jobs = [(path, folder / f"{path.stem}-{_mark(path)}.npy") for path in dict.fromkeys(paths)]
    return {path: made for (path, _), made in zip(jobs, work_through(_kept, jobs, workers), strict=True)}


def _mark(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        # The image itself tells what is wrong with it, as soon as it is opened.
        return content_hash(str(path))
    return content_hash(str(path), found.st_size, found.st_mtime_ns, VERSION)


def _kept(job: tuple[Path, Path]) -> Features:
    """Return an image's features, and keep them for the next run."""
    path, kept = job
    if kept.is_file():
        known: Features = np.load(kept, allow_pickle=False)
        return known
    made = features_of(open_image(path))
    buffer = io.BytesIO()
    np.save(buffer, made, allow_pickle=False)
    write_bytes(kept, buffer.getvalue(), durable=False)
    return made
