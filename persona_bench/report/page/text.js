// ----------------------------------------------------------------------------------------- text
// Long texts of models and judges, shortened until they are asked for, with marks where a search
// found something; formulas; and what two texts differ in.

// of a longer response the start and the end are shown, where the answer is
const LONGEST = { letters: 1000, lines: 20 };
const START = { letters: 450, lines: 8 };
const END = { letters: 300, lines: 6 };
const MOST_MARKS = 500;

/** From where to where a text's middle goes that is not shown at first; empty if it is short. */
function middleOf(text) {
  const lines = text.split("\n", LONGEST.lines + 1).length;
  if (text.length <= LONGEST.letters && lines <= LONGEST.lines) return [0, 0];
  let start = Math.min(text.length, START.letters);
  let end = Math.max(start, text.length - END.letters);
  start = text.slice(0, start).split("\n").slice(0, START.lines).join("\n").length;
  end = text.length - text.slice(end).split("\n").slice(-END.lines).join("\n").length;
  if (text[start] !== "\n") start -= /(?<=\s)\S{0,40}$/.exec(text.slice(0, start))?.[0].length ?? 0;
  if (text[end - 1] !== "\n") end += /^\S{0,40}\s+/.exec(text.slice(end))?.[0].length ?? 0;
  const within = (at) => /[\ud800-\udbff]/.test(text[at - 1] ?? ""); // the halves of a character
  if (within(start)) start--;
  if (within(end)) end++;
  return [start, Math.max(start, end)];
}

function isLong(text) {
  const [start, end] = middleOf(text ?? "");
  return start !== end;
}

/** The text in parts, with what the pattern finds marked in it. */
function marked(text, pattern) {
  if (!pattern) return [text];
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    if (parts.length > 2 * MOST_MARKS) break;
    parts.push(text.slice(from, match.index), make("mark", {}, match[0]));
    from = match.index + match[0].length;
  }
  parts.push(text.slice(from));
  return parts.filter((part) => part !== "");
}

/** A text in a box of this class; of a long one the middle is shown when it is asked for. */
function longText(text, look, pattern) {
  const part = (piece) => make("div", { class: look, dir: "auto" }, marked(piece, pattern));
  const [start, end] = middleOf(text);
  if (start === end) return part(text);
  const box = make("div", { class: "long" });
  const show = (whole) => {
    const button = make("button", {
      type: "button",
      "aria-expanded": String(whole),
      onclick: () => show(!whole),
    });
    button.textContent = whole ? "Show less" : `… ${plural(end - start, "more character")} …`;
    const focused = box.contains(document.activeElement);
    if (whole) box.replaceChildren(part(text), button);
    else box.replaceChildren(part(text.slice(0, start)), button, part(text.slice(end)));
    if (focused) button.focus();
  };
  const found = pattern ? text.search(pattern) : -1;
  show(route.params.has("whole") || (found >= start && found < end));
  return box;
}

// ------------------------------------------------------------------------------------- formulas
const MATHML = "http://www.w3.org/1998/Math/MathML";
// as in maths.py
const FORMULAS = /(?<!\\)\$\$([^$]+)\$\$|(?<!\\)\$(?!\s)([^$\n]+?)(?<!\s)\$(?!\d)|\\\(([\s\S]+?)\\\)|\\\[([\s\S]+?)\\\]/g;

/** MathML from its tree: known elements and attributes, as Python picked them. */
function formula([tag, attributes, children]) {
  const element = document.createElementNS(MATHML, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.map((child) => (typeof child === "string" ? child : formula(child))));
  return element;
}

/** A text with its formulas drawn; with what a search found marked instead, if there is one. */
function withFormulas(text, formulas, pattern) {
  if (pattern?.test(text)) return marked(text, pattern);
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(FORMULAS)) {
    const tree = formulas[match.slice(1).find((group) => group !== undefined)];
    if (!tree) continue;
    parts.push(text.slice(from, match.index), formula(tree));
    from = match.index + match[0].length;
  }
  return [...parts, text.slice(from)].filter((part) => part !== "");
}

/** An answer, drawn where all of it is a formula. */
function answerOf(text, formulas) {
  const tree = formulas[text.replace(/^\$+|\$+$/g, "")];
  return tree ? make("span", { class: "formula", title: text }, formula(tree)) : named(text);
}

// ---------------------------------------------------------------------------------- differences
const MOST_WORDS = 4000; // of a text that is compared
const MOST_EDITS = 600;

/**
 * What makes the second text of the first, word by word (Myers 1986): pairs of "=", "-" or "+" and
 * a text; null where they are too long or too different.
 */
function differences(first, second) {
  const [a, b] = [first, second].map((text) => text.match(/\s+|[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu) ?? []);
  if (a.length > MOST_WORDS || b.length > MOST_WORDS) return null;
  const furthest = new Map([[1, 0]]);
  const trace = [];
  search: for (let edits = 0; ; edits++) {
    if (edits > MOST_EDITS) return null;
    trace.push(new Map(furthest));
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
      let x = down ? furthest.get(k + 1) : furthest.get(k - 1) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      furthest.set(k, x);
      if (x >= a.length && x - k >= b.length) break search;
    }
  }
  const steps = [];
  let [x, y] = [a.length, b.length];
  for (let edits = trace.length - 1; edits >= 0; edits--) {
    const before = trace[edits];
    const k = x - y;
    const down = k === -edits || (k !== edits && (before.get(k - 1) ?? -1) < (before.get(k + 1) ?? -1));
    const from = down ? k + 1 : k - 1;
    const startX = before.get(from) ?? 0;
    const startY = startX - from;
    while (x > startX && y > startY && x > 0 && y > 0) steps.push(["=", a[--x], y--]);
    if (edits === 0) break;
    if (down) steps.push(["+", b[--y]]);
    else steps.push(["-", a[--x]]);
  }
  const parts = [];
  for (const [kind, word] of steps.reverse()) {
    if (parts.at(-1)?.[0] === kind) parts.at(-1)[1] += word;
    else parts.push([kind, word]);
  }
  return parts;
}

/** A text with what it has that another has not, and what it lacks. */
function comparedText(control, text) {
  const parts = differences(control, text);
  if (!parts) return [make("p", { class: "empty" }, "too different from the control to compare word by word"), longText(text, "response", null)];
  const tags = { "=": "span", "-": "del", "+": "ins" };
  return make("div", { class: "response", dir: "auto" }, parts.map(([kind, words]) => make(tags[kind], {}, words)));
}

// --------------------------------------------------------------------------------- conversations
const TURNS = [
  /<\|im_start\|>(\w+)\n([\s\S]*?)<\|im_end\|>/g,
  /<\|start_header_id\|>(\w+)<\|end_header_id\|>\s*([\s\S]*?)<\|eot_id\|>/g,
  /<start_of_turn>(\w+)\n([\s\S]*?)<end_of_turn>/g,
  /(?:^|\n\n)(system|user|assistant):\n([\s\S]*?)(?=\n\n(?:system|user|assistant):\n|$)/g,
];

/**
 * The messages of a prompt, as [role, text]; of one in an unknown template what is known of it.
 *
 * @param conversation the rounds before the question, as a JSON list of texts; null for none
 */
function turnsOf(context, system, question, conversation) {
  for (const pattern of TURNS) {
    const found = [...(context ?? "").matchAll(pattern)].map(([, role, text]) => [role, text.trim()]);
    if (found.length) return found;
  }
  const rounds = JSON.parse(conversation ?? "[]").map((text, place) => [place % 2 ? "assistant" : "user", text]);
  return [["system", system], ...rounds, ["user", question]].filter(([, text]) => text);
}
