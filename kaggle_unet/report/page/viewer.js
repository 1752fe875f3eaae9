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
  for (let end = 0; n < bytes.length; ) {
    const start = end + take();
    end = start + take();
    ids.fill(take(), start, end);
  }
  return ids;
}

// The edges between pixels of different ids, as lines that stay thin at any zoom.
function traceOutlines(ids, height, width) {
  const path = new Path2D();
  const trace = (lines, steps, acrossPx, alongPx, point) => {
    for (let line = 0; line <= lines; line++) {
      let start = -1;
      for (let step = 0, at = line * acrossPx; step <= steps; step++, at += alongPx) {
        const isEdge = step < steps && (line > 0 ? ids[at - acrossPx] : 0) !== (line < lines ? ids[at] : 0);
        if (isEdge && start < 0) start = step;
        if (!isEdge && start >= 0) {
          path.moveTo(...point(line, start));
          path.lineTo(...point(line, step));
          start = -1;
        }
      }
    }
  };
  trace(height, width, width, 1, (row, column) => [column, row]);
  trace(width, height, 1, width, (column, row) => [column, row]);
  return path;
}

const SIDES = ["true", "pred", "other"]; // an object is [side, number from 0]
const isSame = (one, other) => one?.[0] === other[0] && one[1] === other[1];

// Hues advance by the golden section, so that objects near each other differ most.
function objectColour(side, object, light = 140) {
  const hue = (2 * object + SIDES.indexOf(side) + 1) * 222.49;
  return [0, 120, 240].map((shift) => light + 110 * Math.cos(((hue - shift) * Math.PI) / 180));
}

const PLAIN = new Set(["found", "predicted", "labelled"]); // drawn without a fill and an id
const OUTLINES = { true: "#00cdff", pred: "#ffa000", other: "#ff5fd2" };
const HEAT = ["#000004", "#420a68", "#932667", "#dd513a", "#fca50a", "#fcffa4"]; // matplotlib's inferno
const GRAYS = ["#000000", "#ffffff"];
const TINT = [0, 110, 60]; // of a mask
const bytesOf = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
const pack = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0; // as in an ImageData

// The colour of a part, 0 to 1, of a scale.
function colourAt(colours, part) {
  const at = Math.min(1, Math.max(0, part)) * (colours.length - 1);
  const low = Math.min(Math.floor(at), colours.length - 2);
  return pack(colours[low].map((byte, c) => byte + (colours[low + 1][c] - byte) * (at - low)));
}

async function decodePicture(uri) {
  const picture = Object.assign(new Image(), { src: uri });
  await picture.decode();
  return picture;
}

// Pictures of an image, decoded. A layer is { picture, step, high, stops }: its levels times `step` are values on a
// scale of colours that ends at `high`; or { ids }: classes.
async function decodeImage(entry, pictures, { high, classes }) {
  const [height, width] = entry.shown;
  const layer = async (name, [uri, step], top, stops) =>
    [name, { picture: await decodePicture(uri), step, high: top, stops }];
  const layers = Object.fromEntries(await Promise.all([
    layer("image", [pictures.image, 1], 255, GRAYS),
    ...Object.entries(pictures.planes).map(([name, plane]) => layer(name, plane, 1, GRAYS)),
    ...Object.entries(pictures.weights).map(([name, weights]) => layer(name, weights, high, HEAT)),
  ]));
  const [ids, paths, boxes] = [{}, {}, {}];
  for (const side of Object.keys(pictures.labels)) {
    ids[side] = paintLabels(pictures.labels[side], height, width);
    paths[side] = traceOutlines(ids[side], height, width);
    boxes[side] = (entry.boxes?.[side] ?? []).map((box) => box.map((end) => (end * height) / entry.size[0]));
    if (classes.length) layers[side === "true" ? "true classes" : "predicted classes"] = { ids: ids[side] };
  }
  const palette = classes.length ? new Uint32Array(256).fill(pack([255, 255, 255])) : null; // white: not known
  classes.forEach(({ colour }, c) => (palette[c] = pack(bytesOf(colour))));
  return { height, width, layers, planes: Object.keys(pictures.planes), ids, paths, boxes, palette, painted: {} };
}

function pixelsOf(shown, layer) {
  if (!layer.pixels) {
    const context = new OffscreenCanvas(shown.width, shown.height).getContext("2d", { willReadFrequently: true });
    context.drawImage(layer.picture, 0, 0);
    layer.pixels = context.getImageData(0, 0, shown.width, shown.height).data;
  }
  return layer.pixels;
}

