// One image at full resolution on a canvas: pan, zoom, outlines, contrast, planes and a threshold on them.
"use strict";

// Labels are row-major runs (pixels skipped, length, id) of base-128 numbers, lowest digit first, in base64.
function paintLabels(text, height, width) {
  const ids = new Int32Array(height * width);
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  let n = 0;
  const take = () => {
    for (let value = 0, shift = 0; ; shift += 7) {
      value += (bytes[n] & 127) << shift;
      if (bytes[n++] < 128) return value;
    }
  };
  for (let at = 0; n < bytes.length; ) {
    at += take();
    const end = at + take();
    ids.fill(take(), at, end);
    at = end;
  }
  return ids;
}

// The edges between pixels of different ids, as lines that stay thin at any zoom.
function traceOutlines(ids, height, width) {
  const path = new Path2D();
  const idAt = (y, x) => (y < 0 || x < 0 || y >= height || x >= width ? 0 : ids[y * width + x]);
  const trace = (lines, steps, before, after, point) => {
    for (let line = 0; line <= lines; line++) {
      let start = -1;
      for (let step = 0; step <= steps; step++) {
        const isEdge = step < steps && before(line, step) !== after(line, step);
        if (isEdge && start < 0) start = step;
        if (!isEdge && start >= 0) {
          path.moveTo(...point(line, start));
          path.lineTo(...point(line, step));
          start = -1;
        }
      }
    }
  };
  trace(height, width, (y, x) => idAt(y - 1, x), idAt, (y, x) => [x, y]);
  trace(width, height, (x, y) => idAt(y, x - 1), (x, y) => idAt(y, x), (x, y) => [x, y]);
  return path;
}

// Hues advance by the golden section, so that objects near each other differ most.
const objectColour = (object, light = 58) => `hsl(${((object + 1) * 222.49) % 360} 85% ${light}%)`;

const PLAIN = new Set(["found", "predicted"]); // drawn without a fill and an id
const OUTLINES = { true: "#00cdff", pred: "#ffa000", other: "#ff5fd2" };

function decodePicture(uri) {
  const picture = new Image();
  picture.src = uri;
  return picture.decode().then(() => picture);
}

// Pictures of an image, decoded: { height, width, layers: {name: HTMLImageElement}, ids, paths, boxes }.
async function decodeImage(entry, pictures) {
  const [height, width] = entry.shown;
  const names = ["image", ...Object.keys(pictures.planes)];
  const uris = [pictures.image, ...Object.values(pictures.planes)];
  const decoded = await Promise.all(uris.map(decodePicture));
  const layers = Object.fromEntries(names.map((name, n) => [name, decoded[n]]));
  const [ids, paths, boxes] = [{}, {}, {}];
  for (const side of Object.keys(pictures.labels)) {
    ids[side] = paintLabels(pictures.labels[side], height, width);
    paths[side] = traceOutlines(ids[side], height, width);
    boxes[side] = (entry.boxes[side] ?? []).map((box) => box.map((end) => (end * height) / entry.size[0]));
  }
  return { height, width, layers, ids, paths, boxes, pixels: {} };
}

