// --------------------------------------------------------------------------------------- chart
// The frame of a chart: elements of SVG, scales, what is said on hovering, and files to keep.
// Colours are the page's own variables, so that they follow dark mode; in files they are those
// for white paper.

const SVG = "http://www.w3.org/2000/svg";
const TEXT = 12; // pixels
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif";
const GROUPS = { control: "diamond", expert: "circle", neutral: "square", harmful: "triangle" };
const SHAPES = ["circle", "square", "triangle", "diamond", "down", "cross", "circle", "square"];

/** An element of a drawing; text is put in as text. */
function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== false));
  return element;
}

const pen = document.createElement("canvas").getContext("2d");

function widthOf(text, size = TEXT) {
  pen.font = `${size}px ${FONT}`;
  return pen.measureText(text).width;
}

/** The text, cut in its middle where it is wider than there is room. */
function fitted(text, room, size = TEXT) {
  if (widthOf(text, size) <= room) return text;
  const letters = [...text];
  let kept = letters.length - 1;
  const cut = () => letters.slice(0, Math.ceil(kept / 2)).join("") + "…" + letters.slice(letters.length - Math.floor(kept / 2)).join("");
  while (kept > 2 && widthOf(cut(), size) > room) kept--;
  return cut();
}

/** Round places between two numbers, about as many as asked for. */
function ticksOf(low, high, wanted) {
  const raw = (high - low) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= raw) ?? power * 10;
  const places = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9 * step; at++) places.push(+(at * step).toPrecision(12));
  return places;
}

/** From numbers to pixels; `ends` are widened so that marks at the end are whole. */
function scaleOf(values, from, to, least = -Infinity, most = Infinity) {
  const known = values.filter((value) => value !== null && value !== undefined);
  let low = known.length ? Math.min(...known) : 0;
  let high = known.length ? Math.max(...known) : 1;
  const room = Math.max(0.05 * (high - low), 0.02 * Math.max(1e-9, Math.abs(high)), 1e-6);
  low = Math.max(least, low - room);
  high = Math.min(most, high + room);
  if (!(high > low)) [low, high] = [low - 0.5, high + 0.5];
  const at = (value) => from + ((value - low) / (high - low)) * (to - from);
  return Object.assign(at, { low, high, ticks: (apart) => ticksOf(low, high, Math.abs(to - from) / apart) });
}

function shown(value, digits = 3) {
  if (value === null || value === undefined) return "n/a";
  return Number.isInteger(value) && Math.abs(value) > 1 ? value.toLocaleString("en") : value.toFixed(digits);
}

function withEnds([value, low, high]) {
  return low === null || high === null ? shown(value) : `${shown(value)} [${shown(low)}, ${shown(high)}]`;
}

/** A marker about a point. */
function marker(shape, x, y, size, colour, more = {}) {
  const s = size;
  const look = { fill: colour, stroke: "var(--paper)", "stroke-width": 1, ...more };
  if (shape === "circle") return draw("circle", { cx: x, cy: y, r: s, ...look });
  if (shape === "square") return draw("rect", { x: x - s * 0.9, y: y - s * 0.9, width: s * 1.8, height: s * 1.8, ...look });
  const d = {
    diamond: `M${x} ${y - s * 1.25}L${x + s * 1.25} ${y}L${x} ${y + s * 1.25}L${x - s * 1.25} ${y}Z`,
    triangle: `M${x} ${y - s * 1.2}L${x + s * 1.15} ${y + s}L${x - s * 1.15} ${y + s}Z`,
    down: `M${x} ${y + s * 1.2}L${x + s * 1.15} ${y - s}L${x - s * 1.15} ${y - s}Z`,
    cross: `M${x - s} ${y - s * 0.4}h${s * 0.6}v${-s * 0.6}h${s * 0.8}v${s * 0.6}h${s * 0.6}v${s * 0.8}h${-s * 0.6}v${s * 0.6}h${-s * 0.8}v${-s * 0.6}h${-s * 0.6}Z`,
  }[shape];
  return draw("path", { d, ...look });
}

function writing(text, x, y, more = {}) {
  return draw("text", { x, y, "font-size": TEXT, fill: "var(--ink)", "dominant-baseline": "central", ...more }, text);
}

/** The address of the responses that a link means; null where the page has none. */
function responsesAt(link, more = {}) {
  const params = new URLSearchParams(Object.entries({ ...link, ...more }).filter(([, value]) => value));
  return Object.keys(link ?? {}).length && Chart.hasResponses ? hashOf("responses", params) : null;
}

class Chart {
  static hasResponses = false;

