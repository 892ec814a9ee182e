"""The metrics of reports by name."""

from pathlib import Path

from medpref.evaluation.radiology.base import Metric, metrics

_SCORERS = Path(__file__).parent / "scorers"

metrics.add(
    "radgraph-f1",
    Metric(
        summary="overlap of entities and relations (Jain et al. 2021, arXiv:2106.14463), partial reward",
        package="radgraph",
        distribution="radgraph",
        extra="radgraph",
        models="radgraph-xl from StanfordAIMI/RRG_scorers, and its tokenizer",
        scorer=_SCORERS / "radgraph_f1.py",
    ),
)
metrics.add(
    "chexbert-f1",
    Metric(
        summary="F1 of each report's CheXbert findings, 14 labels (Smit et al. 2020, arXiv:2004.09167)",
        package="radeval",
        distribution="radeval",
        extra="radeval",
        models="chexbert.pth from StanfordAIMI/RRG_scorers, and bert-base-uncased's configuration",
        scorer=_SCORERS / "chexbert_f1.py",
        batch=64,
    ),
)
metrics.add(
    "ratescore",
    Metric(
        summary="similarity of medical entities (Zhao et al. 2024, arXiv:2406.16845)",
        package="RaTEScore",
        distribution="RaTEScore",
        extra="ratescore",
        models="Angelakeke/RaTE-NER-Deberta and FremyCompany/BioLORD-2023-C",
        scorer=_SCORERS / "ratescore.py",
    ),
)
metrics.add(
    "green",
    Metric(
        summary="matched findings against errors as a 7B model counts them (Ostmeier et al. 2024, "
        "arXiv:2405.03595)",
        package="radeval",
        distribution="radeval",
        extra="radeval",
        models="StanfordAIMI/GREEN-radllama2-7b, which runs code of its own repository",
        scorer=_SCORERS / "green.py",
        batch=8,
    ),
)
metrics.add(
    "meteor",
    Metric(
        summary="METEOR 1.5 (Denkowski and Lavie 2014): exact, stem, synonym and paraphrase matches",
        package="pycocoevalcap",
        distribution="pycocoevalcap",
        extra="meteor",
        models="",
        scorer=_SCORERS / "meteor.py",
        batch=64,
    ),
)
