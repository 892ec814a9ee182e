import torch
from torch import Tensor


def check_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Compare tensor by tensor; the floor is for those that are zero but for rounding, such as key biases."""
    assert ours.keys() == theirs.keys()
    whole = torch.cat([gradient.flatten() for gradient in theirs.values()]).norm()
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-7 * whole, name