  constructor(spec) {
    this.spec = spec;
    this.tip = make("div", { class: "tip", hidden: true });
    this.box = make("div", { class: "drawing" });
    const files = make("div", { class: "tools" }, make("span", { class: "push" }));
    for (const kind of ["SVG", "PNG"]) {
      const save = () => this.#save(kind).catch((error) => complain(error.message));
      files.append(make("button", { type: "button", onclick: save, "aria-label": `Download ${spec.title} as ${kind}` }, kind));
    }
    this.element = make("div", { class: "chart" }, files, this.box, this.tip);
    this.box.addEventListener("pointermove", (event) => this.#say(event));
    this.box.addEventListener("pointerleave", () => (this.tip.hidden = true));
    this.box.addEventListener("focusin", (event) => this.#say(event));
    this.box.addEventListener("focusout", () => (this.tip.hidden = true));
    this.width = 0;
    new ResizeObserver(() => {
      const width = Math.floor(this.box.clientWidth);
      if (!width || width === this.width) return;
      this.width = width;
      this.says = new WeakMap();
      this.box.replaceChildren(DRAWINGS[spec.kind](this, spec, width));
    }).observe(this.box);
  }

  /** A drawing of this height, with what is in it. */
  svg(height, ...children) {
    return draw("svg", { viewBox: `0 0 ${this.width} ${height}`, width: this.width, height, role: "group", "aria-label": this.spec.title, "font-family": FONT }, children);
  }

  /** An element that says something on hovering, and leads somewhere. */
  mark(says, href, ...children) {
    const element = href ? draw("a", { href, "aria-label": says, class: "mark" }, children) : draw("g", { class: "mark" }, children);
    this.says.set(element, says);
    return element;
  }

  #say(event) {
    const over = event.target.closest?.(".mark");
    const says = this.cellAt?.(event) ?? (over ? this.says.get(over) : null);
    this.tip.hidden = !says;
    if (!says) return;
    this.tip.textContent = says;
    const own = this.element.getBoundingClientRect();
    const at = event.clientX === undefined ? over.getBoundingClientRect() : { x: event.clientX, y: event.clientY };
    const x = Math.min(at.x - own.x + 12, own.width - this.tip.offsetWidth - 4);
    this.tip.style.setProperty("left", `${Math.max(0, x)}px`);
    this.tip.style.setProperty("top", `${at.y - own.y + 16}px`);
  }

  /** The legend, in as many lines as it needs: its elements, and how tall it is. */
  legend(entries, left = 0) {
    const parts = [];
    let [x, y] = [left, 10];
    for (const { name, shape, colour, dash, area } of entries) {
      const text = fitted(name, this.width - left - 40);
      const wide = 24 + widthOf(text) + 16;
      if (x > left && x + wide > this.width) [x, y] = [left, y + 18];
      if (area) parts.push(draw("rect", { x, y: y - 6, width: 16, height: 12, fill: colour, "fill-opacity": area === true ? 1 : area, stroke: "var(--soft)", "stroke-width": 0.5 }));
      else if (shape) parts.push(marker(shape, x + 8, y, 5, colour));
      if (dash !== undefined) parts.push(draw("line", { x1: x, x2: x + 16, y1: y, y2: y, stroke: colour, "stroke-width": 1.5, "stroke-dasharray": dash }));
      parts.push(writing(text, x + 22, y));
      x += wide;
    }
    return { parts, height: entries.length ? y + 14 : 0 };
  }

  /** Lines and numbers of an axis across, and its name. */
  across(scale, top, bottom, label, left, right) {
    const parts = [];
    for (const at of scale.ticks(right - left < 350 ? 45 : 70)) {
      const x = scale(at);
      parts.push(draw("line", { x1: x, x2: x, y1: top, y2: bottom, stroke: "var(--line)" }));
      parts.push(writing(String(at), x, bottom + 12, { "text-anchor": "middle", fill: "var(--soft)" }));
    }
    parts.push(writing(fitted(label, right - left), (left + right) / 2, bottom + 30, { "text-anchor": "middle", fill: "var(--soft)" }));
    return parts;
  }

  /** The same upwards, its name above. */
  upwards(scale, left, right, label, top) {
    const parts = [];
    for (const at of scale.ticks(45)) {
      const y = scale(at);
      parts.push(draw("line", { x1: left, x2: right, y1: y, y2: y, stroke: "var(--line)" }));
      parts.push(writing(String(at), left - 6, y, { "text-anchor": "end", fill: "var(--soft)" }));
    }
    parts.push(writing(fitted(label, right), 0, top, { fill: "var(--soft)" }));
    return parts;
  }

  /** The chart as a file, in the colours for white paper. */
  async #save(kind) {
    const light = document.styleSheets[0].cssRules[0].style;
    const copy = this.box.firstChild.cloneNode(true);
    for (const link of copy.querySelectorAll("a")) link.removeAttribute("href");
    copy.prepend(draw("rect", { width: "100%", height: "100%", fill: "var(--paper)" }));
    const plain = new XMLSerializer().serializeToString(copy);
    const text = plain.replace(/var\((--[\w-]+)\)/g, (_, name) => light.getPropertyValue(name).trim());
    const name = fileName(this.spec.title);
    if (kind === "SVG") return download(text, `${name}.svg`, "image/svg+xml");
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    await image.decode();
    const [width, height] = [copy.getAttribute("width"), copy.getAttribute("height")].map((each) => 2 * each);
    const canvas = make("canvas", { width, height });
    canvas.getContext("2d").drawImage(image, 0, 0, width, height);
    const blob = await new Promise((then) => canvas.toBlob(then, "image/png"));
    return download(blob, `${name}.png`, "image/png");
  }
}

/** Puts a chart into each place for one; the line below a number of a card, too. */
function placeCharts(specs) {
  for (const place of document.querySelectorAll("[data-chart]")) place.append(new Chart(specs[place.dataset.chart]).element);
  for (const gauge of document.querySelectorAll(".gauge")) {
    for (const name of ["value", "low", "high", "floor"]) {
      const at = gauge.dataset[name];
      gauge.style.setProperty(`--${name}`, at === "" ? 0 : at);
      if (at !== "" && (name === "value" || name === "floor")) gauge.append(make("span", { class: name }));
    }
    if (gauge.dataset.low !== "") gauge.prepend(make("span", { class: "range" }));
  }
}
