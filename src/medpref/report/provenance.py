"""What a study rests on and what it took: hashes of questions, images, pairs and models; time and energy."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from medpref.report.energy import energy_text, estimate_energy
from medpref.report.wording import counted, duration


class HashLine(NamedTuple):
    """Something that the study rests on; a model's hash is its fingerprint, all others are SHA-256."""

    part: str
    name: str
    holds: str
    digest: str


class Fact(NamedTuple):
    """A fact about the run, with what it is called."""

    name: str
    text: str


def hash_lines(manifest: Mapping[str, Any]) -> list[HashLine]:
    """Return the hashes of logs/manifest.json, the test first."""
    return [*_asked(manifest.get("test") or {}), *_rows(manifest), *_models(manifest.get("models") or {})]


def _asked(test: Mapping[str, Any]) -> Iterator[HashLine]:
    for task, found in test.items():
        yield HashLine("questions", task, counted(found["samples"], "question"), found["sha256"])
        images = found["images_sha256"]
        if found["images"]:
            yield HashLine("images", task, counted(found["images"], "image"), images or "not all were there")


def _rows(manifest: Mapping[str, Any]) -> Iterator[HashLine]:
    for part in ("data", "pairs"):
        for name, found in (manifest.get(part) or {}).items():
            if found["rows"]:
                yield HashLine(part, name, counted(found["rows"], "row"), found["sha256"])


def _models(models: Mapping[str, str]) -> Iterator[HashLine]:
    for name, fingerprint in models.items():
        yield HashLine("model", name, "", fingerprint)


def summary(about: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return leakage, time, energy and device in a line or two for the head of the page."""
    told = [f"{fact.text} ({fact.name.partition(', ')[2]})." for fact in leakage_facts(data)]
    stages, hardware = about.get("stages") or {}, about.get("hardware") or {}
    if stages:
        device = hardware.get("gpu") or hardware.get("cpu")
        text = duration(sum(stages.values())) + (f" on {device}" if device else "")
        energy = estimate_energy(about)
        if energy and energy.watt_hours is not None:
            text += f", {energy_text(energy)} by estimate"
        told.append(f"Computed in {text}.")
    return " ".join(told)


def leakage_facts(data: Mapping[str, Any]) -> list[Fact]:
    """Say how many test images, and patients, were also trained on, as far as the data tells.

    Images are compared by the files' names and, where the data stage did so, by their bytes.
    """
    found = []
    for key, way in (("leakage", "by file"), ("leakage_by_content", "by the files’ bytes")):
        told = data.get(key) or {}
        if "test_images" in told:
            text = f"{told.get('also_in_train', 0):,} of {counted(told['test_images'], 'test image')}"
            found.append(Fact(f"Leakage, {way}", f"{text} also occur in what was trained on"))
        if "test_patients" in told:
            seen = told.get("patients_also_in_train", 0)
            text = f"{seen:,} of {counted(told['test_patients'], 'test patient')}"
            found.append(Fact("Leakage, patients", f"{text} also occur in what was trained on"))
    return found


def run_facts(about: Mapping[str, Any]) -> list[Fact]:
    """Return when, how long and on what a study ran, and an estimate of its energy."""
    found = []
    if about.get("started"):
        found.append(Fact("Started", str(about["started"])))
    stages = about.get("stages") or {}
    if stages:
        found.append(Fact("Work", f"{duration(sum(stages.values()))} in {counted(len(stages), 'stage')}"))
    if about.get("seconds") is not None:
        found.append(Fact("Last session", f"{duration(about['seconds'])}; what was done before is not in it"))
    energy = estimate_energy(about)
    if energy:
        found.append(Fact("Energy", f"{energy_text(energy)}: {energy.basis}"))
    found += [Fact(_HARDWARE.get(k, k), str(v)) for k, v in (about.get("hardware") or {}).items() if v]
    found += [Fact(name, str(text)) for name, text in (about.get("versions") or {}).items()]
    if about.get("medpref"):
        found.append(Fact("medpref", str(about["medpref"])))
    return found


_HARDWARE: Mapping[str, str] = {
    "cpu": "Processor",
    "cores": "Cores",
    "memory_gb": "Memory, GB",
    "system": "System",
    "gpu": "GPU",
    "gpu_watts": "GPU limit, W",
}
