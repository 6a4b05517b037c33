// ------------------------------------------------------------------------------------- question
// One question: its text, and the responses of all personas side by side.

const MANY = 60; // responses; of more only those in view are laid out

class QuestionView {
  constructor(store) {
    this.store = store;
    this.element = make("section", { class: "question", "aria-label": "Question" });
    this.turn = 0;
    this.steps = make("div", { class: "steps" });
    this.shown = null;
  }

  /**
   * Shows the responses to a question that are meant, or says why there are none.
   *
   * @param count the question, as `tally` counts it
   * @param neighbours its place in the list, and the addresses before and after it
   */
  async show(count, tests, search, neighbours) {
    this.#step(neighbours);
    const all = route.params.has("all");
    const rows = [];
    for (let row = count?.group.from; row < count?.group.to; row++) {
      if (all || (tests.inScope(row) && tests.picked(row))) rows.push(row);
    }
    const shown = [route.hash, count ? "" : neighbours.none, ...rows].join();
    if (shown === this.shown) return; // a search goes on elsewhere
    this.shown = shown;
    const turn = ++this.turn;
    if (!count) {
      this.element.replaceChildren(make("p", { class: "empty" }, neighbours.none));
      return;
    }
    const { store } = this;
    const { group } = count;
    const texts = await Promise.all(rows.map((row) => store.pools.response.text(row)));
    const question = await store.pools.question_text.text(group.from);
    const said = await Promise.all(rows.map((row) => this.#judges(row)));
    if (turn !== this.turn) return; // another question is wanted by now
    const of = new Map(rows.map((row, place) => [row, { text: texts[place], said: said[place] }]));
    this.pattern = search ? patternOf(search, "gi") : null;
    this.group = group;
    this.element.replaceChildren(
      this.steps,
      this.#head(group, question),
      this.#overview(rows, count, all, texts.some(isLong)),
      this.#answers(rows, of),
    );
    this.#goTo(route.params.get("at"));
  }

  #step({ place, total, before, after }) {
    const step = (to, text, keys) =>
      to
        ? make("a", { href: to, class: "step", "aria-keyshortcuts": keys }, text)
        : make("span", { class: "step off" }, text);
    this.steps.replaceChildren(
      step(before, "← Previous", "k"),
      step(after, "Next →", "j"),
      make("span", { class: "count" }, place < 0 ? "not in the list" : `${place + 1} of ${total}`),
    );
  }

  async #judges(row) {
    const all = this.store.judged.get(row) ?? [];
    return Promise.all(
      all.map(async (said) => ({
        ...said,
        words: (await this.store.justification.text(said.place)) ?? "",
      })),
    );
  }

