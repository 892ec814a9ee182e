"""How far a vision tower from elsewhere is from the one inside a checkpoint."""

from medpref.backbones.original import Original
from medpref.backbones.original_names import ORIGINAL, TOWER, part_names


def compare_towers(original: Original) -> list[str]:
    """Say by how much the chosen tower differs from the checkpoint's own, where there are two.

    Two towers of different types may differ by rounding alone; the sentence tells that from training.
    """
    if original.tower is original.files:
        return []
    names = part_names(ORIGINAL, original.files.infos, str(original.folder))
    chosen = {part: placed for part, placed in original.parts.items() if part.startswith(TOWER)}
    if not any(part.startswith(TOWER) for part in names):
        return ["the checkpoint holds no tower of its own"]
    largest, rounded, worst = 0.0, 0.0, ""
    for part, placed in chosen.items():
        if part not in names or original.files.infos[names[part]].shape != placed.shape:
            return [f"the checkpoint's own tower is of another shape ({part})"]
        own, other = original.files.tensor(names[part]), placed.tensor()
        difference = float((own.float() - other.float()).abs().max())
        if difference > largest:
            largest, worst = difference, part
        rounded = max(rounded, float((own.float() - other.to(own.dtype).float()).abs().max()))
    if not largest:
        return ["it equals the checkpoint's own"]
    alike = "they are equal" if not rounded else f"the largest difference is {rounded:.3g}"
    return [
        f"it differs from the checkpoint's own by up to {largest:.3g} ({worst}); rounded to its type {alike}"
    ]