// A layer's colours, between `darkest` and `brightest` of 255 parts of its scale.
function paintLayer(shown, name, darkest = 0, brightest = 255) {
  const layer = shown.layers[name];
  const painted = new ImageData(shown.width, shown.height);
  const words = new Uint32Array(painted.data.buffer);
  if (layer.ids) {
    layer.ids.forEach((id, n) => (words[n] = shown.palette[id]));
    return painted;
  }
  const [source, colours] = [pixelsOf(shown, layer), layer.stops.map(bytesOf)];
  const table = Uint32Array.from({ length: 256 }, (_, level) =>
    colourAt(colours, ((255 * level * layer.step) / layer.high - darkest) / Math.max(1, brightest - darkest)));
  for (let n = 0, at = 0; n < words.length; n++, at += 4) { // an image has three levels, other layers the same thrice
    const [red, green, blue] = [table[source[at]], table[source[at + 1]], table[source[at + 2]]];
    words[n] = ((255 << 24) | (blue & 0xff0000) | (green & 0xff00) | (red & 0xff)) >>> 0;
  }
  return painted;
}

class Viewer {
  constructor(canvas, onPick) {
    Object.assign(this, { canvas, onPick, shown: null, box: null, view: { zoom: 1, x: 0, y: 0 } });
    Object.assign(this, { base: new OffscreenCanvas(1, 1), filled: new OffscreenCanvas(1, 1) });
    this.options = {
      layer: "image", true: true, pred: true, other: false, fill: true, ids: true,
      darkest: 0, brightest: 255, threshold: 50, mask: false,
    };
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  // `kinds` gives the error type of an object, by side; `selected` is [side, object] or null.
  show(shown, kinds, selected) {
    const isNew = shown !== this.shown;
    Object.assign(this, { shown, kinds, selected });
    if (!(this.options.layer in shown.layers)) this.options.layer = "image";
    this.box = selected && shown.boxes[selected[0]][selected[1]];
    if (isNew) this.resize();
    this.repaint();
    if (this.box) this.showBox(this.box, 3);
    else if (isNew) this.fit();
    this.draw();
  }

  set(name, value) {
    this.options[name] = value;
    if (this.shown) this.repaint(), this.draw();
  }

  resize() {
    const toPixels = (length) => Math.max(1, Math.round(length * (window.devicePixelRatio || 1)));
    this.canvas.width = toPixels(this.canvas.clientWidth);
    this.canvas.height = toPixels(this.canvas.clientHeight);
    if (this.shown && !this.selected) this.fit();
    this.draw();
  }

  fit() {
    this.showBox([0, 0, this.shown.height, this.shown.width], 1);
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

  // The layer with its contrast and, on the mask of a plane, a tint: what reaches the threshold, in hundredths.
  repaint() {
    const { shown, options, base } = this;
    [base.width, base.height] = [shown.width, shown.height];
    const painted = paintLayer(shown, options.layer, options.darkest, options.brightest);
    const plane = shown.planes.includes(options.layer) ? options.layer : shown.planes[0];
    if (options.mask && plane) {
      const levels = pixelsOf(shown, shown.layers[plane]);
      for (let at = 0; at < levels.length; at += 4) {
        if (levels[at] < options.threshold) continue;
        for (let c = 0; c < 3; c++) painted.data[at + c] = painted.data[at + c] / 2 + TINT[c];
      }
    }
    base.getContext("2d").putImageData(painted, 0, 0);
    this.refill();
  }

  // Objects in error, each in a colour of its own; of classes the wrong pixels, in the predicted class's colour.
  refill() {
    const { shown, filled, kinds } = this;
    const painted = new ImageData(shown.width, shown.height);
    const words = new Uint32Array(painted.data.buffer);
    const { true: truth, pred } = shown.ids;
    if (shown.palette && truth && pred) {
      truth.forEach((id, n) => (words[n] = id === 255 || id === pred[n] ? 0 : shown.palette[pred[n]]));
    }
    for (const side of SIDES.filter((name) => shown.ids[name] && this.options[name]).reverse()) {
      shown.boxes[side].forEach((box, object) => {
        if (PLAIN.has(kinds(side, object))) return;
        const colour = pack(objectColour(side, object));
        const [top, left, bottom, right] = box.map(Math.round);
        for (let y = top; y < bottom; y++) {
          for (let n = y * shown.width + left; n < y * shown.width + right; n++) {
            if (shown.ids[side][n] === object + 1) words[n] = colour;
          }
        }
      });
    }
    [filled.width, filled.height] = [shown.width, shown.height];
    filled.getContext("2d").putImageData(painted, 0, 0);
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
      context.globalAlpha = shown.palette ? 0.8 : 0.4;
      context.drawImage(this.filled, 0, 0);
      context.globalAlpha = 1;
    }
    const thin = (window.devicePixelRatio || 1) / view.zoom;
    for (const [side, width] of [["true", 3], ["other", 2.2], ["pred", 1.4]]) {
      if (!options[side] || !shown.paths[side]) continue;
      Object.assign(context, { lineWidth: width * thin, strokeStyle: OUTLINES[side] });
      context.stroke(shown.paths[side]);
    }
    if (this.box) this.drawSelected(context, thin);
    if (options.ids) this.drawIds(context);
  }

  drawSelected(context, thin) {
    const [top, left, bottom, right] = this.box;
    context.setLineDash([4 * thin, 3 * thin]);
    Object.assign(context, { lineWidth: 2 * thin, strokeStyle: "#ffffff" });
    context.strokeRect(left - 3 * thin, top - 3 * thin, right - left + 6 * thin, bottom - top + 6 * thin);
    context.setLineDash([]);
  }

  drawIds(context) {
    const { shown, view } = this;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    const font = `600 ${12 * ratio}px system-ui, sans-serif`;
    Object.assign(context, { font, textAlign: "center", lineWidth: 3 * ratio, strokeStyle: "#000" });
    const taken = new Set(); // of two ids at nearly the same place the second is left out
    for (const [row, side] of SIDES.entries()) {
      if (!this.options[side]) continue;
      shown.boxes[side]?.forEach(([top, left, bottom, right], object) => {
        if (PLAIN.has(this.kinds(side, object)) && !isSame(this.selected, [side, object])) return;
        const x = ((left + right) / 2) * view.zoom + view.x;
        const y = ((top + bottom) / 2) * view.zoom + view.y + 13 * row * ratio;
        const place = `${Math.round(x / (26 * ratio))} ${Math.round(y / (13 * ratio))}`;
        if (taken.size === taken.add(place).size) return;
        context.strokeText(nameObject(side, object), x, y);
        context.fillStyle = `rgb(${objectColour(side, object, 190)})`;
        context.fillText(nameObject(side, object), x, y);
      });
    }
  }

  // The place of the pointer on the canvas, and the pixel below it: row, column and their number n, or null.
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top].map((at) => (at * this.canvas.width) / box.width);
  }

  pixelAt(event) {
    const { shown, view } = this;
    const [x, y] = this.place(event);
    const [column, row] = [Math.floor((x - view.x) / view.zoom), Math.floor((y - view.y) / view.zoom)];
    const isIn = shown && column >= 0 && row >= 0 && column < shown.width && row < shown.height;
    return isIn ? { row, column, n: row * shown.width + column } : null;
  }

  describePixel(event) {
    const at = this.pixelAt(event);
    const { pixels, step } = at ? this.shown.layers[this.options.layer] : {};
    return pixels ? `row ${at.row}, column ${at.column}: ${Number((pixels[4 * at.n] * step).toPrecision(3))}` : "";
  }

  // The object at the pointer; the next side's where one is selected already.
  pick(event) {
    const [{ shown }, at] = [this, this.pixelAt(event)];
    if (!at || shown.palette) return null;
    const found = SIDES
      .filter((side) => this.options[side] && shown.ids[side])
      .map((side) => [side, shown.ids[side][at.n] - 1])
      .filter(([side, object]) => object >= 0 && (side !== "other" || !PLAIN.has(this.kinds(side, object))));
    return found[(found.findIndex((one) => isSame(this.selected, one)) + 1) % found.length] ?? null;
  }

  listen() {
    const { canvas } = this;
    const pointers = new Map();
    let moved = 0;
    const place = (event) => this.place(event);
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
        this.onPick(this.pick(event));
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

// t3 is the third true object, p3 the third predicted one, o3 that of another run.
const nameObject = (side, object) => `${{ true: "t", pred: "p", other: "o" }[side]}${object + 1}`;

// A small picture of a layer, outlines if it is the image, and white dots on the objects in error.
function drawThumbnail(canvas, shown, layer, kinds) {
  const scale = canvas.width / shown.width;
  canvas.height = Math.max(1, Math.round(shown.height * scale));
  const name = layer in shown.layers ? layer : "image";
  shown.painted[name] ??= paintThumbnail(shown, name, canvas.width, canvas.height);
  const context = canvas.getContext("2d");
  context.drawImage(shown.painted[name], 0, 0);
  context.scale(scale, scale);
  context.fillStyle = "#ffffff";
  for (const side of ["true", "pred"]) {
    shown.boxes[side]?.forEach(([top, left, bottom, right], object) => {
      if (PLAIN.has(kinds(side, object))) return;
      context.fillRect((left + right) / 2 - 2 / scale, (top + bottom) / 2 - 2 / scale, 4 / scale, 4 / scale);
    });
  }
}

function paintThumbnail(shown, name, width, height) {
  const [canvas, scale] = [new OffscreenCanvas(width, height), width / shown.width];
  const context = canvas.getContext("2d");
  if (name !== "image") {
    const painted = new OffscreenCanvas(shown.width, shown.height);
    painted.getContext("2d").putImageData(paintLayer(shown, name), 0, 0);
    context.drawImage(painted, 0, 0, width, height);
    return canvas;
  }
  context.drawImage(shown.layers.image.picture, 0, 0, width, height);
  context.scale(scale, scale);
  for (const [side, thick] of [["true", 2.4], ["pred", 1.2]]) {
    if (!shown.paths[side]) continue;
    Object.assign(context, { lineWidth: thick / scale, strokeStyle: OUTLINES[side] });
    context.stroke(shown.paths[side]);
  }
  return canvas;
}
