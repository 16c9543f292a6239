// The map (Equal Earth, or plain for a part of the Earth) with its moving border, and the two globes.
"use strict";

const RADIAN = Math.PI / 180;
const colourOf = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const textures = new Map();

function rgbOf(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

// The pixels of a layer's picture: as they are (to read a value) and over the page's colour for "unknown" (to draw).
function texture(id) {
  const image = document.getElementById(id);
  const background = colourOf("--unknown");
  const known = textures.get(id);
  if (known && known.background === background) return known;
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const raw = context.getImageData(0, 0, width, height).data;
  const drawn = new Uint8ClampedArray(raw);
  const behind = rgbOf(background);
  for (let i = 0; i < drawn.length; i += 4) {
    if (drawn[i + 3] < 128) for (let c = 0; c < 3; c++) drawn[i + c] = behind[c];
    drawn[i + 3] = 255;
  }
  const made = {
    width, height, raw, drawn, background, meaning: JSON.parse(image.dataset.meaning),
  };
  textures.set(id, made);
  return made;
}

function meaningAt(source, u, v) {
  const x = Math.floor(u * source.width), y = Math.floor(v * source.height);
  if (x < 0 || y < 0 || x >= source.width || y >= source.height) return null;
  const at = 4 * (y * source.width + x);
  if (source.raw[at + 3] < 128) return "unknown";
  const hex = "#" + [0, 1, 2].map((c) => source.raw[at + c].toString(16).padStart(2, "0")).join("");
  return source.meaning[hex] ?? null;
}

// Colour at (u, v) of [0, 1], between the four nearest pixels; longitude goes round.
function blend(source, u, v, out, at, light) {
  const { width, height, drawn } = source;
  const x = u * width - 0.5, y = Math.min(height - 1, Math.max(0, v * height - 0.5));
  const x0 = Math.floor(x), y0 = Math.floor(y), fx = x - x0, fy = y - y0;
  const left = ((x0 % width) + width) % width, right = left + 1 === width ? 0 : left + 1;
  const top = y0 * width, bottom = Math.min(y0 + 1, height - 1) * width;
  const a = 4 * (top + left), b = 4 * (top + right), c = 4 * (bottom + left), d = 4 * (bottom + right);
  const wa = (1 - fx) * (1 - fy), wb = fx * (1 - fy), wc = (1 - fx) * fy, wd = fx * fy;
  for (let k = 0; k < 3; k++) {
    out[at + k] = light * (wa * drawn[a + k] + wb * drawn[b + k] + wc * drawn[c + k] + wd * drawn[d + k]);
  }
  out[at + 3] = 255;
}

// Equal Earth (Savric, Patterson, Jenny 2018): areas keep their size. Heights and widths for a parameter angle.
const [A1, A2, A3, A4] = [1.340264, -0.081106, 0.000893, 0.003796];
const equalHeight = (t) => t * (A1 + A2 * t ** 2 + t ** 6 * (A3 + A4 * t ** 2));
const equalSlope = (t) => A1 + 3 * A2 * t ** 2 + t ** 6 * (7 * A3 + 9 * A4 * t ** 2);
const equalWidth = (t) => (2 * Math.cos(t)) / (Math.sqrt(3) * equalSlope(t));
const TOP = equalHeight(Math.PI / 3), SIDE = Math.PI * equalWidth(0);

const equalEarth = {
  aspect: SIDE / TOP,
  // For each row: its latitude and how much of the width the Earth fills there.
  row(share) {
    const height = (1 - 2 * share) * TOP;
    let t = height / A1;
    for (let i = 0; i < 6; i++) t -= (equalHeight(t) - height) / equalSlope(t);
    const sine = Math.min(1, Math.max(-1, (2 * Math.sin(t)) / Math.sqrt(3)));
    return { lat: Math.asin(sine) / RADIAN, reach: (Math.PI * equalWidth(t)) / SIDE };
  },
  forward(lon, lat) {
    const t = Math.asin((Math.sqrt(3) / 2) * Math.sin(lat * RADIAN));
    return [0.5 + (0.5 * lon * RADIAN * equalWidth(t)) / SIDE, 0.5 - (0.5 * equalHeight(t)) / TOP];
  },
};
const plain = {
  row: (share) => ({ lat: 90 - 180 * share, reach: 1 }),
  forward: (lon, lat) => [(lon + 180) / 360, (90 - lat) / 180],
};

function drawFlat(projection, source, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    const { lat, reach } = projection.row((y + 0.5) / height);
    for (let x = 0; x < width; x++) {
      const across = ((x + 0.5) / width - 0.5) / reach + 0.5;
      if (across >= 0 && across < 1) blend(source, across, (90 - lat) / 180, picture.data, 4 * (y * width + x), 1);
    }
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

function drawNet(context, width, height, projection) {
  context.lineWidth = Math.max(0.5, width / 2200);
  context.strokeStyle = colourOf("--net");
  for (let lon = -180; lon <= 180; lon += 30) {
    context.beginPath();
    for (let lat = -90; lat <= 90; lat += 2) {
      const [x, y] = projection.forward(lon, lat);
      context.lineTo(x * width, y * height);
    }
    context.stroke();
  }
  for (let lat = -60; lat <= 60; lat += 30) {
    context.beginPath();
    context.moveTo(...scaled(projection.forward(-180, lat), width, height));
    context.lineTo(...scaled(projection.forward(180, lat), width, height));
    context.stroke();
  }
}
const scaled = ([x, y], width, height) => [x * width, y * height];

// An orthographic view of `source` around (lon, lat), in degrees.
function drawGlobe(canvas, source, view, pixels) {
  canvas.width = canvas.height = pixels;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(pixels, pixels);
  const radius = (pixels / 2 - 1) * view.zoom, middle = pixels / 2;
  const sine = Math.sin(view.lat * RADIAN), cosine = Math.cos(view.lat * RADIAN), lon0 = view.lon * RADIAN;
  for (let py = 0; py < pixels; py++) {
    const y = (middle - py - 0.5) / radius;
    for (let px = 0; px < pixels; px++) {
      const x = (px + 0.5 - middle) / radius, inside = 1 - x * x - y * y;
      if (inside <= 0) continue;
      const z = Math.sqrt(inside);
      const lat = Math.asin(y * cosine + z * sine);
      const lon = lon0 + Math.atan2(x, z * cosine - y * sine);
      const turn = lon / (2 * Math.PI) + 0.5;
      const at = 4 * (py * pixels + px);
      blend(source, turn - Math.floor(turn), 0.5 - lat / Math.PI, picture.data, at, 0.72 + 0.28 * Math.min(1, z * 1.25));
      if (inside < 0.012 * view.zoom) picture.data[at + 3] = 255 * Math.min(1, inside * radius / 2);
    }
  }
  context.putImageData(picture, 0, 0);
  drawMeridians(context, view, radius, middle);
}

function drawMeridians(context, view, radius, middle) {
  const sine = Math.sin(view.lat * RADIAN), cosine = Math.cos(view.lat * RADIAN);
  context.strokeStyle = colourOf("--net");
  context.lineWidth = Math.max(0.6, radius / 500);
  const trace = (points) => {
    let open = false;
    context.beginPath();
    for (const [lon, lat] of points) {
      const l = (lon - view.lon) * RADIAN, p = lat * RADIAN;
      const z = Math.sin(p) * sine + Math.cos(p) * Math.cos(l) * cosine;
      if (z < 0) { open = false; continue; }
      const x = middle + radius * Math.cos(p) * Math.sin(l);
      const y = middle - radius * (Math.sin(p) * cosine - Math.cos(p) * Math.cos(l) * sine);
      if (open) context.lineTo(x, y); else context.moveTo(x, y);
      open = true;
    }
    context.stroke();
  };
  const span = (from, to, step) => Array.from({ length: (to - from) / step + 1 }, (_, i) => from + i * step);
  for (let lon = -180; lon < 180; lon += 30) trace(span(-90, 90, 3).map((lat) => [lon, lat]));
  for (let lat = -60; lat <= 60; lat += 30) trace(span(-180, 180, 3).map((lon) => [lon, lat]));
}

function lonlatOn(view, x, y) {
  x /= view.zoom; y /= view.zoom;
  const inside = 1 - x * x - y * y;
  if (inside < 0) return null;
  const z = Math.sqrt(inside), sine = Math.sin(view.lat * RADIAN), cosine = Math.cos(view.lat * RADIAN);
  const lon = view.lon + Math.atan2(x, z * cosine - y * sine) / RADIAN;
  return [((lon + 540) % 360) - 180, Math.asin(y * cosine + z * sine) / RADIAN];
}

function degrees(lon, lat) {
  const written = (value, plus, minus) => `${Math.abs(value).toFixed(1)}° ${value < 0 ? minus : plus}`;
  return `${written(lat, "N", "S")}, ${written(lon, "E", "W")}`;
}

class EarthView {
  constructor(box) {
    this.box = box;
    this.whole = box.classList.contains("whole");
    [this.left, this.right] = box.querySelectorAll("select");
    this.swipe = box.querySelector(".swipe");
    this.map = box.querySelector("canvas.map");
    this.readout = box.querySelector(".readout");
    this.globes = [...box.querySelectorAll(".globe canvas")];
    this.view = { lon: 15, lat: 20, zoom: 1 };
    this.flat = {};
    const first = texture(this.left.value);
    this.projection = this.whole ? equalEarth : { ...plain, aspect: first.width / first.height };
    this.listen();
    this.refresh();
  }

  listen() {
    for (const select of [this.left, this.right]) select.addEventListener("change", () => this.refresh());
    this.box.querySelector(".swap").addEventListener("click", () => {
      [this.left.value, this.right.value] = [this.right.value, this.left.value];
      this.refresh();
    });
    this.swipe.addEventListener("input", () => this.compose());
    let pulling = false;
    const pull = (event) => {
      const box = this.map.getBoundingClientRect();
      if (pulling) { this.swipe.value = 100 * (event.clientX - box.left) / box.width; this.compose(); }
      this.pointAt(event, box);
    };
    this.map.addEventListener("pointerdown", (event) => { pulling = true; this.map.setPointerCapture(event.pointerId); pull(event); });
    this.map.addEventListener("pointermove", pull);
    for (const kind of ["pointerup", "pointercancel"]) this.map.addEventListener(kind, () => { pulling = false; });
    for (const globe of this.globes) this.listenGlobe(globe);
    this.box.querySelector(".spin")?.addEventListener("click", (event) => this.spin(event.currentTarget));
    document.addEventListener("theme", () => this.refresh());
    new ResizeObserver(() => { if (this.map.clientWidth !== this.drawnWidth) this.refresh(); }).observe(this.map);
  }

  listenGlobe(globe) {
    let last = null;
    globe.addEventListener("pointerdown", (event) => { last = [event.clientX, event.clientY]; globe.setPointerCapture(event.pointerId); });
    globe.addEventListener("pointermove", (event) => {
      const box = globe.getBoundingClientRect();
      if (last) {
        const scale = 115 / (box.width / 2) / this.view.zoom / 2;
        this.turn(-(event.clientX - last[0]) * scale, (event.clientY - last[1]) * scale, true);
        last = [event.clientX, event.clientY];
      }
      const place = lonlatOn(this.view, 2 * (event.clientX - box.left) / box.width - 1, 1 - 2 * (event.clientY - box.top) / box.height);
      if (place) this.read(...place);
    });
    for (const kind of ["pointerup", "pointercancel"]) globe.addEventListener(kind, () => { last = null; this.drawGlobes(false); });
    globe.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] }[event.key];
      const zoom = { "+": 1.25, "=": 1.25, "-": 0.8 }[event.key];
      if (!move && !zoom) return;
      event.preventDefault();
      if (zoom) this.view.zoom = Math.min(6, Math.max(1, this.view.zoom * zoom));
      this.turn(...(move || [0, 0]), false);
    });
  }

  title(side) {
    return this[side].selectedOptions[0].textContent;
  }

  turn(lon, lat, moving) {
    this.view.lon = ((this.view.lon + lon + 540) % 360) - 180;
    this.view.lat = Math.min(90, Math.max(-90, this.view.lat + lat));
    this.drawGlobes(moving);
  }

  spin(button) {
    this.spinning = !this.spinning;
    button.setAttribute("aria-pressed", this.spinning);
    button.textContent = this.spinning ? "Stop" : "Spin";
    let before = performance.now();
    const step = (now) => {
      if (!this.spinning) return this.drawGlobes(false);
      this.turn((now - before) * 0.012, 0, true);
      before = now;
      return requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  refresh() {
    const density = Math.min(2, devicePixelRatio || 1);
    this.drawnWidth = this.map.clientWidth;
    const width = Math.max(2, Math.round(this.drawnWidth * density)), height = Math.round(width / this.projection.aspect);
    Object.assign(this.map, { width, height });
    for (const side of ["left", "right"]) {
      this.flat[side] = drawFlat(this.projection, texture(this[side].value), width, height);
    }
    this.globes.forEach((globe) => {
      globe.parentElement.querySelector("figcaption").textContent = this.title(globe.dataset.side);
    });
    this.compose();
    this.drawGlobes(false);
  }

  compose() {
    const { width, height } = this.map, context = this.map.getContext("2d");
    const border = Math.round(width * this.swipe.value / 100);
    context.clearRect(0, 0, width, height);
    if (border > 0) context.drawImage(this.flat.left, 0, 0, border, height, 0, 0, border, height);
    if (border < width) context.drawImage(this.flat.right, border, 0, width - border, height, border, 0, width - border, height);
    if (this.whole) drawNet(context, width, height, this.projection);
    const thick = Math.max(2, width / 600);
    context.fillStyle = colourOf("--border-line");
    context.fillRect(border - thick / 2, 0, thick, height);
    context.font = `600 ${Math.max(11, width / 90)}px system-ui, sans-serif`;
    context.textBaseline = "bottom";
    this.label(context, this.title("left"), border - 8, height, "right");
    this.label(context, this.title("right"), border + 8, height, "left");
  }

  label(context, words, x, height, side) {
    const wide = context.measureText(words).width + 16;
    if (side === "right" ? x < wide : x + wide > this.map.width) return;
    context.textAlign = "left";
    context.fillStyle = colourOf("--label-back");
    const left = side === "right" ? x - wide : x, size = parseFloat(context.font.slice(4)) || 12;
    context.beginPath();
    context.roundRect(left, height - size * 1.9 - 8, wide, size * 1.9, 4);
    context.fill();
    context.fillStyle = colourOf("--ink");
    context.fillText(words, left + 8, height - 8 - size * 0.4);
  }

  drawGlobes(moving) {
    if (this.waiting) { this.waiting.moving = moving; return; }
    this.waiting = { moving };
    requestAnimationFrame(() => {
      const rough = this.waiting.moving;
      this.waiting = null;
      for (const globe of this.globes) {
        const density = rough ? 0.8 : Math.min(2, devicePixelRatio || 1);
        drawGlobe(globe, texture(this[globe.dataset.side].value), this.view, Math.max(2, Math.round(globe.clientWidth * density)));
      }
    });
  }

  pointAt(event, box) {
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const { lat, reach } = this.projection.row(y);
    const across = (x - 0.5) / reach + 0.5;
    if (across >= 0 && across < 1 && y >= 0 && y < 1) this.read(across * 360 - 180, lat);
  }

  read(lon, lat) {
    const words = this.whole ? [degrees(lon, lat)] : [];
    for (const side of ["left", "right"]) {
      const source = texture(this[side].value);
      const found = meaningAt(source, (lon + 180) / 360, (90 - lat) / 180);
      if (found) words.push(`${this.title(side)}: ${found}`);
    }
    this.readout.textContent = words.join("  ·  ") || "Nothing to read here.";
  }
}

const pictures = [...document.querySelectorAll("img[data-meaning]")];
Promise.all(pictures.map((image) => image.decode().catch(() => null))).then(() => {
  for (const box of document.querySelectorAll(".earth.live")) new EarthView(box);
});
