"""The head in axial, coronal and sagittal section (CT and MRI)."""

import numpy as np

from medpref.phantoms.canvas import Canvas, Field


def _cranium(canvas: Canvas, distance: Field) -> None:
    """Paint scalp, skull and fluid; ``distance`` is the signed distance to the skin, positive inside."""
    scalp, bone = 0.04 * canvas.vary(0.3), 0.06 * canvas.vary(0.2)
    canvas.paint(canvas.soft(distance), "scalp")
    canvas.paint(canvas.soft(distance - scalp), "skull")
    middle = distance - scalp - bone / 2
    canvas.paint(canvas.soft(bone / 5 - np.abs(middle)), "diploe")
    canvas.paint(canvas.soft(distance - scalp - bone), "cerebrospinal fluid")


def _folded_cortex(canvas: Canvas, depth: Field) -> None:
    """Paint cerebral hemispheres; ``depth`` is the distance from the brain's surface, positive inside."""
    canvas.paint(canvas.soft(depth), "grey matter")
    sulci, distance = canvas.creases(cells=12, width=0.02)
    reach = canvas.soft(0.26 - depth, 0.12)
    # White matter fills what is neither near the surface nor near the walls of a sulcus.
    walls = canvas.soft(distance - 0.052) + (1 - reach)
    canvas.paint(canvas.soft(depth - 0.055) * np.minimum(walls, 1), "white matter")
    canvas.paint(canvas.soft(depth) * sulci * canvas.soft(0.22 - depth, 0.1), "cerebrospinal fluid", 0.85)


def axial(canvas: Canvas) -> None:
    """Paint an axial section at the level of the lateral ventricles and the basal ganglia."""
    width, length = 0.77 * canvas.vary(0.04), 0.92 * canvas.vary(0.03)
    u = canvas.u
    canvas.u = u * (1 - 0.12 * canvas.v)  # the head is narrower in front
    head = canvas.ellipse_distance((0, 0), (width, length))
    _cranium(canvas, head)
    depth = head - 0.125
    _folded_cortex(canvas, depth)
    canvas.allow(canvas.soft(depth - 0.02))

    canvas.paint(canvas.stroke([(0.6, -0.2), (0.46, -0.08), (0.41, 0.05)], 0.03, True), "cerebrospinal fluid")
    canvas.paint(canvas.pair((0.27, -0.06), (0.075, 0.15), 0.35), "grey matter")
    canvas.paint(canvas.pair((0.115, 0.07), (0.085, 0.14), -0.3), "grey matter")
    canvas.paint(canvas.pair((0.155, -0.23), (0.05, 0.09), 0.3), "grey matter")

    ventricle = 0.07 * canvas.vary(0.35)
    horns = canvas.stroke([(0.13, -0.34), (0.06, -0.16), (0.045, -0.04)], ventricle, True)
    atria = canvas.stroke([(0.15, 0.2), (0.23, 0.31), (0.2, 0.46)], 1.15 * ventricle, True)
    third = canvas.stroke([(0, 0.0), (0, 0.14)], 0.03)
    canvas.paint(np.maximum(np.maximum(horns, atria), third), "cerebrospinal fluid")

    fissure = np.minimum(canvas.soft(0.02 - np.abs(u)), canvas.soft(depth + 0.02))
    fissure = fissure * canvas.soft(np.abs(canvas.v + 0.02) - 0.4)
    canvas.paint(fissure, "cerebrospinal fluid")
    canvas.paint(fissure * canvas.soft(0.007 - np.abs(u)), "falx")
    canvas.u = u