class Viewer {
  constructor(canvas, onPick) {
    this.canvas = canvas;
    this.onPick = onPick;
    this.shown = null;
    this.view = { zoom: 1, x: 0, y: 0 };
    this.options = {
      layer: "image", true: true, pred: true, other: false, fill: true, ids: true,
      darkest: 0, brightest: 255, threshold: 128, mask: false,
    };
    this.base = document.createElement("canvas");
    this.filled = document.createElement("canvas");
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  // `kinds` gives the error type of an object, by side; `selected` is [side, object] or null.
  show(shown, kinds, selected) {
    const isNew = shown !== this.shown;
    Object.assign(this, { shown, kinds, selected });
    if (!(this.options.layer in shown.layers)) this.options.layer = "image";
    if (isNew) this.resize();
    this.repaint();
    if (selected) this.focus(selected);
    else if (isNew) this.fit();
    this.draw();
  }

  set(name, value) {
    this.options[name] = value;
    if (this.shown) this.repaint();
    this.draw();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (this.shown && !this.selected) this.fit();
    this.draw();
  }

  fit() {
    this.showBox([0, 0, this.shown.height, this.shown.width], 1);
  }

  focus([side, object]) {
    const box = this.shown.boxes[side]?.[object];
    if (box) this.showBox(box, 3);
  }

  // Centre a box (top, left, bottom, right), with `margin` times its size in view.
  showBox([top, left, bottom, right], margin) {
    const { width, height } = this.canvas;
    const zoom = Math.min(width / ((right - left) * margin), height / ((bottom - top) * margin), 40);
    this.view = { zoom, x: width / 2 - ((left + right) / 2) * zoom, y: height / 2 - ((top + bottom) / 2) * zoom };
  }

  zoomAt(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const { view } = this;
    const zoom = Math.min(64, Math.max(0.05, view.zoom * factor));
    const scale = zoom / view.zoom;
    this.view = { zoom, x: x - (x - view.x) * scale, y: y - (y - view.y) * scale };
    this.draw();
  }

  pan(dx, dy) {
    this.view.x += dx;
    this.view.y += dy;
    this.draw();
  }

  pixelsOf(name) {
    const { shown } = this;
    if (!shown.pixels[name]) {
      const canvas = new OffscreenCanvas(shown.width, shown.height);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(shown.layers[name], 0, 0);
      shown.pixels[name] = context.getImageData(0, 0, shown.width, shown.height).data;
    }
    return shown.pixels[name];
  }

  // The layer with its contrast and, on the mask of a plane, a tint: what is above the threshold.
  repaint() {
    const { shown, options, base } = this;
    [base.width, base.height] = [shown.width, shown.height];
    const context = base.getContext("2d");
    const painted = context.createImageData(shown.width, shown.height);
    const source = this.pixelsOf(options.layer);
    const scale = 255 / Math.max(1, options.brightest - options.darkest);
    const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => (value - options.darkest) * scale);
    const planes = Object.keys(shown.layers).filter((name) => name !== "image");
    const plane = options.layer === "image" ? planes[0] : options.layer;
    const mask = options.mask && plane ? this.pixelsOf(plane) : null;
    for (let at = 0; at < source.length; at += 4) {
      for (let c = at; c < at + 3; c++) painted.data[c] = table[source[c]];
      painted.data[at + 3] = 255;
      if (mask && mask[at] >= options.threshold) {
        painted.data[at] = painted.data[at] / 2;
        painted.data[at + 1] = painted.data[at + 1] / 2 + 110;
        painted.data[at + 2] = painted.data[at + 2] / 2 + 60;
      }
    }
    context.putImageData(painted, 0, 0);
    this.fillUnmatched();
  }

  fillUnmatched() {
    const { shown, filled, kinds } = this;
    [filled.width, filled.height] = [shown.width, shown.height];
    const context = filled.getContext("2d");
    for (const side of ["true", "pred"]) {
      if (!shown.ids[side] || !this.options[side]) continue;
      shown.boxes[side].forEach((box, object) => {
        if (PLAIN.has(kinds(side, object))) return;
        context.fillStyle = objectColour(2 * object + (side === "pred"));
        const [top, left, bottom, right] = box.map(Math.round);
        for (let y = top; y < bottom; y++) {
          for (let x = left, start = -1; x <= right; x++) {
            const isIn = x < right && shown.ids[side][y * shown.width + x] === object + 1;
            if (isIn && start < 0) start = x;
            if (!isIn && start >= 0) {
              context.fillRect(start, y, x - start, 1);
              start = -1;
            }
          }
        }
      });
    }
  }

  draw() {
    const { canvas, shown, view, options } = this;
    if (!shown) return;
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(view.zoom, 0, 0, view.zoom, view.x, view.y);
    context.imageSmoothingEnabled = view.zoom < 1;
    context.drawImage(this.base, 0, 0);
    if (options.fill) {
      context.globalAlpha = 0.4;
      context.drawImage(this.filled, 0, 0);
      context.globalAlpha = 1;
    }
    const thin = (window.devicePixelRatio || 1) / view.zoom;
    for (const [side, width] of [["true", 3], ["other", 2.2], ["pred", 1.4]]) {
      if (!options[side] || !shown.paths[side]) continue;
      context.lineWidth = width * thin;
      context.strokeStyle = OUTLINES[side];
      context.stroke(shown.paths[side]);
    }
    if (this.selected) this.drawSelected(context, thin);
    if (options.ids) this.drawIds(context);
  }

