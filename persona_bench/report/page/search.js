// --------------------------------------------------------------------------------------- search
// Looks through responses, questions and judges' words, chunk by chunk, so that the page stays
// at hand meanwhile.

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
    const { response, question_text: question } = store.pools;
    const names = [store.columns.question, store.columns.answer];
    return (row) =>
      hits.rows[row] === 1 ||
      hits.response[response.codes[row]] === 1 ||
      hits.question_text[question.codes[row]] === 1 ||
      names.some(({ codes }, place) => hits.names[place][codes[row]] === 1);
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
    const { response, question_text: question } = store.pools;
    this.hits = {
      names: [test(store.columns.question.values), test(store.columns.answer.values)],
      response: new Uint8Array(response.size),
      question_text: new Uint8Array(question.size),
      rows: new Uint8Array(store.rows),
    };
    const said = new Uint8Array(store.justification.size);
    const jobs = [
      [question, this.hits.question_text],
      [store.justification, said],
      [response, this.hits.response],
    ];
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
