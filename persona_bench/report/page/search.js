// --------------------------------------------------------------------------------------- search
// Looks through responses, questions, personas, system messages, prompts and judges' words, chunk
// by chunk, so that the page stays at hand meanwhile.

const SEARCHED = ["question_text", "system", "response", "context"]; // pools
const NAMES = ["question", "answer", "persona", "kind", "taken"]; // columns

class Search {
  constructor(store) {
    this.store = store;
    this.text = "";
    this.finished = true;
  }

  /** The test of a row by what is found so far; null where nothing is searched for. */
  get found() {
    if (!this.text) return null;
    const { store, hits } = this;
    const pools = SEARCHED.map((name) => [store.pools[name].codes, hits[name]]);
    const names = NAMES.map((name, place) => [store.columns[name].codes, hits.names[place]]);
    return (row) => hits.rows[row] === 1 || [...names, ...pools].some(([codes, hit]) => hit[codes[row]] === 1);
  }

  /** Starts anew; `progress` is called now and then, and at the end. */
  async start(text, progress) {
    const run = {};
    Object.assign(this, { run, text, done: 0 });
    this.finished = !text;
    if (!text) return;
    const { store } = this;
    const pattern = patternOf(text, "i");
    const test = (values) => Uint8Array.from(values, (value) => (pattern.test(value) ? 1 : 0));
    this.hits = { names: NAMES.map((name) => test(store.columns[name].values)), rows: new Uint8Array(store.rows) };
    const said = new Uint8Array(store.justification.size);
    const jobs = SEARCHED.map((name) => [store.pools[name], (this.hits[name] = new Uint8Array(store.pools[name].size))]);
    jobs.splice(2, 0, [store.justification, said]);
    this.parts = jobs.reduce((sum, [pool]) => sum + pool.chunks, 0);
    let shown = performance.now();
    for (const [pool, hits] of jobs) {
      for (let number = 0; number < pool.chunks; number++) {
        const texts = await pool.chunk(number);
        if (this.run !== run) return; // another search was started
        texts.forEach((each, place) => {
          if (pattern.test(each)) hits[pool.starts[number] + place] = 1;
        });
        this.done++;
        if (performance.now() - shown > 250) {
          progress(this);
          shown = performance.now();
        }
        await new Promise((then) => setTimeout(then));
        if (this.run !== run) return;
      }
      if (pool === store.justification) {
        store.judgedRow.forEach((row, place) => {
          if (said[pool.codes[place]]) this.hits.rows[row] = 1;
        });
      }
    }
    this.finished = true;
    progress(this);
  }
}
