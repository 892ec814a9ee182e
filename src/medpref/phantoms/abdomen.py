"""The abdomen in axial and coronal section (CT and MRI)."""

import numpy as np

from medpref.phantoms.canvas import Canvas, Field


def _bowel(canvas: Canvas, region: Field, cells: int = 11) -> None:
    """Paint loops of bowel, partly filled with fluid or gas, into a region of fat."""
    _, distance = canvas.creases(cells=cells, width=0.02)
    loops = region * canvas.soft(distance - 0.012)
    canvas.paint(loops, "bowel", 0.9)
    content = canvas.noise(8)
    lumen = region * canvas.soft(distance - 0.045)
    canvas.paint(lumen * canvas.soft(content - 0.5, 0.3), "fluid", 0.8)
    canvas.paint(lumen * canvas.soft(-content - 1.1, 0.3), "air", 0.9)


def _kidney(canvas: Canvas, centre: tuple[float, float], radii: tuple[float, float], angle: float) -> None:
    """Paint a kidney with its medulla and the fat of its sinus; the hilum faces the midline."""
    kidney = canvas.blob(centre, radii, angle)
    inner = (centre[0] * 0.93, centre[1])
    canvas.paint(kidney, "kidney")
    canvas.paint(canvas.ellipse(inner, (radii[0] * 0.6, radii[1] * 0.65), angle), "medulla")
    canvas.paint(canvas.ellipse((inner[0] * 0.9, inner[1]), (radii[0] * 0.35, radii[1] * 0.4), angle), "fat")
    canvas.allow(kidney)


def axial(canvas: Canvas) -> None:
    """Paint an axial section through liver, stomach, spleen and both kidneys."""
    skin = canvas.ellipse_distance((0, 0), (0.93 * canvas.vary(0.03), 0.73 * canvas.vary(0.05)))
    fat = 0.06 * canvas.vary(0.4)
    canvas.paint(canvas.soft(skin), "muscle")
    canvas.paint(canvas.soft(skin - 0.02), "fat")
    canvas.paint(canvas.soft(skin - fat - 0.02), "muscle")
    cavity_distance = np.minimum(skin - fat - 0.09, canvas.ellipse_distance((0, -0.1), (0.9, 0.62)))
    cavity = canvas.soft(cavity_distance)
    canvas.paint(cavity, "fat")
    _bowel(canvas, cavity * canvas.ellipse((0.12, -0.15), (0.42, 0.32)))
    angle = np.arctan2(canvas.v, canvas.u)
    ribs = canvas.soft(0.02 - np.abs(cavity_distance + 0.035)) * canvas.stripes(angle, 2 * np.pi / 14, 0.22)
    canvas.paint(ribs * canvas.soft(np.abs(canvas.u) - 0.3), "bone")

    liver = canvas.blob((-0.48, -0.1), (0.40, 0.46), -0.15)
    left_lobe = canvas.blob((-0.1, -0.32), (0.36, 0.17), -0.15)
    liver = np.maximum(liver, left_lobe) * cavity
    spleen = canvas.blob((0.62, 0.14), (0.19, 0.32), -0.3) * cavity
    stomach = canvas.blob((0.4, -0.24), (0.27, 0.22), 0.5) * cavity
    _stomach(canvas, stomach)
    canvas.paint(spleen, "spleen")
    canvas.paint(liver, "liver")
    vessels, _ = canvas.creases(cells=9, width=0.02)
    canvas.paint(liver * vessels * canvas.soft(canvas.noise(9) - 0.1, 0.8), "blood", 0.4)
    canvas.paint(canvas.blob((-0.24, -0.16), (0.08, 0.11), 0.4), "fluid")  # gallbladder
    for mask in (liver, spleen, stomach):
        canvas.allow(mask)
    canvas.paint(canvas.stroke([(-0.12, -0.02), (0.12, -0.06), (0.38, 0.06)], 0.1), "bowel")  # pancreas
    _retroperitoneum(canvas)


def _stomach(canvas: Canvas, stomach: Field) -> None:
    canvas.paint(stomach, "bowel")
    canvas.paint(canvas.soft(stomach - 0.98, 0.05), "fluid", 0.6)
    # The patient lies on the back: the gas rises to the front, above a level.
    canvas.paint(stomach * canvas.soft(-0.33 - canvas.v), "air")


def _retroperitoneum(canvas: Canvas) -> None:
    canvas.paint(canvas.pair((0.32, 0.55), (0.22, 0.11), -0.2), "muscle")
    canvas.paint(canvas.pair((0.22, 0.3), (0.09, 0.12)), "muscle")
    canvas.paint(canvas.pair((0.39, 0.26), (0.19, 0.2)), "fat")
    _kidney(canvas, (-0.4, 0.26), (0.14, 0.16), 0.4)
    _kidney(canvas, (0.4, 0.25), (0.14, 0.16), -0.4)
    canvas.paint(canvas.blob((0.07, 0.12), (0.07, 0.07)), "blood")  # aorta
    canvas.paint(canvas.blob((-0.12, 0.11), (0.085, 0.06)), "blood", 0.8)  # inferior vena cava
    canvas.paint(canvas.stroke([(0, 0.47), (0.25, 0.45)], 0.05, True), "bone")
    canvas.paint(canvas.stroke([(0, 0.46), (0, 0.62)], 0.05), "bone")
    canvas.paint(canvas.ellipse((0, 0.3), (0.15, 0.12)), "bone")
    canvas.paint(canvas.ellipse((0, 0.3), (0.12, 0.09)), "marrow")
    canvas.paint(canvas.ellipse((0, 0.455), (0.06, 0.045)), "fluid")
    canvas.forbid(canvas.ellipse((0, 0.35), (0.2, 0.3)))


