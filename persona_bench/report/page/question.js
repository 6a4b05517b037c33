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
    const personas = await Promise.all(rows.map((row) => store.pools.system.text(row)));
    this.formulas = await store.formulas();
    this.controls = await this.#controls(group);
    if (turn !== this.turn) return; // another question is wanted by now
    const of = new Map(rows.map((row, place) => [row, { text: texts[place], said: said[place], persona: personas[place] }]));
    this.asked = question;
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

  /** The responses of the control to a question, by model and sample; its name is `name`. */
  async #controls(group) {
    const { store } = this;
    const { persona, kind, model } = store.columns;
    const rows = [];
    for (let row = group.from; row < group.to; row++) if (kind.values[kind.codes[row]] === "control") rows.push(row);
    const names = [...new Set(rows.map((row) => persona.values[persona.codes[row]]))];
    const name = names.includes("none") ? "none" : names[0];
    const texts = new Map();
    if (route.params.has("diff")) {
      for (const row of rows) {
        if (persona.values[persona.codes[row]] === name) texts.set(`${model.codes[row]} ${store.sample[row]}`, await store.pools.response.text(row));
      }
    }
    return { name, texts };
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
      question && make("div", { class: "asked", dir: "auto", tabindex: "0", role: "region", "aria-label": "The question" }, withFormulas(question, this.formulas, this.pattern)),
      answer && make("p", { class: "reference" }, "Reference answer: ", answerOf(answer, this.formulas)),
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
        this.controls.name && personas.size > 1 && [
          " · ",
          make(
            "a",
            { href: hashWith({ diff: route.params.has("diff") ? null : "1" }), class: "diff", "aria-keyshortcuts": "d" },
            route.params.has("diff") ? "Plain responses" : `Differences from ${this.controls.name}`,
          ),
        ],
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
        const first = rows.find((row) => persona.codes[row] === who);
        const card = cell(who, models[0], "h3", persona.values[who], this.#kind(first));
        card.querySelector("header").after(this.#persona(of.get(first).persona));
        return this.#placed(card, persona.values[who]);
      });
      return make("div", { class: `cards ${many}` }, cards);
    }
    const lines = personas.map((who) => {
      const cells = models.map((which) => cell(who, which, "h4", model.values[which], null));
      const columns = make("div", { class: "columns" }, cells);
      columns.style.setProperty("--columns", models.length);
      const first = rows.find((row) => persona.codes[row] === who);
      const title = make("h3", {}, named(persona.values[who]), " ", this.#kind(first));
      const wide = make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": persona.values[who] }, columns);
      const line = make("section", { class: "line" }, title, this.#persona(of.get(first).persona), wide);
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

  /** The persona's text, once. */
  #persona(text) {
    if (!text) return make("p", { class: "persona empty" }, "no system message");
    const place = make("div", { class: "persona" });
    const most = 160;
    const short = text.length > most + 40 && !this.pattern?.test(text);
    if (short) {
      const all = make("button", { type: "button", class: "plain", onclick: () => place.replaceChildren(...marked(text, this.pattern)) }, "… all of it");
      place.append(text.slice(0, most), all);
    } else {
      place.append(...marked(text, this.pattern));
    }
    return place;
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
    const of = (name) => store.value(name, row);
    const score = store.score[row];
    const [points, judged] = [store.graded[row], score === score && !of("voice")];
    const more = points === points ? ` ${+points.toFixed(2)}` : judged ? ` ${+score.toFixed(2)}` : "";
    const verdict = make("p", { class: "verdict" }, badge(of("verdict"), more));
    if (of("reason")) verdict.append(" ", make("span", { class: "reason" }, named(spaced(of("reason")))));
    if (of("voice")) verdict.append(" · ", make("span", { class: "voice" }, of("voice")));
    if (of("reward")) verdict.append(" ", make("span", { class: "reward" }, "reward: ", of("reward")));
    if (many) verdict.prepend(make("span", { class: "which" }, `sample ${store.sample[row]} `));
    const parts = [verdict, this.#taken(of), this.#response(row, text), said.map((each) => this.#judgement(each))];
    const { context, conversation, system } = store.pools;
    const title = conversation.codes[row] >= 0 ? "The conversation before the question" : "Conversation";
    if (text !== null) parts.push(this.#later(title, "conversation", async () => this.#turns(await context.text(row), await system.text(row), text, await conversation.text(row))));
    if (context.codes[row] >= 0) parts.push(this.#later("Prompt as rendered", "rendered", () => context.text(row)));
    return make("div", { class: "sample" }, parts);
  }

  /** What the grader took as the answer, beside the reference; how it found it; how long it was. */
  #taken(of) {
    const parts = [];
    if (of("taken")) parts.push(make("span", { class: "took" }, "took ", answerOf(of("taken"), this.formulas)));
    if (of("taken") && of("answer")) parts.push(make("span", {}, "reference ", answerOf(of("answer"), this.formulas)));
    if (of("route")) parts.push(make("span", { class: "route" }, "route: ", named(of("route"))));
    const [tokens, limit] = [of("tokens"), of("limit")];
    const length = tokens && limit ? `${tokens} of at most ${limit} tokens` : limit ? `at most ${limit} tokens` : tokens ? `${tokens} tokens` : "";
    if (length) parts.push(make("span", { class: "tokens" }, length));
    return parts.length ? make("p", { class: "taken" }, parts) : null;
  }

  #turns(context, system, text, conversation) {
    const turns = [...turnsOf(context, system, this.asked, conversation), ["assistant", text]].filter(([, said], place, all) => said || place === all.length - 1);
    return turns.map(([role, said]) => make("div", { class: `turn ${role === "assistant" || role === "model" ? "own" : ""}` }, make("p", { class: "role" }, named(role)), make("div", { class: "response", dir: "auto" }, marked(said, this.pattern))));
  }

  #response(row, text) {
    if (text === null) {
      const failed = this.store.value("reason", row) === "api_error";
      return make("p", { class: "empty" }, failed ? "no response: the request failed" : "the response is not stored");
    }
    if (text === "") return make("p", { class: "empty" }, "an empty response");
    const { model, persona } = this.store.columns;
    const control = this.controls.texts.get(`${model.codes[row]} ${this.store.sample[row]}`);
    const own = persona.values[persona.codes[row]] === this.controls.name;
    if (typeof control === "string" && !own) return comparedText(control, text);
    return longText(text, "response", this.pattern);
  }

  #judgement({ judge, score, verdict, reason, words }) {
    const mark = score === null ? wordOf(verdict) : `${score} of 5`;
    const head = ["Judge ", named(judge), ": ", make("strong", {}, mark)];
    if (reason) head.push(" (", named(spaced(reason)), ")");
    const body = words ? longText(words, "words", this.pattern) : null;
    return make("div", { class: "judgement" }, make("p", { class: "judge" }, head), body);
  }

  /** Something that is unpacked when it is asked for: a text, or elements. */
  #later(title, look, what) {
    const place = make("div", { class: look, dir: "auto" });
    const open = async (event) => {
      if (!event.currentTarget.open || place.firstChild) return;
      const got = await what();
      place.append(...(typeof got === "string" ? [make("pre", { tabindex: "0" }, marked(got, this.pattern))] : got));
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
