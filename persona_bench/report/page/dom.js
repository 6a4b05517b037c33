// ------------------------------------------------------------------------------------------ dom
// Elements are made one by one and text is put in as text: there is no markup in this script.

/** An element; attributes named on... are listeners, strings among the children are text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  const missing = [null, undefined, false];
  element.append(...children.flat(Infinity).filter((child) => !missing.includes(child)));
  return element;
}

/** Somebody else's name in a line of ours: its direction of writing stays its own. */
function named(text, attributes = {}) {
  return make("bdi", attributes, text);
}

/** An identifier that breaks at its slashes and underscores rather than anywhere. */
function breaking(text) {
  return text.split(/(?<=[/_])/).flatMap((part) => [part, make("wbr")]).slice(0, -1);
}

/** Our own identifiers as words; any other text as it is. */
function spaced(text) {
  return /^[a-z]+(_[a-z]+)+$/.test(text) ? text.replaceAll("_", " ") : text;
}

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** Says something to those who listen to the page. */
function say(text) {
  document.getElementById("live").textContent = text;
}

function complain(text) {
  const place = document.getElementById("problem");
  place.textContent = text;
  place.hidden = false;
}

const SIGNS = { correct: "✓", wrong: "✗", unscored: "?", scored: "★", "": "…" };
const WORDS = { "": "not judged yet" };

function signOf(verdict) {
  return Object.hasOwn(SIGNS, verdict) ? SIGNS[verdict] : "•";
}

function wordOf(verdict) {
  return Object.hasOwn(WORDS, verdict) ? WORDS[verdict] : verdict;
}

/** Verdict as sign and word; the colour only repeats it. */
function badge(verdict, more = "") {
  const known = Object.hasOwn(SIGNS, verdict) ? verdict || "open" : "other";
  return make(
    "span",
    { class: `badge ${known}` },
    make("span", { "aria-hidden": "true" }, signOf(verdict)),
    " ",
    named(wordOf(verdict) + more),
  );
}

async function copy(text, button) {
  const before = button.textContent;
  let done = "Copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    if (!document.execCommand("copy")) done = "Not copied";
    area.remove();
    button.focus();
  }
  button.textContent = done;
  say(done);
  setTimeout(() => (button.textContent = before), 1500);
}

function fileName(title) {
  return title.replace(/[^\p{L}\p{N}]+/gu, "_").slice(0, 80) || "figure";
}

function download(contents, name, type = "text/csv;charset=utf-8") {
  const address = URL.createObjectURL(new Blob([contents], { type }));
  const link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** A pattern that finds these characters, whatever their case. */
function patternOf(text, flags) {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&"), flags);
}
