"""Radiographs of the chest (frontal, lateral) and of the abdomen (frontal).

A radiograph is a projection: structures add up, so ribs show through the lungs and the heart.
"""

import numpy as np

from medpref.phantoms.canvas import Canvas, Field


def _vertebrae(canvas: Canvas, across: Field, spacing: float, half_width: float, amount: float) -> None:
    """Add a column of vertebral bodies; ``across`` is the distance from the column's axis."""
    column = canvas.soft(half_width - across)
    canvas.add(column, amount * 0.6)
    canvas.add(column * canvas.stripes(canvas.v, spacing, 0.78 * spacing), amount * 0.6)


def chest_frontal(canvas: Canvas) -> None:
    """Paint a frontal chest radiograph."""
    across = np.abs(canvas.u)
    trunk = 0.88 - across + 0.1 * np.clip(-canvas.v, -1, 0.5)
    shoulders = canvas.v + 0.98 - 0.55 * across**2 + 1.2 * np.clip(0.22 - across, 0, 1)
    body = np.minimum(trunk, shoulders)
    canvas.paint(canvas.soft(body, 0.1), "soft tissue")
    thorax = canvas.ellipse_distance((0, 0.08), (0.79 * canvas.vary(0.03), 1.08))
    lungs = _frontal_lungs(canvas, thorax)
    canvas.paint(lungs, "lung")
    canvas.allow(lungs)
    canvas.add(lungs * canvas.noise(10), 0.012)

    canvas.add(canvas.soft(canvas.v - 0.6, 0.3) * canvas.soft(body), 0.12)
    _frontal_ribs(canvas, across, canvas.soft(thorax + 0.03) * canvas.soft(0.7 - canvas.v, 0.2))
    _frontal_mediastinum(canvas, lungs)
    canvas.add(canvas.stroke([(0.09, -0.7), (0.3, -0.76), (0.48, -0.82), (0.7, -0.78)], 0.07, True), 0.16)
    canvas.add(canvas.stroke([(0.74, -0.7), (0.66, -0.3), (0.72, -0.1)], 0.1, True), 0.08)  # scapulae
    canvas.add(canvas.pair((0.88, -0.68), (0.11, 0.13)), 0.2)  # humeral heads
    canvas.add(canvas.blob((0.38, 0.76), (0.15, 0.085), edge=0.05), -0.34)  # gastric bubble


def _frontal_lungs(canvas: Canvas, thorax: Field) -> Field:
    right = canvas.ellipse_distance((-0.40, 0.04), (0.33, 0.83), 0.1)
    left = canvas.ellipse_distance((0.405, 0.04), (0.33, 0.83), -0.1)
    dome_right = canvas.ellipse_distance((-0.42, 1.0), (0.44, 0.44 * canvas.vary(0.1)))
    dome_left = canvas.ellipse_distance((0.44, 1.07), (0.44, 0.44 * canvas.vary(0.1)))
    lungs = np.minimum(np.maximum(right, left), thorax - 0.06)
    return canvas.soft(np.minimum(lungs, -np.maximum(dome_right, dome_left)), 0.05)


def _frontal_ribs(canvas: Canvas, across: Field, cage: Field) -> None:
    spacing = 0.155 * canvas.vary(0.05)
    posterior = canvas.v + 0.1 - 0.5 * across + 0.75 * across**2
    for width, amount in ((0.075, 0.075), (0.045, -0.035)):  # the cortex is denser than the marrow
        canvas.add(cage * canvas.stripes(posterior, spacing, width) * canvas.soft(across - 0.1), amount)
    anterior = canvas.v - 0.88 * (0.75 - across)
    front = cage * canvas.soft(across - 0.34, 0.1)
    canvas.add(front * canvas.stripes(anterior, spacing * 1.1, 0.07), 0.05)


