"""Plans of models whose images take as many tokens as their size asks for, against torch's own counter."""

import pytest
import torch
from tests.backbones.tiny_gemma import build_tiny_gemma
from tests.backbones.tiny_qwen import build_tiny_qwen
from torch.utils.flop_counter import FlopCounterMode

from medpref.backbones.hf import HFBackbone
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer
from medpref.study.dry.flops import forward_flops
from medpref.study.dry.measure import measure
from medpref.study.dry.passes import lay_out

CELLS = [Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED]
MAKERS = {
    "qwen2_vl": lambda: build_tiny_qwen("qwen2_vl"),
    "qwen2_5_vl": lambda: build_tiny_qwen("qwen2_5_vl"),
    "qwen3_vl": lambda: build_tiny_qwen("qwen3_vl"),
    "gemma3": build_tiny_gemma,
}


@pytest.mark.parametrize("family", list(MAKERS))
def test_a_pass_takes_the_flops_that_are_planned(family: str, make_pair, make_image) -> None:
    backbone: HFBackbone = MAKERS[family]()
    size = (84, 140)
    pairs = [make_pair(str(n), (make_image(f"{n}.png", n, size),)) for n in range(2)]
    scorer = Scorer(backbone)
    _, load = lay_out(scorer, [(pair, cell) for cell in CELLS for pair in pairs])
    model = measure(backbone, [(size[1], size[0])])
    planned, tower = forward_flops(model, load), model.tower
    # torch does not count attention on the CPU.
    among_patches = load.encoded * 4 * tower.width * tower.tokens**2 * tower.layers
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        scorer.score(pairs, CELLS)
    found = counter.get_flop_counts()["Global"]
    kinds = ("mm", "addmm", "convolution", "bmm")
    counted = sum(count for operation, count in found.items() if str(operation).split(".")[-1] in kinds)
    assert planned.total - planned.attention - among_patches == pytest.approx(counted, rel=0.02)


def test_image_tokens_are_means_over_the_images() -> None:
    backbone = MAKERS["qwen2_5_vl"]()
    small, large = (112, 112), (224, 168)
    tokens = [measure(backbone, [size]).image_tokens for size in (small, large)]
    assert tokens[0] != tokens[1]
    assert measure(backbone, [small, large]).image_tokens == sum(tokens) / 2
