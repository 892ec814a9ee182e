"""Where on an image a response comes from: gradient × input."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medpref.backbones.base import Backbone, move_images
from medpref.errors import InputError
from medpref.pairs.images import image_size
from medpref.pairs.regions import Shown, from_square
from medpref.scoring.features import evaluating
from medpref.scoring.inputs import InputCache
from medpref.scoring.module import ScoringModel
from medpref.scoring.plan import Path, make_plan

PIXELS = "pixel_values"


def gradient_times_input(
    backbone: Backbone,
    inputs: InputCache,
    image: FilePath,
    prompt: tuple[int, ...],
    response: tuple[int, ...],
) -> Float[Tensor, "height width"]:
    """Return how much each pixel of the square that the model is shown has to do with a response.

    That is the derivative of the response's log-prob by the pixel, times the pixel as the tower takes it,
    absolute and summed over the channels (Shrikumar et al. 2017, arXiv:1704.02685); nats, float64, on the
    CPU.

    Args:
        backbone: the model; it is asked in evaluation mode, and its weights get no gradient.
        inputs: the backbone's.
        image: the only image that the prompt shows.
        prompt: the prompt's ids, image tokens in place.
        response: the response's ids, the end token last.

    Raises:
        InputError: the image cannot be read, or the model does not look at it as one square of pixels, as
            LLaVA's do.
    """
    shown = dict(move_images(inputs.images([image]), backbone.device)[0])
    if PIXELS not in shown or shown[PIXELS].ndim != 3:
        raise InputError(
            "only models of LLaVA's kind, which see an image as one square, can be looked through",
            remedy="Name regions by masks, boxes or heat maps instead.",
        )
    shown[PIXELS] = shown[PIXELS].detach().requires_grad_()
    plan = make_plan([Path((0,), prompt, response)], image_token=inputs.image_token, pad=inputs.pad)
    with torch.enable_grad(), evaluating(backbone.model):
        logp = ScoringModel(backbone)(plan.to(backbone.device), [shown]).sum()
        (gradient,) = torch.autograd.grad(logp, shown[PIXELS])
    return (gradient * shown[PIXELS]).detach().abs().sum(0).double().cpu()


def on_image(
    backbone: Backbone, heat: Float[np.ndarray, "rows columns"], image: FilePath
) -> Float[np.ndarray, "h w"]:
    """Bring a map of the square that the model is shown, at any resolution, back onto the image file."""
    width, height = image_size(image)
    return from_square(heat, height, width, shown=_shown(backbone))


def _shown(backbone: Backbone) -> Shown:
    """Return how the image processor makes a square of an image."""
    processor: Any = getattr(backbone, "processor", None)
    if getattr(processor, "do_pad", False):
        return "padded"
    return "cropped" if getattr(processor, "do_center_crop", False) else "stretched"
