"""What prompts share up to their last image."""

import torch

from medpref.backbones.stems import find_stems, stem_length

IMAGE = 9
A, B = {"pixel_values": torch.zeros(1)}, {"pixel_values": torch.zeros(1)}


def test_a_stem_ends_with_the_last_image_token() -> None:
    assert stem_length([1, 9, 9, 2, 9, 3], IMAGE) == 5
    assert stem_length([1, 2], IMAGE) == 0


def test_rows_on_one_image_share_a_stem() -> None:
    found = find_stems([[1, 9, 5], [1, 9, 6, 7], [1, 9, 5]], [[A], [A], [B]], IMAGE)
    assert found is not None
    assert found.rows == (0, 0, 1)
    assert [stem.ids for stem in found.stems] == [(1, 9), (1, 9)]
    assert found.stems[1].images[0] is B


def test_nothing_is_shared_where_it_would_gain_nothing_or_be_wrong() -> None:
    assert find_stems([[1, 9, 5], [1, 9, 6]], [[A], [B]], IMAGE) is None, "no image twice"
    assert find_stems([[1, 9, 5], [1, 2, 9, 6]], [[A], [A]], IMAGE) is None, "other lengths"
    assert find_stems([[1, 9, 5], [2, 9, 6]], [[A], [A]], IMAGE) is None, "other words before the image"
    assert find_stems([[1, 9], [1, 9]], [[A], [A]], IMAGE) is None, "nothing behind the image"
    assert find_stems([[1, 5], [1, 5]], [[], []], IMAGE) is None, "no image"
