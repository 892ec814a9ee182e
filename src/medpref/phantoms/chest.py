"""The chest in axial and coronal CT section."""

import numpy as np

from medpref.phantoms.canvas import Canvas, Field


def _parenchyma(canvas: Canvas, lungs: Field) -> None:
    """Paint lungs with their vessels, which thin out towards the pleura."""
    canvas.paint(lungs, "lung")
    vessels, _ = canvas.creases(cells=17, width=0.016)
    central = np.clip(0.9 - 1.1 * np.abs(np.abs(canvas.u) - 0.25), 0, 1)
    canvas.paint(lungs * vessels * canvas.soft(canvas.noise(12) - 0.1, 0.9), "muscle", 0.65)
    canvas.add(lungs * central * canvas.noise(16), 0.022)
    canvas.allow(lungs)


def axial(canvas: Canvas) -> None:
    """Paint an axial section through the heart, at the level of the descending aorta."""
    skin = canvas.ellipse_distance((0, 0), (0.94, 0.70 * canvas.vary(0.04)))
    canvas.paint(canvas.soft(skin), "muscle")
    canvas.paint(canvas.soft(skin - 0.02), "fat")
    wall = canvas.ellipse_distance((0, 0.0), (0.86, 0.60))
    canvas.paint(canvas.soft(wall), "muscle")
    # The ribs cut the section obliquely: bright dashes along the thoracic wall.
    angle = np.arctan2(canvas.v, canvas.u)
    ribs = canvas.soft(0.028 - np.abs(wall - 0.055)) * canvas.stripes(angle + 0.2, 2 * np.pi / 13, 0.27)
    canvas.paint(ribs, "bone")

    lungs = np.maximum(
        canvas.blob((-0.44, -0.02), (0.33, 0.5), 0.12), canvas.blob((0.45, 0.0), (0.32, 0.49), -0.12)
    )
    lungs = np.minimum(lungs, canvas.soft(wall - 0.1))
    mediastinum = canvas.stroke([(0, -0.45), (0.0, 0.35)], 0.2)
    _parenchyma(canvas, lungs)
    _mediastinum(canvas, mediastinum)
    canvas.paint(canvas.stroke([(-0.8, 0.84), (0.0, 0.9), (0.8, 0.84)], 0.025), "muscle")  # the table


def _mediastinum(canvas: Canvas, mediastinum: Field) -> None:
    canvas.paint(mediastinum, "fat")
    heart = canvas.blob((0.09, -0.1), (0.28, 0.22), 0.5)
    canvas.paint(canvas.ellipse((0.08, -0.1), (0.32, 0.26), 0.5), "fat")
    canvas.paint(heart, "muscle")
    canvas.paint(canvas.pair((0.12, -0.08), (0.11, 0.11)), "blood", 0.9)
    canvas.paint(canvas.blob((0.2, 0.01), (0.1, 0.08)), "blood")
    canvas.paint(canvas.blob((0.14, 0.27), (0.075, 0.075)), "blood")  # descending aorta
    canvas.paint(canvas.stroke([(-0.12, 0.34), (0.12, 0.34)], 0.14), "muscle")
    _vertebra(canvas, 0.38)
    canvas.paint(canvas.blob((0, -0.5), (0.13, 0.035)), "bone")  # sternum
    canvas.forbid(np.maximum(np.maximum(mediastinum, heart), canvas.ellipse((0, 0.42), (0.2, 0.2))))


def _vertebra(canvas: Canvas, v: float) -> None:
    """Paint a vertebra in axial section whose body is centred on height ``v``."""
    canvas.paint(canvas.stroke([(0, v + 0.14), (0.18, v + 0.14)], 0.06, True), "bone")
    canvas.paint(canvas.stroke([(0, v + 0.14), (0, v + 0.24)], 0.05), "bone")
    canvas.paint(canvas.ellipse((0, v), (0.12, 0.10)), "bone")
    canvas.paint(canvas.ellipse((0, v), (0.09, 0.07)), "marrow")
    canvas.paint(canvas.ellipse((0, v + 0.125), (0.055, 0.045)), "nerve")


