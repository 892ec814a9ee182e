"""The start of a model that a user has: a folder."""

from pydantic import model_validator

from medpref.backbones.families import load_backbone
from medpref.backbones.hf import HFBackbone
from medpref.backbones.loading import LoadSettings
from medpref.files import UserPath
from medpref.starts.base import BackboneFamily, StartContext, backbones


class PretrainedSettings(LoadSettings):
    """A model in a folder, and how it is loaded.

    Attributes:
        path: a folder in the Hugging Face layout, or an original LLaVA-Med or HuatuoGPT-Vision checkpoint.
    """

    path: UserPath

    @model_validator(mode="after")
    def _whole(self) -> "PretrainedSettings":
        if self.quantize is not None:
            raise ValueError("a study's models are saved whole: set quantize under training instead")
        return self


def load_pretrained(settings: PretrainedSettings, *, weights: bool = True) -> HFBackbone:
    """Load the folder that the settings name. Raises as `load_backbone` does."""
    how = settings.model_dump(exclude={"path"})
    return load_backbone(settings.path, weights=weights, **how)


def start_pretrained(settings: PretrainedSettings, context: StartContext) -> HFBackbone:
    """Load the folder that the settings name."""
    return load_pretrained(settings)


backbones.add(
    "pretrained",
    BackboneFamily(
        "a model in a folder: LLaVA-Med, HuatuoGPT-Vision, any Hugging Face vision-language model",
        PretrainedSettings,
        start_pretrained,
    ),
)
