// --------------------------------------------------------------------------------------- browse
// The responses: filters above, the list of questions on the left, one question on the right.

const FIRST_ITEMS = 300; // questions in the list; more when it is scrolled to its end
const ANY = "*";

class Browser {
  constructor(store, place) {
    this.store = store;
    this.search = new Search(store);
    this.question = new QuestionView(store);
    this.controls = new Map();
    this.list = make("ol", {});
    this.status = make("p", { class: "status" });
    this.bar = make("progress", { "aria-label": "Searched", hidden: true });
    this.tools = make("form", { class: "filters", role: "search", "aria-label": "Responses" });
    this.tools.addEventListener("submit", (event) => event.preventDefault());
    this.filters = make("div", { class: "controls" });
    this.summary = make("summary", {}, "Filters");
    const fold = make("details", { class: "fold", open: true }, this.summary, this.filters);
    this.find = make("div", { class: "find" });
    this.tools.append(this.find, fold);
    this.items = make("nav", { class: "side questions", "aria-label": "Questions" });
    this.order = make("div", { class: "order" });
    const questions = make("details", { class: "fold", open: true }, make("summary", {}, "All questions"), this.order, this.list);
    this.items.append(this.status, this.bar, questions);
    for (const each of [fold, questions]) foldOnPhones(each);
    for (const box of [this.items, this.list]) box.addEventListener("scroll", () => this.#more());
    this.side = make("div", { class: "sides" }, this.items, this.question.element);
    place.append(make("h2", { class: "unseen" }, "Responses"), this.tools, this.side);
    this.listed = null;
    this.task = null;
  }

  /** Shows what the address asks for. */
  show() {
    const { params } = route;
    const task = taskOf(this.store, params);
    if (this.task !== task) this.#buildTools(task);
    this.#fillTools(params);
    const text = params.get("q") ?? "";
    if (text !== this.search.text) {
      this.listed = null;
      this.search.start(text, () => this.#list()).catch((error) => complain(error.message));
    }
    this.#list();
  }

  // --------------------------------------------------------------------------------- filters
  #buildTools(task) {
    this.task = task;
    this.controls.clear();
    const { task: tasks } = this.store.columns;
    const options = optionsOf(this.store, task);
    this.find.replaceChildren(this.#searchField());
    const parts = [];
    if (tasks.values.length > 1) {
      const codes = [...this.store.taskGroups.keys()];
      parts.push(this.#choice("task", "Task", codes, null, () => ({ drop: [...FACETS, "question", "at", "all"] })));
    }
    for (const name of FACETS) {
      const codes = options[name];
      if (codes.length < 2) continue;
      const title = name[0].toUpperCase() + name.slice(1);
      if (name === "model" && codes.length > 2) parts.push(this.#models(codes));
      else parts.push(this.#choice(name, title, codes, `any ${name}`));
    }
    const clear = () => {
      const kept = ["task", "question", "sort"].filter((name) => route.params.has(name));
      const { params } = route;
      go(hashOf("responses", new URLSearchParams(kept.map((name) => [name, params.get(name)]))));
    };
    parts.push(make("button", { type: "button", onclick: clear }, "Clear"));
    this.filters.replaceChildren(...parts);
    this.order.replaceChildren(this.#choice("sort", "Order", Object.keys(ORDERS), null));
  }

  #searchField() {
    const input = make("input", { type: "search", id: "search", spellcheck: "false", autocomplete: "off" });
    input.placeholder = "responses, questions, personas, prompts, judges' words";
    let waiting;
    input.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.#change({ q: input.value || null }, true), 250);
    });
    this.controls.set("q", (params) => {
      if (document.activeElement !== input || !params.has("q")) input.value = params.get("q") ?? "";
    });
    return make("label", { class: "grow" }, "Search", input);
  }

  #choice(name, title, codes, any, more = () => ({ drop: [] })) {
    const values = this.store.columns[name]?.values;
    const select = make("select", { name });
    if (any) select.append(make("option", { value: ANY }, any));
    for (const code of codes) {
      const value = values ? values[code] : code;
      const label = values ? this.#label(name, value) : ORDERS[code];
      select.append(make("option", { value: `=${value}`, dir: "auto" }, label));
    }
    select.addEventListener("change", () => {
      const changes = { [name]: select.value === ANY ? null : select.value.slice(1) };
      if (name === "sort" && select.selectedIndex === 0) changes[name] = null;
      for (const drop of more().drop) changes[drop] = null;
      this.#change(changes);
    });
    this.controls.set(name, (params) => {
      const wanted = params.get(name);
      select.value = wanted === null ? select.options[0].value : `=${wanted}`;
      select.classList.toggle("set", Boolean(any) && wanted !== null);
    });
    return make("label", {}, title, select);
  }

  #label(name, value) {
    if (name === "verdict") return `${signOf(value)} ${wordOf(value)}`;
    if (value === "") return "(none)";
    return ["reason", "kind"].includes(name) ? spaced(value) : value;
  }

  /** Any number of models: a list of boxes. */
  #models(codes) {
    const { values } = this.store.columns.model;
    const boxes = codes.map((code) => make("input", { type: "checkbox", value: values[code] }));
    const change = () => {
      const on = boxes.filter((box) => box.checked).map((box) => box.value);
      this.#change({ model: on.length === 0 || on.length === boxes.length ? null : on });
    };
    const summary = make("summary", {});
    this.controls.set("model", (params) => {
      const wanted = params.getAll("model");
      for (const box of boxes) box.checked = !wanted.length || wanted.includes(box.value);
      const on = boxes.filter((box) => box.checked).length;
      summary.textContent = `${on} of ${boxes.length}`;
    });
    const lines = boxes.map((box) => make("label", {}, box, " ", named(box.value)));
    const set = make("fieldset", { onchange: change }, make("legend", { class: "unseen" }, "Models"), lines);
    return make("div", { class: "pick" }, make("span", {}, "Models"), make("details", {}, summary, set));
  }