  #head(group, question) {
    const { store } = this;
    const [id, answer] = ["question", "answer"].map((name) => store.value(name, group.from));
    const about = ["subject", "level"].map((name) => [name, store.value(name, group.from)]);
    return make(
      "header",
      {},
      make("h2", {}, "Question ", named(id)),
      make(
        "p",
        { class: "about" },
        about.filter(([, value]) => value).map(([name, value]) => make("span", {}, `${name}: `, named(value))),
      ),
      question && make("div", { class: "asked", dir: "auto" }, marked(question, this.pattern)),
      answer && make("p", { class: "reference" }, "Reference answer: ", named(answer)),
    );
  }

  /** A sign for each persona, as a link to its card. */
  #overview(rows, count, all, long) {
    const personas = new Map();
    for (const row of rows) {
      const persona = this.store.value("persona", row);
      const own = personas.get(persona) ?? [];
      own.push(this.store.value("verdict", row));
      personas.set(persona, own);
    }
    const chips = [...personas].map(([persona, own]) => this.#chip(persona, own));
    const size = count.group.to - count.group.from;
    const hidden = size - rows.length;
    const filtered = hidden > 0 || (all && count.picked < size);
    return make(
      "div",
      { class: "overview" },
      make(
        "p",
        {},
        make("strong", {}, describe(count)),
        filtered && ` · ${rows.length} of ${plural(size, "response")} shown `,
        filtered &&
          make("a", { href: hashWith({ all: all ? null : "1" }) }, all ? "Only what the filters pick" : `Show all ${size}`),
        long && " · ",
        long && make(
          "a",
          { href: hashWith({ whole: route.params.has("whole") ? null : "1" }) },
          route.params.has("whole") ? "Shorten long responses" : "Show long responses whole",
        ),
      ),
      chips.length > 1 && make("ul", { class: "chips", "aria-label": "Personas" }, chips),
    );
  }

  #chip(persona, verdicts) {
    const kinds = [...new Set(verdicts)].sort();
    const number = (verdict) => verdicts.filter((each) => each === verdict).length;
    const few = verdicts.length <= 4; // each response's own sign, else how many have it
    const signs = few ? verdicts.map(signOf).join("") : kinds.map((v) => signOf(v) + number(v)).join(" ");
    const words = kinds.map((verdict) => `${number(verdict)} ${wordOf(verdict)}`).join(", ");
    const look = kinds.length === 1 && Object.hasOwn(SIGNS, kinds[0]) ? kinds[0] : "";
    return make(
      "li",
      {},
      make(
        "a",
        { href: this.#link({ at: persona }), class: `chip ${look}` },
        make("span", { "aria-hidden": "true" }, signs, " "),
        named(persona),
        make("span", { class: "unseen" }, `: ${words}`),
      ),
    );
  }

  /** Cards in a grid, a persona each; a row a persona where there are several models. */
  #answers(rows, of) {
    const { store } = this;
    const { persona, model } = store.columns;
    const models = [...new Set(rows.map((row) => model.codes[row]))].sort((a, b) => a - b);
    const personas = [...new Set(rows.map((row) => persona.codes[row]))].sort((a, b) => a - b);
    const cell = (who, which, heading, title, more) => {
      const own = rows.filter((row) => persona.codes[row] === who && model.codes[row] === which);
      const samples = own.map((row) => this.#sample(row, of.get(row), own.length > 1));
      const missing = samples.length ? null : make("p", { class: "empty" }, "no response shown");
      const parts = [make("header", {}, make(heading, {}, named(title)), more), samples, missing];
      return make("article", { class: "card" }, parts);
    };
    const many = rows.length > MANY ? "many" : "";
    if (models.length < 2) {
      const cards = personas.map((who) => {
        const kind = this.#kind(rows.find((row) => persona.codes[row] === who));
        const card = cell(who, models[0], "h3", persona.values[who], kind);
        return this.#placed(card, persona.values[who]);
      });
      return make("div", { class: `cards ${many}` }, cards);
    }
    const lines = personas.map((who) => {
      const cells = models.map((which) => cell(who, which, "h4", model.values[which], null));
      const columns = make("div", { class: "columns" }, cells);
      columns.style.setProperty("--columns", models.length);
      const kind = this.#kind(rows.find((row) => persona.codes[row] === who));
      const title = make("h3", {}, named(persona.values[who]), " ", kind);
      const line = make("section", { class: "line" }, title, make("div", { class: "wide" }, columns));
      return this.#placed(line, persona.values[who]);
    });
    return make("div", { class: `lines ${many}` }, lines);
  }

  #placed(element, persona) {
    element.dataset.persona = persona;
    element.tabIndex = -1;
    const link = make("a", { href: this.#link({ at: persona }), class: "link", title: "A link to this persona" }, "link");
    (element.querySelector("header, h3") ?? element).append(" ", link);
    return element;
  }

  #kind(row) {
    const kind = this.store.value("kind", row);
    return kind ? make("span", { class: "kind" }, named(spaced(kind))) : null;
  }

  /** An address that names what is shown now, also where this one leaves it open. */
  #link(changes) {
    const { task, question } = this.group;
    const { columns } = this.store;
    const shown = { task: columns.task.values[task], question: columns.question.values[question] };
    return hashWith({ ...shown, ...changes });
  }

  #sample(row, { text, said }, many) {
    const { store } = this;
    const [reason, found, reward] = ["reason", "route", "reward"].map((name) =>
      store.value(name, row),
    );
    const voice = store.value("voice", row);
    const score = store.score[row];
    const more = score === score && !voice ? ` ${+score.toFixed(2)}` : "";
    const verdict = make("p", { class: "verdict" }, badge(store.value("verdict", row), more));
    if (reason) verdict.append(" ", make("span", { class: "reason" }, named(spaced(reason))));
    if (found) verdict.append(" ", make("span", { class: "route" }, "route: ", named(found)));
    if (voice) verdict.append(" ", make("span", { class: "route" }, voice));
    if (reward) verdict.append(" ", make("span", { class: "reward" }, "reward: ", reward));
    if (many) verdict.prepend(make("span", { class: "which" }, `sample ${store.sample[row]} `));
    const parts = [verdict, this.#response(text), said.map((each) => this.#judgement(each))];
    const { context, system } = store.pools;
    if (context.codes[row] >= 0) parts.push(this.#later("Prompt as rendered", context, row));
    if (system.codes[row] >= 0) parts.push(this.#later("System message", system, row));
    return make("div", { class: "sample" }, parts);
  }

  #response(text) {
    if (text === null) return make("p", { class: "empty" }, "no response: the request failed");
    if (text === "") return make("p", { class: "empty" }, "an empty response");
    return longText(text, "response", this.pattern);
  }

  #judgement({ judge, score, verdict, reason, words }) {
    const mark = score === null ? wordOf(verdict) : `${score} of 5`;
    const head = ["Judge ", named(judge), ": ", make("strong", {}, mark)];
    if (reason) head.push(" (", named(spaced(reason)), ")");
    const body = words ? longText(words, "words", this.pattern) : null;
    return make("div", { class: "judgement" }, make("p", { class: "judge" }, head), body);
  }

  /** Something that is unpacked when it is asked for. */
  #later(title, pool, row) {
    const place = make("pre", { dir: "auto" });
    const open = async (event) => {
      if (event.currentTarget.open && !place.textContent) place.textContent = await pool.text(row);
    };
    return make("details", { ontoggle: open }, make("summary", {}, title), place);
  }

  #goTo(persona) {
    if (persona === null) return;
    for (const card of this.element.querySelectorAll("[data-persona]")) {
      if (card.dataset.persona !== persona) continue;
      card.scrollIntoView({ block: "start" });
      card.focus({ preventScroll: true });
      // once more when the cards before it have their heights
      requestAnimationFrame(() => card.scrollIntoView({ block: "start" }));
      return;
    }
  }
}
