"""Find the parts of a model of any class by the names of its modules."""

from collections.abc import Mapping

from torch import nn

# What the classes of transformers call their parts; the outermost module with one of the names is taken.
PART_NAMES: Mapping[str, tuple[str, ...]] = {
    "tower": ("vision_tower", "visual", "vision_model", "vision_encoder", "image_encoder", "vit"),
    "projector": (
        "multi_modal_projector",
        "connector",
        "projector",
        "merger",
        "aligner",
        "resampler",
        "embed_vision",
        "vision_projection",
        "qformer",
    ),
    "language_model": ("language_model", "text_model", "llm"),
}


def find_parts(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the modules of the parts that can be told by their names.

    A projector that lies inside the tower is none of the tower's modules.
    """
    names = sorted((name for name, _ in model.named_modules() if name), key=lambda name: name.count("."))
    found: dict[str, tuple[str, ...]] = {}
    for part, known in PART_NAMES.items():
        fitting = [name for name in names if name.rsplit(".", 1)[-1] in known]
        if fitting:
            found[part] = (fitting[0],)
    tower, projector = found.get("tower"), found.get("projector")
    if tower and projector and projector[0].startswith(f"{tower[0]}."):
        children = (f"{tower[0]}.{name}" for name, _ in model.get_submodule(tower[0]).named_children())
        found["tower"] = tuple(name for name in children if name != projector[0])
    return found
