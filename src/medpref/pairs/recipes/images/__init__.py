"""Recipes for rejected images. A corruption is drawn once, before any scoring, and stored."""

from medpref.pairs.recipes.base import Recipe
from medpref.pairs.recipes.images.corruption import (
    Corruption,
    ImageSettings,
    Mask,
    Pixels,
    UnusableImageError,
    corruptions,
    image_recipes,
    to_bytes,
    to_unit,
)
from medpref.pairs.recipes.images.counterfactual import CounterfactualSettings, counterfactual
from medpref.pairs.recipes.images.diffusion import (
    NoiseSettings,
    RegionNoiseSettings,
    diffuse,
    noise,
    outside_noise,
    roi_noise,
)
from medpref.pairs.recipes.images.drawing import corruption_recipe
from medpref.pairs.recipes.images.erased import ErasedSettings, erased
from medpref.pairs.recipes.images.mirror import NAME as MIRROR
from medpref.pairs.recipes.images.mirror import MirrorSettings, mirror
from medpref.pairs.recipes.images.other_patient import OtherPatientSettings, other_patient
from medpref.pairs.recipes.images.region_sources import Region, RegionSettings, random_box
from medpref.pairs.recipes.images.regional import InpaintSettings, RegionBlurSettings, roi_blur, roi_inpaint
from medpref.pairs.recipes.images.sheet import contact_sheet
from medpref.pairs.recipes.images.whole import (
    BlankSettings,
    BlurSettings,
    CropSettings,
    ShuffleSettings,
    blank,
    blur,
    crop,
    flip,
    patch_shuffle,
)

__all__ = [
    "BlankSettings",
    "BlurSettings",
    "CropSettings",
    "ErasedSettings",
    "ImageSettings",
    "InpaintSettings",
    "Mask",
    "MirrorSettings",
    "NoiseSettings",
    "OtherPatientSettings",
    "Pixels",
    "Region",
    "RegionBlurSettings",
    "RegionNoiseSettings",
    "RegionSettings",
    "ShuffleSettings",
    "UnusableImageError",
    "blank",
    "blur",
    "contact_sheet",
    "crop",
    "diffuse",
    "erased",
    "flip",
    "image_recipes",
    "mirror",
    "noise",
    "other_patient",
    "outside_noise",
    "patch_shuffle",
    "random_box",
    "roi_blur",
    "roi_inpaint",
    "roi_noise",
    "to_bytes",
    "to_unit",
]

corruption_recipe(
    "crop", "a random crop that keeps 1–20 % of the area, resized back (mDPO)", CropSettings, crop
)
corruption_recipe(
    "noise", "diffusion noise on the whole image, step 500 of 1,000 (POVID, CHiP)", NoiseSettings, noise
)
corruption_recipe(
    "roi-noise",
    "diffusion noise inside the region of interest (MMedPO)",
    RegionNoiseSettings,
    roi_noise,
    regional=True,
)
corruption_recipe(
    "outside-noise",
    "diffusion noise outside the region of interest: the control of roi-noise",
    RegionNoiseSettings,
    outside_noise,
    regional=True,
)
corruption_recipe(
    "roi-blur", "a Gaussian blur inside the region of interest", RegionBlurSettings, roi_blur, regional=True
)
corruption_recipe(
    "roi-inpaint",
    "the region of interest filled from around it, smoothly",
    InpaintSettings,
    roi_inpaint,
    regional=True,
)
corruption_recipe("blur", "a Gaussian blur of the whole image", BlurSettings, blur)
corruption_recipe("patch-shuffle", "the patches of a grid in another order", ShuffleSettings, patch_shuffle)
corruption_recipe("blank", "a uniform image, black or in the mean colour", BlankSettings, blank)
corruptions[MIRROR] = Corruption(flip, regional=False)
image_recipes.add(
    MIRROR, Recipe("the mirror image, where it makes the chosen side false", MirrorSettings, mirror)
)
image_recipes.add(
    "erased", Recipe("the image's twin with the lesion erased, where there is one", ErasedSettings, erased)
)
image_recipes.add(
    "counterfactual",
    Recipe(
        "the image with one fact changed that the rejected response is right for, where there is one",
        CounterfactualSettings,
        counterfactual,
    ),
)
image_recipes.add(
    "other-patient",
    Recipe("another patient's most similar image with another answer", OtherPatientSettings, other_patient),
)