  drawSelected(context, thin) {
    const box = this.shown.boxes[this.selected[0]]?.[this.selected[1]];
    if (!box) return;
    context.setLineDash([4 * thin, 3 * thin]);
    context.lineWidth = 2 * thin;
    context.strokeStyle = "#ffffff";
    context.strokeRect(box[1] - 3 * thin, box[0] - 3 * thin, box[3] - box[1] + 6 * thin, box[2] - box[0] + 6 * thin);
    context.setLineDash([]);
  }

  drawIds(context) {
    const { shown, view } = this;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.font = `600 ${12 * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.lineWidth = 3 * ratio;
    context.strokeStyle = "#000";
    for (const side of ["true", "pred"]) {
      if (!this.options[side]) continue;
      shown.boxes[side]?.forEach(([top, left, bottom, right], object) => {
        const isSelected = this.selected?.[0] === side && this.selected[1] === object;
        if (PLAIN.has(this.kinds(side, object)) && !isSelected) return;
        const x = ((left + right) / 2) * view.zoom + view.x;
        const y = ((top + bottom) / 2) * view.zoom + view.y + (side === "pred" ? 13 : 0) * ratio;
        context.strokeText(nameObject(side, object), x, y);
        context.fillStyle = objectColour(2 * object + (side === "pred"), 75);
        context.fillText(nameObject(side, object), x, y);
      });
    }
  }

  // The object at a place of the screen; a predicted one where both are shown there and the true one is selected.
  pick(x, y) {
    const { shown, view } = this;
    const [column, row] = [Math.floor((x - view.x) / view.zoom), Math.floor((y - view.y) / view.zoom)];
    if (column < 0 || row < 0 || column >= shown.width || row >= shown.height) return null;
    const found = ["true", "pred"]
      .filter((side) => this.options[side] && shown.ids[side])
      .map((side) => [side, shown.ids[side][row * shown.width + column] - 1])
      .filter(([, object]) => object >= 0);
    const isSelected = ([side, object]) => this.selected?.[0] === side && this.selected[1] === object;
    return found.length > 1 && isSelected(found[0]) ? found[1] : (found[0] ?? null);
  }

  listen() {
    const { canvas } = this;
    const pointers = new Map();
    let moved = 0;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      const ratio = canvas.width / box.width;
      return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    };
    const spread = () => {
      const [a, b] = [...pointers.values()];
      return Math.hypot(a[0] - b[0], a[1] - b[1]);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, place(event));
      moved = pointers.size > 1 ? Infinity : 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const now = place(event);
      const wide = pointers.size === 2 ? spread() : 0;
      pointers.set(event.pointerId, now);
      moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      const share = 1 / pointers.size;
      this.pan((now[0] - before[0]) * share, (now[1] - before[1]) * share);
      if (wide > 0) this.zoomAt(spread() / wide, ...now);
    });
    const release = (event) => {
      if (pointers.delete(event.pointerId) && moved < 5 && event.type === "pointerup" && this.shown) {
        this.onPick(this.pick(...place(event)));
      }
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("dblclick", () => (this.fit(), this.draw()));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...place(event));
    }, { passive: false });
  }
}

// t3 is the third true object, p3 the third predicted one.
const nameObject = (side, object) => `${side === "true" ? "t" : "p"}${object + 1}`;

function drawThumbnail(canvas, shown, kinds) {
  const scale = canvas.width / shown.width;
  canvas.height = Math.max(1, Math.round(shown.height * scale));
  const context = canvas.getContext("2d");
  context.drawImage(shown.layers.image, 0, 0, canvas.width, canvas.height);
  context.scale(scale, scale);
  for (const [side, width] of [["true", 2.4], ["pred", 1.2]]) {
    if (!shown.paths[side]) continue;
    context.lineWidth = width / scale;
    context.strokeStyle = OUTLINES[side];
    context.stroke(shown.paths[side]);
  }
  context.fillStyle = "#ffffff";
  for (const side of ["true", "pred"]) {
    shown.boxes[side]?.forEach(([top, left, bottom, right], object) => {
      if (PLAIN.has(kinds(side, object))) return;
      context.fillRect((left + right) / 2 - 2 / scale, (top + bottom) / 2 - 2 / scale, 4 / scale, 4 / scale);
    });
  }
}