def coronal(canvas: Canvas) -> None:
    """Paint a coronal section through ventricles, temporal lobes, brainstem and cerebellum."""
    neck = canvas.soft(0.5 * canvas.vary() - np.abs(canvas.u) + 0.1 * (canvas.v - 0.7))
    neck = neck * canvas.soft(canvas.v - 0.5)
    canvas.paint(neck, "scalp")
    canvas.paint(canvas.soft(0.42 - np.abs(canvas.u)) * canvas.soft(canvas.v - 0.5), "muscle")
    column = canvas.soft(0.13 - np.abs(canvas.u)) * canvas.soft(canvas.v - 0.5)
    canvas.paint(column * canvas.stripes(canvas.v, 0.16, 0.12), "marrow")
    canvas.paint(canvas.stroke([(0, 0.5), (0, 1.2)], 0.08), "nerve")

    width, height = 0.80 * canvas.vary(0.03), 0.86 * canvas.vary(0.03)
    head = canvas.ellipse_distance((0, -0.04), (width, height))
    _cranium(canvas, head)
    vault = head - 0.12
    tentorium = 0.34 - 0.32 * np.abs(canvas.u) - canvas.v  # positive above the tentorium
    lobes = canvas.ellipse_distance((0.42, 0.18), (0.25, 0.27))
    lobes = np.maximum(lobes, canvas.ellipse_distance((-0.42, 0.18), (0.25, 0.27)))
    cerebrum = np.minimum(vault, np.maximum(0.16 + 0.2 * np.abs(canvas.u) - canvas.v, lobes))
    cerebellum = np.minimum(canvas.ellipse_distance((0, 0.38), (0.52, 0.28)), vault)
    _cerebellum(canvas, cerebellum - 0.01, canvas.v + 0.5 * canvas.u**2)
    _folded_cortex(canvas, np.minimum(cerebrum, tentorium + 0.2))
    canvas.paint(canvas.blob((0, 0.32), (0.13, 0.26)), "white matter")
    canvas.allow(canvas.soft(np.maximum(cerebrum, cerebellum) - 0.02))

    canvas.paint(
        canvas.stroke([(0.66, 0.06), (0.48, 0.0), (0.38, -0.08)], 0.035, True), "cerebrospinal fluid"
    )
    canvas.paint(canvas.pair((0.26, -0.06), (0.08, 0.13), 0.35), "grey matter")
    canvas.paint(canvas.pair((0.1, 0.02), (0.08, 0.09)), "grey matter")
    ventricle = 0.09 * canvas.vary(0.35)
    canvas.paint(canvas.stroke([(0.04, -0.16), (0.15, -0.24)], ventricle, True), "cerebrospinal fluid")
    canvas.paint(canvas.stroke([(0, -0.06), (0, 0.1)], 0.03), "cerebrospinal fluid")
    fissure = canvas.soft(0.02 - np.abs(canvas.u)) * canvas.soft(-0.36 - canvas.v) * canvas.soft(vault + 0.02)
    canvas.paint(fissure, "cerebrospinal fluid")
    canvas.paint(fissure * canvas.soft(0.007 - np.abs(canvas.u)), "falx")


def _cerebellum(canvas: Canvas, depth: Field, folia: Field) -> None:
    """Paint a cerebellum whose folia follow the level lines of ``folia``."""
    canvas.paint(canvas.soft(depth + 0.03), "cerebrospinal fluid")
    canvas.paint(canvas.soft(depth), "grey matter")
    canvas.paint(canvas.soft(depth) * canvas.stripes(folia, 0.085, 0.03), "white matter", 0.8)
    canvas.paint(canvas.soft(depth - 0.12, 0.06), "white matter", 0.7)


def _face(canvas: Canvas) -> None:
    """Paint the profile of the face and the neck, seen from the side with the face to image left."""
    profile = [(-0.66, 0.0), (-0.72, 0.2), (-0.6, 0.45), (-0.56, 0.72)]
    canvas.paint(canvas.stroke([(-0.38, 0.48), (-0.3, 0.62)], 0.62), "scalp")
    canvas.paint(canvas.blob((-0.14, 0.3), (0.13, 0.07), 0.3), "air")  # sphenoid sinus
    canvas.paint(canvas.stroke(profile, 0.22), "scalp")
    canvas.paint(canvas.ellipse((-0.82, 0.24), (0.1, 0.07), -0.7), "scalp")
    canvas.paint(canvas.stroke([(0.42, 0.66), (0.46, 1.2)], 0.2), "muscle")
    canvas.paint(canvas.blob((-0.42, 0.62), (0.22, 0.14)), "muscle")
    canvas.paint(canvas.stroke([(-0.7, 0.34), (-0.3, 0.36), (-0.08, 0.42), (-0.05, 1.2)], 0.1), "air")
    canvas.paint(canvas.stroke([(-0.62, 0.46), (-0.3, 0.48)], 0.05), "skull")
    canvas.paint(canvas.blob((-0.62, 0.86), (0.07, 0.08)), "skull")
    # The cervical vertebrae.
    column = canvas.soft(0.075 - np.abs(canvas.u - 0.1)) * canvas.soft(canvas.v - 0.58)
    canvas.paint(column * canvas.stripes(canvas.v, 0.16, 0.12), "marrow")


