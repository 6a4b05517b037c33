// ---------------------------------------------------------------------------------------- store
// The data in the page: blocks of gzip and base64, unpacked when they are needed.

const KEPT_CHUNKS = 96; // of about a megabyte, for each pool

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function unpack(name) {
  const block = document.getElementById(`data-${name}`);
  if (!block) throw new Error(`the part ${name} is missing: was the file cut off?`);
  const packed = new Blob([bytesOf(block.textContent)]).stream();
  const plain = packed.pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(plain).text());
}

/** Distinct texts, in chunks. */
class Pool {
  constructor({ name, codes, starts, size, heads }) {
    Object.assign(this, { name, codes, starts, size, heads });
    this.kept = new Map(); // the one that was used last stands last
  }

  get chunks() {
    return this.starts.length;
  }

  chunk(number) {
    let texts = this.kept.get(number);
    if (texts) {
      this.kept.delete(number);
    } else {
      texts = unpack(`${this.name}-${number}`);
      texts.catch(() => this.kept.delete(number));
      if (this.kept.size >= KEPT_CHUNKS) this.kept.delete(this.kept.keys().next().value);
    }
    this.kept.set(number, texts);
    return texts;
  }

  /** The text of a row; null where it has none. */
  async text(row) {
    const code = this.codes[row];
    if (code < 0) return null;
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= code) low = middle;
      else high = middle - 1;
    }
    return (await this.chunk(low))[code - this.starts[low]];
  }
}

/** All responses: columns of codes, sorted by task, question, model, persona and sample. */
class Store {
  constructor(index) {
    this.rows = index.rows;
    this.sample = index.sample;
    this.columns = index.columns;
    this.pools = {};
    for (const [name, about] of Object.entries(index.pools)) this.pools[name] = new Pool(about);
    this.groups = this.#groups();
    this.taskGroups = new Map();
    for (const group of this.groups) {
      const own = this.taskGroups.get(group.task) ?? [];
      own.push(group);
      this.taskGroups.set(group.task, own);
    }
    this.#judgements(index.judgements);
    const { codes, values } = this.columns.score; // of tasks that give scores, not only verdicts
    const scores = values.map((text) => (text === "" ? NaN : Number(text)));
    this.graded = Float64Array.from(codes, (code) => scores[code]);
  }

  /** Trees of MathML by their LaTeX, unpacked when a question is first shown. */
  formulas() {
    this.maths ??= unpack("maths");
    return this.maths;
  }

  value(column, row) {
    const { codes, values } = this.columns[column];
    return values[codes[row]];
  }

  /** A question's rows stand together: `from` up to but not including `to`. */
  #groups() {
    const tasks = this.columns.task.codes;
    const questions = this.columns.question.codes;
    const groups = [];
    for (let row = 0; row < this.rows; row++) {
      const last = groups.at(-1);
      if (last && last.task === tasks[row] && last.question === questions[row]) last.to = row + 1;
      else groups.push({ task: tasks[row], question: questions[row], from: row, to: row + 1 });
    }
    return groups;
  }

  #judgements({ row, score, columns, pool }) {
    this.justification = new Pool(pool);
    this.judged = new Map(); // from a row to its judgements
    this.judgedRow = row;
    this.score = new Float64Array(this.rows).fill(NaN); // mean over judges
    row.forEach((of, place) => {
      const said = { place, score: score[place] };
      for (const name of ["judge", "verdict", "reason"]) {
        said[name] = columns[name].values[columns[name].codes[place]];
      }
      const all = this.judged.get(of) ?? [];
      all.push(said);
      this.judged.set(of, all);
    });
    for (const [of, all] of this.judged) {
      const scores = all.map((said) => said.score).filter((value) => value !== null);
      if (scores.length) this.score[of] = scores.reduce((a, b) => a + b) / scores.length;
    }
  }
}