def coronal(canvas: Canvas) -> None:
    """Paint a coronal section through heart, trachea and liver dome."""
    across = np.abs(canvas.u)
    trunk = 0.86 - across - 0.1 * np.clip(-0.3 - canvas.v, 0, 1)
    shoulders = canvas.v + 0.98 - 0.5 * across**2 - 1.2 * np.clip(0.24 - across, 0, 1)
    body = np.minimum(trunk, shoulders)
    canvas.paint(canvas.soft(body), "muscle")
    canvas.paint(canvas.soft(body - 0.03), "fat")
    thorax = canvas.ellipse_distance((0, 0.1), (0.80, 1.08))
    canvas.paint(canvas.soft(np.minimum(body - 0.06, thorax + 0.06)), "muscle")
    canvas.paint(canvas.stroke([(0.16, -0.86), (0.6, -0.82)], 0.07, True), "bone")
    canvas.paint(canvas.pair((0.78, -0.72), (0.11, 0.12)), "bone")
    # Each rib is cut across: a row of bright ovals down either wall.
    ribs = canvas.soft(0.03 - np.abs(thorax - 0.02)) * canvas.stripes(canvas.v - 0.3 * across, 0.17, 0.085)
    canvas.paint(ribs * canvas.soft(canvas.v + 0.75), "bone")

    dome_right = canvas.ellipse((-0.40, 1.02), (0.48, 0.52 * canvas.vary(0.1)))
    dome_left = canvas.ellipse((0.43, 1.08), (0.44, 0.52 * canvas.vary(0.1)))
    lungs = np.maximum(
        canvas.blob((-0.41, 0.04), (0.32, 0.86), 0.08), canvas.blob((0.42, 0.04), (0.32, 0.86), -0.08)
    )
    lungs = lungs * (1 - dome_right) * (1 - dome_left) * canvas.soft(thorax - 0.06)
    canvas.paint(canvas.soft(thorax - 0.06) * canvas.soft(canvas.v - 0.5), "fat")
    _parenchyma(canvas, lungs)
    _upper_abdomen(canvas, dome_right, dome_left, canvas.soft(thorax - 0.07))
    _great_vessels(canvas)


def _upper_abdomen(canvas: Canvas, dome_right: Field, dome_left: Field, cavity: Field) -> None:
    canvas.paint(dome_left * cavity, "spleen")
    canvas.paint(canvas.blob((0.3, 0.78), (0.18, 0.12)) * cavity, "bowel")
    canvas.paint(canvas.blob((0.3, 0.73), (0.14, 0.07)) * cavity, "air")
    canvas.paint(dome_right * cavity, "liver")
    canvas.paint(canvas.ellipse((0.02, 0.98), (0.4, 0.34)) * cavity, "liver")


def _great_vessels(canvas: Canvas) -> None:
    mediastinum = canvas.stroke([(0, -1.1), (0, 0.5)], 0.24)
    canvas.paint(mediastinum, "fat")
    heart = canvas.blob((0.12, 0.24), (0.29, 0.23), 0.55)
    canvas.paint(heart, "muscle")
    canvas.paint(canvas.blob((0.17, 0.27), (0.19, 0.13), 0.55), "blood")
    canvas.paint(canvas.blob((-0.12, 0.18), (0.08, 0.15)), "blood")
    canvas.paint(canvas.stroke([(-0.08, -0.5), (-0.11, 0.0)], 0.08), "blood")
    canvas.paint(canvas.stroke([(0.06, -0.02), (0.1, -0.28)], 0.13), "blood")
    canvas.paint(canvas.stroke([(0, -1.1), (0, -0.34)], 0.085), "air")
    canvas.paint(canvas.stroke([(0, -0.34), (0.15, -0.18)], 0.06, True), "air")
    canvas.forbid(np.maximum(mediastinum, heart))