def coronal(canvas: Canvas) -> None:
    """Paint a coronal section from the lung bases to the bladder."""
    across = np.abs(canvas.u)
    waist = 0.86 * canvas.vary(0.03) - 0.05 * np.cos(3.5 * (canvas.v - 0.1)) - across
    canvas.paint(canvas.soft(waist), "muscle")
    canvas.paint(canvas.soft(waist - 0.02), "fat")
    fat = 0.06 * canvas.vary(0.4)
    canvas.paint(canvas.soft(waist - fat - 0.02), "muscle")
    cavity_distance = np.minimum(waist - fat - 0.09, canvas.ellipse_distance((0, -0.15), (0.95, 1.12)))
    cavity = canvas.soft(cavity_distance)
    canvas.paint(cavity, "fat")
    ribs = canvas.soft(0.022 - np.abs(cavity_distance + 0.04)) * canvas.stripes(canvas.v, 0.19, 0.09)
    canvas.paint(ribs * canvas.soft(-0.05 - canvas.v), "bone")
    _bowel(canvas, cavity * canvas.ellipse((0, 0.35), (0.7, 0.5)))
    canvas.allow(cavity * canvas.ellipse((0, 0.32), (0.66, 0.52)))
    _pelvis(canvas)
    _spine(canvas)
    _upper_organs(canvas, cavity)


def _pelvis(canvas: Canvas) -> None:
    wings = canvas.stroke([(0.66, 0.5), (0.5, 0.72), (0.36, 0.95)], 0.11, True)
    canvas.paint(canvas.stroke([(0.72, 0.62), (0.62, 0.95)], 0.24, True), "muscle")
    canvas.paint(wings, "bone")
    canvas.paint(canvas.stroke([(0.64, 0.54), (0.5, 0.74), (0.38, 0.92)], 0.06, True), "marrow")
    canvas.paint(canvas.blob((0, 0.86), (0.24, 0.14)), "muscle")
    bladder = canvas.blob((0, 0.86), (0.2, 0.11))
    canvas.paint(bladder, "fluid")
    canvas.forbid(np.maximum(wings, bladder))


def _spine(canvas: Canvas) -> None:
    canvas.paint(canvas.stroke([(0.16, -0.05), (0.2, 0.25), (0.34, 0.62)], 0.16, True), "muscle")  # psoas
    column = canvas.soft(0.11 - np.abs(canvas.u)) * canvas.soft(0.55 - canvas.v, 0.1)
    canvas.paint(column, "muscle")
    bodies = column * canvas.stripes(canvas.v, 0.2, 0.15)
    canvas.paint(bodies, "bone")
    bodies = canvas.soft(0.085 - np.abs(canvas.u)) * canvas.stripes(canvas.v, 0.2, 0.11)
    canvas.paint(bodies * column, "marrow")
    canvas.forbid(column)


def _upper_organs(canvas: Canvas, cavity: Field) -> None:
    dome_right = canvas.ellipse_distance((-0.42, -0.28), (0.5, 0.56))
    dome_left = canvas.ellipse_distance((0.44, -0.24), (0.46, 0.52))
    lungs = cavity * canvas.soft(-0.3 - canvas.v) * (1 - canvas.soft(np.maximum(dome_right, dome_left)))
    canvas.paint(lungs, "lung")
    canvas.paint(canvas.blob((0.02, -0.95), (0.26, 0.2)), "muscle")
    canvas.paint(canvas.soft(0.1 - np.abs(canvas.u)) * canvas.soft(-0.62 - canvas.v), "blood", 0.6)
    _kidney(canvas, (-0.36, 0.2), (0.13, 0.23), 0.2)
    _kidney(canvas, (0.36, 0.12), (0.13, 0.23), -0.2)
    stomach = canvas.blob((0.32, -0.36), (0.19, 0.27), 0.4) * cavity
    spleen = canvas.blob((0.62, -0.28), (0.15, 0.28), -0.2) * cavity
    canvas.paint(spleen, "spleen")
    canvas.paint(stomach, "bowel")
    canvas.paint(canvas.ellipse((0.32, -0.36), (0.13, 0.2), 0.4), "fluid", 0.5)
    liver = canvas.soft(np.minimum(dome_right, 0.02 - 0.5 * (canvas.u + 0.4) - canvas.v))
    liver = liver * cavity
    canvas.paint(liver, "liver")
    vessels, _ = canvas.creases(cells=9, width=0.02)
    canvas.paint(liver * vessels * canvas.soft(canvas.noise(9) - 0.1, 0.8), "blood", 0.4)
    canvas.paint(canvas.blob((-0.3, 0.0), (0.07, 0.1), 0.3), "fluid")  # gallbladder
    for mask in (liver, spleen, stomach):
        canvas.allow(mask)
