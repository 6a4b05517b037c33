// ----------------------------------------------------------------------------------------- text
// Long texts of models and judges, shortened until they are asked for, with marks where a search
// found something.

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
