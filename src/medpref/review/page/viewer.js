// The image: zoom, level and window, the region's outline. Pixels are changed here and never leave.

const MOST = 40;
const FULL = 255;

export class Viewer {
  #canvas;
  #context;
  #source = null;    // the pixels as they came
  #shown = null;     // a canvas with the window applied
  #outline = null;
  #view = { zoom: 1, x: 0, y: 0 };
  #range = { level: 128, window: 256 };
  #drawn = false;

  constructor(canvas, changed) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.changed = changed;
    new ResizeObserver(() => this.#later()).observe(canvas.parentElement);
    this.#listen();
  }

  /** Show an image, or nothing for null. */
  async show(blob) {
    this.#source = null;
    this.#outline = null;
    if (blob) {
      const bitmap = await createImageBitmap(blob);
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(bitmap, 0, 0);
      this.#source = context.getImageData(0, 0, bitmap.width, bitmap.height);
      this.#shown = canvas;
    }
    this.reset();
  }

  /** Draw a region's outline, or none for null. */
  outline(region) {
    this.#outline = region;
    this.#later();
  }

  get outlined() {
    return this.#outline !== null;
  }

  get range() {
    return { ...this.#range };
  }

  get zoom() {
    return this.#view.zoom;
  }

  reset() {
    this.#view = { zoom: 1, x: 0, y: 0 };
    this.setRange(128, 256);
  }

  setRange(level, window) {
    this.#range = { level: clamp(level, 0, FULL), window: clamp(window, 1, 512) };
    this.#apply();
    this.changed();
    this.#later();
  }

  /** Zoom by a factor about a point of the canvas, its centre by default. */
  zoomBy(factor, x = this.#canvas.width / 2, y = this.#canvas.height / 2) {
    const zoom = clamp(this.#view.zoom * factor, 1, MOST);
    const by = zoom / this.#view.zoom;
    const [cx, cy] = [this.#canvas.width / 2, this.#canvas.height / 2];
    this.#view = { zoom, x: (this.#view.x + cx - x) * by + x - cx, y: (this.#view.y + cy - y) * by + y - cy };
    if (zoom === 1) this.#view = { zoom, x: 0, y: 0 };
    this.#later();
  }

  panBy(x, y) {
    this.#view.x += x;
    this.#view.y += y;
    this.#later();
  }

  #apply() {
    if (!this.#source) return;
    const { level, window } = this.#range;
    const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => ((value - level) / window + 0.5) * FULL);
    const { data, width, height } = this.#source;
    const pixels = new Uint8ClampedArray(data.length);
    for (let i = 0; i < data.length; i += 4) {
      pixels[i] = table[data[i]];
      pixels[i + 1] = table[data[i + 1]];
      pixels[i + 2] = table[data[i + 2]];
      pixels[i + 3] = data[i + 3];
    }
    this.#shown.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  }

  #later() {
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => {
      this.#drawn = false;
      this.#draw();
    });
  }

  #draw() {
    const frame = this.#canvas.parentElement.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    this.#canvas.width = Math.max(1, Math.round(frame.width * scale));
    this.#canvas.height = Math.max(1, Math.round(frame.height * scale));
    const context = this.#context;
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (!this.#source) return;
    const { width, height } = this.#source;
    const fit = Math.min(this.#canvas.width / width, this.#canvas.height / height) * this.#view.zoom;
    const left = (this.#canvas.width - width * fit) / 2 + this.#view.x;
    const top = (this.#canvas.height - height * fit) / 2 + this.#view.y;
    context.setTransform(fit, 0, 0, fit, left, top);
    context.imageSmoothingEnabled = fit < 3;
    context.drawImage(this.#shown, 0, 0);
    if (this.#outline) this.#drawOutline(context, width, height, fit);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  #drawOutline(context, width, height, fit) {
    const path = new Path2D();
    path.addPath(new Path2D(this.#outline.path), new DOMMatrix([width / this.#outline.width, 0, 0, height / this.#outline.height, 0, 0]));
    for (const [colour, line] of [["#000", 5], ["#ffd34d", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = line / fit;
      context.stroke(path);
    }
  }

  #listen() {
    const canvas = this.#canvas;
    const scale = () => canvas.width / canvas.getBoundingClientRect().width;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 400), event.offsetX * scale(), event.offsetY * scale());
    }, { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      if (event.shiftKey || event.buttons & 2) {
        this.setRange(this.#range.level + event.movementY, this.#range.window + event.movementX);
      } else {
        this.panBy(event.movementX * scale(), event.movementY * scale());
      }
    });
  }
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}
