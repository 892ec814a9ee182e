"""How a study is cited: a citation file (CFF 1.2.0, https://citation-file-format.github.io)."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

PAPER = {
    "type": "article",
    "title": "Benchmarking Direct Preference Optimization for Medical Large Vision-Language Models",
    "authors": [{"name": "The authors of arXiv:2601.17918"}],
    "identifiers": [{"type": "other", "value": "arXiv:2601.17918"}],
    "url": "https://arxiv.org/abs/2601.17918",
}


def citation(content: Mapping[str, Any], authors: Sequence[str] = ()) -> str:
    """Return the citation file of a study's results.

    Args:
        content: what the study's page shows.
        authors: as ``Family, Given``; a name without a comma is that of a group.

    Returns:
        YAML. Without authors it names the study's as a group: the format asks for one.
    """
    about = content["about"]
    named = [_author(name) for name in authors] or [{"name": f"The authors of the study {content['study']}"}]
    file: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use these results, please cite them as below.",
        "type": "dataset",
        "title": content["title"],
        "authors": named,
        "abstract": f"{content['finding'].sentence} {content['subject']}",
    }
    tool = {"type": "software", "title": "medpref", "authors": [{"name": "The medpref maintainers"}]}
    if about.get("medpref"):
        tool["version"] = str(about["medpref"])
    file["references"] = [tool, PAPER]
    return yaml.dump(file, Dumper=_Plain, sort_keys=False, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Writes every part in full: readers of citation files know no references within YAML."""

    def ignore_aliases(self, data: Any) -> bool:
        """Tell that nothing is referred to."""
        return True


def _author(name: str) -> dict[str, str]:
    family, comma, given = (part.strip() for part in name.partition(","))
    return {"family-names": family, "given-names": given} if comma and given else {"name": name.strip()}