  #fillTools(params) {
    for (const fill of this.controls.values()) fill(params);
    const set = FACETS.filter((name) => params.has(name)).length;
    this.summary.textContent = set ? `Filters (${set} set)` : "Filters";
  }

  /** A filter was changed; a question that no longer fits makes room for the first that does. */
  #change(changes, replace = false) {
    const asked = { at: null, all: null, ...changes };
    const next = new URLSearchParams(hashWith(asked, "responses").split("?")[1] ?? "");
    if (next.has("question") && !("q" in changes)) {
      const { counts } = selectQuestions(this.store, next, this.search.found);
      const names = this.store.columns.question.values;
      const fits = counts.some(({ group }) => names[group.question] === next.get("question"));
      if (!fits) next.delete("question");
    }
    if ("q" in changes) next.delete("question");
    go(hashOf("responses", next), { replace });
  }

  // ------------------------------------------------------------------------------------ list
  #list() {
    const { params } = route;
    const { search, store } = this;
    const key = JSON.stringify([
      ...["task", "q", "sort", ...FACETS].map((name) => params.getAll(name)),
      search.done ?? 0,
    ]);
    if (key !== this.listed) {
      this.listed = key;
      Object.assign(this, selectQuestions(store, params, search.found));
      this.list.replaceChildren();
      this.#more(FIRST_ITEMS);
      this.#tell();
    }
    this.bar.hidden = search.finished;
    if (!search.finished) Object.assign(this.bar, { max: search.parts ?? 1, value: search.done ?? 0 });
    this.#pick();
  }

  #tell() {
    const { search } = this;
    const picked = this.counts.reduce((sum, count) => sum + count.picked, 0);
    const found = `${plural(picked, "response")} to ${plural(this.counts.length, "question")}`;
    this.status.textContent = search.finished ? found : `Searching: ${found} so far`;
    if (search.finished) say(found);
  }

  #more(wanted = 0) {
    const { items, list } = this;
    const box = list.scrollHeight > list.clientHeight + 1 ? list : items; // on a phone the list scrolls
    const near = box.scrollTop + box.clientHeight > box.scrollHeight - 400;
    if (!wanted && !near) return;
    const end = wanted || list.childElementCount + FIRST_ITEMS;
    const next = this.counts.slice(list.childElementCount, end);
    list.append(...next.map((count) => this.#item(count)));
  }

  #item(count) {
    const { store } = this;
    const { group } = count;
    const id = store.columns.question.values[group.question];
    const head = store.pools.question_text.heads?.[store.pools.question_text.codes[group.from]];
    const share = make("span", { class: "share" });
    share.style.setProperty("--share", Number.isNaN(count.share) ? 0 : count.share);
    const told = [describe(count)];
    if (count.picked < count.n) told.push(`${count.picked} shown`);
    return make(
      "li",
      {},
      make(
        "a",
        { href: this.#address(count) },
        make("span", { class: "id" }, named(breaking(id))),
        head && make("span", { class: "head", dir: "auto" }, head),
        make("span", { class: "told" }, told.join(" · ")),
        Number.isNaN(count.share) ? null : share,
      ),
    );
  }

  #address({ group }) {
    const question = this.store.columns.question.values[group.question];
    const task = this.store.columns.task.values[group.task];
    return hashWith({ task, question, at: null, all: null }, "responses");
  }

  /** The question in the address, or the first. */
  #pick() {
    const { store, counts } = this;
    const wanted = route.params.get("question");
    const names = store.columns.question.values;
    let place = wanted === null ? 0 : counts.findIndex(({ group }) => names[group.question] === wanted);
    let count = counts[place];
    if (wanted !== null && place < 0) {
      const groups = store.taskGroups.get(taskOf(store, route.params)) ?? [];
      const group = groups.find((each) => names[each.question] === wanted);
      if (group) count = tally(store, group, this.tests);
    }
    if (place >= this.list.childElementCount) this.#more(place + FIRST_ITEMS);
    this.list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const link = this.list.children[place]?.firstChild;
    if (link) {
      link.setAttribute("aria-current", "true");
      const scroller = this.list.scrollHeight > this.list.clientHeight + 1 ? this.list : this.items;
      const [box, own] = [scroller.getBoundingClientRect(), link.getBoundingClientRect()];
      if (own.top < box.top || own.bottom > box.bottom) scroller.scrollTop += own.top - box.top - box.height / 3;
    }
    this.place = place;
    this.#showQuestion(count, place, wanted);
  }

  #showQuestion(count, place, wanted) {
    const { search, counts } = this;
    const none = wanted !== null && !count ? "This page has no such question." : "Nothing fits: clear a filter.";
    const to = (at) => (counts[at] ? this.#address(counts[at]) : null);
    this.question
      .show(count, this.tests, search.text, {
        place,
        total: counts.length,
        before: place > 0 ? to(place - 1) : null,
        after: to(place + 1),
        none: search.finished ? none : "Searching …",
      })
      .catch((error) => complain(error.message));
  }

  /** To the next question, or with -1 to the one before. */
  step(by) {
    const count = this.counts?.[this.place + by];
    if (!count) return;
    go(this.#address(count));
    if (this.side.getBoundingClientRect().top < 0) this.side.scrollIntoView({ block: "start" });
    const id = this.store.columns.question.values[count.group.question];
    say(`Question ${this.place + 1} of ${this.counts.length}: ${id}, ${describe(count)}`);
  }
}
