// --------------------------------------------------------------------------------------- tables
// A table that sorts by a click on a column's name, filters, and can be had as CSV.

const FEW_ROWS = 8; // shown until more are asked for
const MOST_ROWS = 1000; // shown at once
const LONG = 20; // rows; more scroll in a box of their own

class SortableTable {
  /**
   * @param data rows and columns, as Python wrote them
   * @param key names the table in links: `s.<key>` is its order, `f.<key>` its filter
   */
  constructor(data, key) {
    Object.assign(this, { data, key, order: null, wanted: "", most: FEW_ROWS });
    this.count = make("span", { class: "count" });
    this.filter = make("input", { type: "search", spellcheck: "false", autocomplete: "off" });
    this.filter.addEventListener("input", () => {
      go(hashWith({ [`f.${key}`]: this.filter.value || null }), { replace: true });
      say(this.count.textContent);
    });
    this.heads = data.columns.map((column, place) => this.#head(column, place));
    this.body = make("tbody");
    this.more = make("button", { type: "button", onclick: () => this.#showMore() });
    const csv = (then) => (event) => then(this.#csv(), event.currentTarget);
    const name = fileName(data.title);
    this.scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": data.title });
    this.scroll.addEventListener("scroll", () => this.#cue(), { passive: true });
    new ResizeObserver(() => this.#cue()).observe(this.scroll);
    this.element = make(
      "div",
      { class: "sortable" },
      make(
        "div",
        { class: "tools" },
        data.rows > FEW_ROWS && make("label", {}, "Filter rows ", this.filter),
        this.count,
        make("span", { class: "push" }),
        make("button", { type: "button", onclick: csv(copy) }, "Copy CSV"),
        make("button", { type: "button", onclick: csv((t) => download(t, `${name}.csv`)) }, "Download CSV"),
      ),
      make("div", { class: "cued" }, this.scroll),
      this.more,
    );
    this.scroll.append(
      make(
        "table",
        {},
        make("caption", { class: "unseen" }, data.title),
        make("thead", {}, make("tr", {}, this.heads)),
        this.body,
      ),
    );
    this.show();
  }

  /** Says that there is more to the right. */
  #cue() {
    const { scrollLeft, scrollWidth, clientWidth } = this.scroll;
    this.scroll.parentElement.classList.toggle("further", scrollLeft + clientWidth < scrollWidth - 2);
  }

  #head(column, place) {
    const sort = () => {
      const [now, descending] = this.order ?? [];
      const next = now !== place ? column.name : descending ? null : `-${column.name}`;
      go(hashWith({ [`s.${this.key}`]: next }), { replace: true });
      say(next === null ? "in the first order" : `sorted by ${column.name}`);
    };
    const label = make("button", { type: "button", onclick: sort }, named(column.name));
    return make("th", { scope: "col", class: column.numbers ? "number" : null }, label);
  }

  /** Takes order and filter from the address. */
  follow(params) {
    const wanted = params.get(`f.${this.key}`) ?? "";
    const by = params.get(`s.${this.key}`);
    const at = (name) => this.data.columns.findIndex((column) => column.name === name);
    let order = null;
    if (by !== null && at(by) >= 0) order = [at(by), false];
    else if (by?.startsWith("-") && at(by.slice(1)) >= 0) order = [at(by.slice(1)), true];
    if (wanted === this.wanted && String(order) === String(this.order)) return;
    Object.assign(this, { wanted, order });
    if (this.filter.value !== wanted) this.filter.value = wanted;
    this.show();
  }

  /** The places of the rows to be shown, in order. */
  #places() {
    const words = this.wanted.toLowerCase().split(/\s+/).filter(Boolean);
    const texts = this.data.columns.map((column) => column.texts ?? column.shown);
    const holds = (row) => {
      const line = texts.map((column) => column[row] ?? "n/a").join("\n").toLowerCase();
      return words.every((word) => line.includes(word));
    };
    const places = [...Array(this.data.rows).keys()].filter((row) => !words.length || holds(row));
    if (!this.order) return places;
    const [place, descending] = this.order;
    const values = this.data.columns[place].numbers ?? this.data.columns[place].texts;
    const { compare } = new Intl.Collator("en", { numeric: true });
    const ascending = this.data.columns[place].numbers ? (a, b) => a - b : compare;
    return places.sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (x === null || y === null) return (x === null) - (y === null); // n/a last, either way
      return descending ? ascending(y, x) : ascending(x, y);
    });
  }

  show() {
    const places = this.#places();
    const shown = places.slice(0, this.most);
    this.body.replaceChildren(...shown.map((row) => this.#row(row)));
    const total = plural(this.data.rows, "row");
    this.count.textContent = this.wanted ? `${places.length.toLocaleString("en")} of ${total}` : total;
    this.more.hidden = shown.length === places.length;
    const next = this.most === FEW_ROWS && places.length > MOST_ROWS ? MOST_ROWS : places.length;
    this.more.textContent = next < places.length ? `Show ${plural(next, "row")}` : `Show all ${plural(next, "row")}`;
    this.scroll.classList.toggle("long", shown.length > LONG);
    this.heads.forEach((head, place) => {
      const [by, descending] = this.order ?? [];
      const sorted = by === place ? (descending ? "descending" : "ascending") : "none";
      head.setAttribute("aria-sort", sorted);
    });
  }

  #showMore() {
    this.most = this.most === FEW_ROWS ? MOST_ROWS : Infinity;
    this.show();
  }

  #row(row) {
    const cells = this.data.columns.map(({ numbers, shown, texts }, place) => {
      const text = (shown ?? texts)[row];
      const attributes = { class: `${numbers ? "number" : ""}${text === null ? " none" : ""}` };
      const inner = text === null ? "n/a" : numbers ? text : named(text);
      return place === 0
        ? make("th", { ...attributes, scope: "row" }, inner)
        : make("td", attributes, inner);
    });
    return make("tr", {}, cells);
  }

  #csv() {
    const quoted = (value) => {
      const text = value === null ? "" : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const columns = this.data.columns.flatMap(({ name, numbers, texts, ends }) => [
      [name, numbers ?? texts],
      ...Object.entries(ends ?? {}),
    ]);
    const lines = [columns.map(([name]) => quoted(name))];
    for (const row of this.#places()) lines.push(columns.map(([, values]) => quoted(values[row])));
    return lines.map((line) => line.join(",") + "\n").join("");
  }
}

/** Puts a table into each place for one; those behind <details> when they are opened. */
function placeTables(tables) {
  const placed = [];
  for (const place of document.querySelectorAll("[data-table]")) {
    const key = place.dataset.table;
    const put = () => {
      if (place.firstChild) return;
      const table = new SortableTable(tables[key], key);
      placed.push(table);
      place.append(table.element);
      table.follow(route.params);
    };
    const hiding = place.closest("details");
    if (!hiding) put();
    else hiding.addEventListener("toggle", put);
    const linked = [`s.${key}`, `f.${key}`].some((name) => route.params.has(name));
    if (hiding && linked) hiding.open = true;
  }
  return placed;
}
