// --------------------------------------------------------------------------------------- select
// Which responses are meant: by the facets in the address, and by what a search found.

/** What an accuracy is over, and what only picks responses out of it. */
const SCOPE = ["model", "persona", "kind", "level", "subject"];
const NARROW = ["verdict", "reason", "route", "voice"];
const FACETS = [...SCOPE, ...NARROW];

const ORDERS = {
  split: "most divided first",
  asked: "as asked",
  fewest: "lowest share or score first",
  most: "highest first",
  name: "by id",
};

/** The code of the task in the address; the first where it names none; -1: no such task. */
function taskOf(store, params) {
  return params.has("task") ? store.columns.task.values.indexOf(params.get("task")) : 0;
}

/** What each facet can be in a task: its codes in the order of their first use. */
function optionsOf(store, task) {
  const options = Object.fromEntries(FACETS.map((name) => [name, new Set()]));
  for (const group of store.taskGroups.get(task) ?? []) {
    for (let row = group.from; row < group.to; row++) {
      for (const name of FACETS) options[name].add(store.columns[name].codes[row]);
    }
  }
  for (const name of FACETS) options[name] = [...options[name]].sort((a, b) => a - b);
  return options;
}

/** Tests of rows by what the address asks of some columns. */
function testsOf(store, params, names) {
  return names
    .filter((name) => params.has(name))
    .map((name) => {
      const { codes, values } = store.columns[name];
      const wanted = new Uint8Array(values.length);
      for (const value of params.getAll(name)) wanted[values.indexOf(value)] = 1;
      return (row) => wanted[codes[row]] === 1;
    });
}

/** Whether a row is in scope, and whether it is picked besides. */
function rowTests(store, params, found) {
  const scope = testsOf(store, params, SCOPE);
  const narrow = testsOf(store, params, NARROW);
  if (found) narrow.push(found);
  return {
    inScope: (row) => scope.every((test) => test(row)),
    picked: (row) => narrow.every((test) => test(row)),
    narrow: narrow.length > 0,
  };
}

/** Counts of one question's rows. */
function tally(store, group, tests) {
  const verdicts = store.columns.verdict;
  const count = { group, n: 0, picked: 0, correct: 0, wrong: 0, unscored: 0, open: 0, points: 0, pointed: 0, score: 0, scored: 0, least: Infinity, most: -Infinity };
  for (let row = group.from; row < group.to; row++) {
    if (!tests.inScope(row)) continue;
    count.n++;
    const verdict = verdicts.values[verdicts.codes[row]];
    if (verdict === "correct" || verdict === "wrong" || verdict === "unscored") count[verdict]++;
    if (verdict === "") count.open++;
    const points = store.graded[row];
    if (points === points) {
      count.points += points;
      count.pointed++;
    }
    const score = store.score[row];
    if (score === score) {
      count.score += score;
      count.scored++;
      count.least = Math.min(count.least, score);
      count.most = Math.max(count.most, score);
    }
    if (tests.picked(row)) count.picked++;
  }
  const graded = count.pointed || count.correct + count.wrong;
  count.share = graded ? (count.pointed ? count.points : count.correct) / graded : NaN;
  count.mean = count.scored ? count.score / count.scored : NaN;
  count.value = graded ? count.share : count.mean;
  return count;
}

/** The questions with a response that is meant, counted and in order. */
function selectQuestions(store, params, found) {
  const tests = rowTests(store, params, found);
  const groups = store.taskGroups.get(taskOf(store, params)) ?? [];
  const counts = groups.map((group) => tally(store, group, tests)).filter((c) => c.picked);
  const last = (value) => (Number.isNaN(value) ? Infinity : value);
  // half of the personas right is the most divided; of scores, those furthest apart
  const split = ({ share, scored, least, most }) => (!Number.isNaN(share) ? Math.abs(share - 0.5) : scored ? least - most : Infinity);
  const names = store.columns.question.values;
  const { compare } = new Intl.Collator("en", { numeric: true });
  const by = {
    fewest: (a, b) => last(a.value) - last(b.value),
    most: (a, b) => last(-a.value) - last(-b.value),
    split: (a, b) => split(a) - split(b),
    name: (a, b) => compare(names[a.group.question], names[b.group.question]),
  }[params.get("sort") ?? "split"];
  if (by) counts.sort((a, b) => by(a, b) || a.group.from - b.group.from);
  return { counts, tests };
}

/** `10 of 16 correct` (and `mean voice 3.8`), `mean score 3.8`, or how many responses there are. */
function describe(count) {
  const parts = [];
  const graded = count.pointed || count.correct + count.wrong;
  if (count.pointed) parts.push(`mean score ${count.share.toFixed(2)}`);
  else if (graded) parts.push(`${count.correct} of ${graded} correct`);
  if (count.scored) parts.push(`mean ${graded ? "voice" : "score"} ${count.mean.toFixed(2)}`);
  if (count.unscored) parts.push(`${count.unscored} unscored`);
  if (count.open) parts.push(`${count.open} not judged yet`);
  return parts.length ? parts.join(", ") : plural(count.n, "response");
}