def sagittal(canvas: Canvas) -> None:
    """Paint a section near the midline, the face to image left."""
    canvas.paint(canvas.stroke([(0.2, 0.4), (0.25, 1.2)], 0.72), "scalp")  # the neck
    width, height = 0.86 * canvas.vary(0.03), 0.74 * canvas.vary(0.03)
    head = canvas.ellipse_distance((0.06, -0.16), (width, height), 0.08)
    _cranium(canvas, head)
    vault = head - 0.12
    # The skull base rises from the posterior fossa towards the forehead.
    base = 0.24 + 0.4 * np.clip(canvas.u + 0.15, -0.6, 0.5) - canvas.v
    below = canvas.soft(-base) * canvas.soft(0.1 - canvas.u)
    canvas.paint(below * canvas.soft(head - 0.06), "muscle")
    _face(canvas)
    canvas.paint(
        canvas.soft(0.025 - np.abs(base)) * canvas.soft(vault + 0.05) * canvas.soft(0.15 - canvas.u), "skull"
    )
    tentorium = 0.2 - 0.25 * (canvas.u - 0.4) - canvas.v
    # The tentorium bounds the cerebrum behind the brainstem, the skull base in front of it.
    floor = np.maximum(tentorium, canvas.soft(0.1 - canvas.u) - 0.5)
    cerebrum = np.minimum(np.minimum(vault, floor), base - 0.04)
    fossa = np.minimum(canvas.ellipse_distance((0.45, 0.28), (0.3, 0.25)), vault + 0.02)
    _folded_cortex(canvas, cerebrum)
    folia = np.sqrt((canvas.u - 0.22) ** 2 + (canvas.v - 0.24) ** 2)
    _cerebellum(canvas, fossa - 0.02, folia)
    canvas.allow(canvas.soft(np.maximum(cerebrum, fossa) - 0.02))
    _midline_structures(canvas)


def _midline_structures(canvas: Canvas) -> None:
    """Paint corpus callosum, ventricles and brainstem of the midline section."""
    arch = [(-0.26, 0.0), (-0.28, -0.12), (-0.14, -0.24), (0.08, -0.26), (0.24, -0.17), (0.26, -0.06)]
    ventricle = [(-0.2, -0.06), (-0.1, -0.15), (0.08, -0.17), (0.18, -0.1)]
    canvas.paint(canvas.stroke(ventricle, 0.09 * canvas.vary(0.3)), "cerebrospinal fluid")
    canvas.paint(canvas.stroke(arch, 0.075), "white matter")
    canvas.paint(canvas.blob((0.03, -0.02), (0.12, 0.08)), "grey matter")
    brainstem = canvas.stroke([(0.08, 0.08), (0.14, 0.26), (0.2, 0.48)], 0.16)
    canvas.paint(canvas.stroke([(0.12, 0.12), (0.2, 0.5), (0.24, 1.2)], 0.2), "cerebrospinal fluid")
    canvas.paint(brainstem, "white matter")
    canvas.paint(canvas.blob((0.08, 0.25), (0.1, 0.1)), "white matter")
    canvas.paint(canvas.stroke([(0.2, 0.48), (0.25, 1.2)], 0.085), "white matter")
    canvas.paint(canvas.stroke([(0.235, 0.2), (0.26, 0.3)], 0.045), "cerebrospinal fluid")
    canvas.allow(brainstem)
