"""Image files: the one place where pixels come from a disk."""

from medpref.pairs.images.limits import MAX_PIXELS
from medpref.pairs.images.opening import image_fault, image_size, open_image, open_mask, save_png

__all__ = ["MAX_PIXELS", "image_fault", "image_size", "open_image", "open_mask", "save_png"]