def _frontal_mediastinum(canvas: Canvas, lungs: Field) -> None:
    middle = canvas.stroke([(0, -0.8), (0, 0.7)], 0.23, edge=0.06)
    heart = np.maximum(
        canvas.blob((0.17, 0.36), (0.31, 0.25), 0.45, edge=0.06),
        canvas.blob((-0.08, 0.32), (0.15, 0.2), edge=0.06),
    )
    knob = canvas.blob((0.11, -0.24), (0.09, 0.1), edge=0.05)
    hila = canvas.pair((0.2, 0.0), (0.08, 0.14), 0.3, edge=0.12)
    shadow = np.maximum(np.maximum(middle, knob), np.maximum(heart, 0.45 * hila))
    canvas.add(shadow * lungs, 0.42)
    canvas.add(np.maximum(middle, heart) * (1 - lungs), 0.08)
    vessels, _ = canvas.creases(cells=9, width=0.02)
    near_hila = np.clip(1 - 2.2 * np.hypot(np.abs(canvas.u) - 0.2, 0.6 * canvas.v), 0, 1)
    canvas.add(lungs * vessels * near_hila, 0.09)
    _vertebrae(canvas, np.abs(canvas.u), 0.13, 0.085, 0.08)
    canvas.add(canvas.stroke([(0, -1.1), (0, -0.32)], 0.09, edge=0.04), -0.16)  # trachea
    canvas.add(canvas.stroke([(0, -0.32), (0.14, -0.16)], 0.06, True, edge=0.04), -0.1)
    canvas.forbid(np.maximum(np.maximum(middle, heart), knob))


def chest_lateral(canvas: Canvas) -> None:
    """Paint a lateral chest radiograph, the sternum to image left."""
    front = canvas.u + 0.78 - 0.12 * canvas.v
    back = 0.84 - canvas.u - 0.12 * (canvas.v - 0.1) ** 2
    top = canvas.v + 1.05 - 0.3 * canvas.u**2
    body = np.minimum(np.minimum(front, back), top)
    canvas.paint(canvas.soft(body, 0.1), "soft tissue")
    canvas.add(canvas.stroke([(-0.1, -1.1), (0.1, -0.8)], 0.5, edge=0.2), 0.08)  # shoulders
    cage = canvas.ellipse_distance((0.04, -0.02), (0.68 * canvas.vary(0.03), 0.96))
    dome = canvas.v - 0.6 * canvas.vary(0.06) - 0.9 * np.clip(canvas.u - 0.1, -0.3, 1) ** 2
    lungs = canvas.soft(np.minimum(cage, -dome), 0.05)
    canvas.paint(lungs, "lung")
    canvas.allow(lungs)
    canvas.add(lungs * canvas.noise(10), 0.012)
    canvas.add(canvas.soft(dome + 0.07, 0.04) * lungs, 0.16)  # the second, higher hemidiaphragm
    canvas.add(canvas.soft(dome, 0.1) * canvas.soft(body), 0.14)

    ribs = canvas.v - 0.55 * canvas.u + 0.5 * canvas.u**2
    canvas.add(canvas.soft(cage + 0.04) * canvas.stripes(ribs, 0.16, 0.07) * canvas.soft(0.5 - dome), 0.05)
    heart = canvas.blob((-0.29, 0.32), (0.25, 0.29), 0.5, edge=0.08)
    canvas.add(heart * lungs, 0.28)
    canvas.add(canvas.stroke([(-0.1, 0.0), (-0.08, -0.3), (0.1, -0.36), (0.32, -0.1)], 0.14, edge=0.1), 0.07)
    canvas.add(canvas.blob((0.03, -0.06), (0.12, 0.12), edge=0.12) * lungs, 0.16)  # hila
    canvas.add(canvas.stroke([(0.02, -1.0), (0.06, -0.2)], 0.09, edge=0.04), -0.15)  # trachea
    axis = np.abs(canvas.u - 0.48 - 0.12 * np.cos(1.6 * canvas.v))
    _vertebrae(canvas, axis, 0.17, 0.1, 0.16)
    canvas.add(canvas.stroke([(-0.68, -0.6), (-0.72, 0.3)], 0.06), 0.16)  # sternum
    canvas.add(canvas.blob((-0.2, 0.74), (0.14, 0.07), edge=0.05), -0.25)  # gastric bubble
    canvas.forbid(np.maximum(canvas.soft(0.06 - axis), 0.7 * heart))


def abdomen_frontal(canvas: Canvas) -> None:
    """Paint a frontal abdominal radiograph."""
    across = np.abs(canvas.u)
    body = 0.9 * canvas.vary(0.03) - 0.05 * np.cos(3.2 * (canvas.v + 0.05)) - across
    canvas.paint(canvas.soft(body, 0.12), "soft tissue", 0.86)
    canvas.add(canvas.soft(0.6 - across, 0.4), 0.05)
    canvas.add(canvas.soft(0.022 - np.abs(body - 0.17)), -0.07)  # the fat stripes of the flanks
    canvas.add(canvas.blob((-0.42, -0.52), (0.42, 0.38), -0.4, edge=0.12), 0.08)  # liver
    canvas.add(canvas.pair((0.3, -0.12), (0.12, 0.22), -0.2, edge=0.06), 0.045)  # kidneys
    psoas = np.clip(0.16 + 0.28 * (canvas.v + 0.4), 0, 0.45)
    canvas.add(canvas.soft(psoas - across, 0.05) * canvas.soft(0.4 - np.abs(canvas.v)), 0.05)
    canvas.allow(canvas.soft(body - 0.14) * canvas.soft(0.86 - np.abs(canvas.v)))

    ribs = canvas.v - 0.45 * across + 0.3 * across**2
    cage = canvas.soft(-0.45 - canvas.v + 0.35 * across) * canvas.soft(body - 0.06)
    canvas.add(cage * canvas.stripes(ribs, 0.18, 0.07) * canvas.soft(across - 0.12), 0.1)
    _bowel_gas(canvas)
    transverse = canvas.stripes(canvas.v - 0.1, 0.21, 0.05) * canvas.soft(0.24 - across)
    canvas.add(transverse * canvas.soft(0.42 - canvas.v), 0.09)
    spine = canvas.soft(0.45 - canvas.v, 0.1)
    canvas.add(spine * canvas.soft(0.105 - across), 0.09)
    canvas.add(spine * canvas.stripes(canvas.v, 0.21, 0.16) * canvas.soft(0.12 - across), 0.13)
    canvas.add(spine * canvas.soft(0.012 - across) * canvas.stripes(canvas.v, 0.21, 0.1), 0.08)
    canvas.forbid(canvas.soft(0.15 - across))
    _bony_pelvis(canvas, across)


def _bowel_gas(canvas: Canvas) -> None:
    """Add the colon's gas, pinched by its haustra, and the gastric bubble."""
    path = [
        (-0.56, 0.42),
        (-0.58, -0.1),
        (-0.45, -0.24),
        (0.0, -0.14),
        (0.45, -0.3),
        (0.6, -0.2),
        (0.58, 0.35),
    ]
    haustra = 0.65 + 0.35 * np.cos((canvas.u + canvas.v) * 30 + 2 * canvas.noise(4) + 1.2 * canvas.noise(12))
    filled = canvas.soft(canvas.noise(5) + 0.4, 0.6)
    colon = canvas.stroke(path, 0.15, edge=0.06)
    canvas.add(colon * filled * haustra, -0.3)
    loops, distance = canvas.creases(cells=7, width=0.02)
    small = canvas.ellipse((0, 0.18), (0.45, 0.3), edge=0.1) * canvas.soft(canvas.noise(6) - 0.5, 0.4)
    canvas.add(small * canvas.soft(distance - 0.03) * (1 - loops), -0.2)
    canvas.add(canvas.blob((0.38, -0.66), (0.2, 0.11), 0.2, edge=0.06), -0.22)


def _bony_pelvis(canvas: Canvas, across: Field) -> None:
    wing = canvas.ellipse_distance((0.44, 0.52), (0.3, 0.24), 0.5)
    mirrored = np.maximum(wing, canvas.ellipse_distance((-0.44, 0.52), (0.3, 0.24), -0.5))
    inlet = canvas.ellipse_distance((0, 0.74), (0.36, 0.24))  # the opening between the pelvic bones
    wings = np.minimum(mirrored, -inlet)
    canvas.add(canvas.soft(wings), 0.12)
    canvas.add(canvas.soft(0.02 - np.abs(wings)), 0.1)
    sacrum = np.minimum(0.21 - across - 0.3 * np.clip(canvas.v - 0.4, 0, 1), 0.21 - np.abs(canvas.v - 0.58))
    canvas.add(canvas.soft(sacrum, 0.05), 0.14)
    canvas.add(canvas.stroke([(0.37, 0.74), (0.28, 0.89), (0.14, 0.95), (0.03, 0.96)], 0.085, True), 0.16)
    canvas.add(canvas.stroke([(0.36, 0.86), (0.24, 1.1)], 0.09, True), 0.14)
    canvas.add(canvas.pair((0.54, 0.84), (0.125, 0.125)), 0.17)  # femoral heads
    canvas.add(canvas.stroke([(0.6, 0.9), (0.76, 1.0), (0.78, 1.2)], 0.13, True), 0.14)
