// ----------------------------------------------------------------------------------------- page
// Starts the page, goes from view to view, and listens to keys.

async function start() {
  if (!("DecompressionStream" in window)) {
    complain("This browser can't unpack the data of this page (it lacks DecompressionStream): open it with Chrome 80, Firefox 113, Safari 16.4 or later.");
    return;
  }
  readRoute();
  const [tables, index] = await Promise.all([unpack("tables"), unpack("index")]);
  const store = new Store(index);
  Chart.hasResponses = store.rows > 0;
  const placed = placeTables(tables);
  placeCharts(tables);
  foldOnPhones(document.querySelector("#report .fold"));
  const views = Object.fromEntries(VIEWS.map((name) => [name, document.getElementById(name)]));
  const links = document.querySelectorAll("#views a");
  const browser = store.rows ? new Browser(store, views.responses) : null;
  if (!browser) document.getElementById("views").hidden = true;
  const left = {}; // where each view was left
  let at = null;

  arrived = () => {
    const view = browser ? route.view : "report";
    for (const [name, element] of Object.entries(views)) element.hidden = name !== view;
    for (const link of links) {
      const name = link.getAttribute("href").slice(1).split("?")[0];
      if (name === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      link.href = name === view ? route.hash || `#${name}` : left[name] ?? `#${name}`;
    }
    left[view] = route.hash;
    if (view === "responses") {
      browser.show();
    } else {
      for (const table of placed) table.follow(route.params);
      if (route.params.get("at") !== at) goTo(route.params.get("at"));
    }
    at = view === "report" ? route.params.get("at") : null;
  };
  listen(browser, left);
  arrived();
  document.documentElement.dataset.readyAfter = String(Math.round(performance.now()));
  document.documentElement.dataset.ready = "true";
}

/** Open on a wide window, folded on a phone; who opens it there sees all of it. */
function foldOnPhones(details) {
  const narrow = matchMedia("(max-width: 50rem)");
  const fit = () => (details.open = !narrow.matches);
  narrow.addEventListener("change", fit);
  fit();
}

/** To a part of the report. */
function goTo(key) {
  if (key === null) return scrollTo(0, 0);
  for (const part of document.querySelectorAll("[data-key]")) {
    if (part.dataset.key !== key) continue;
    for (let up = part.closest("details"); up; up = up.parentElement.closest("details")) up.open = true;
    part.scrollIntoView({ block: "start" });
    part.focus({ preventScroll: true });
  }
}

function listen(browser, left) {
  const keys = document.getElementById("keys");
  const single = document.getElementById("single-keys");
  const button = document.getElementById("show-keys");
  const main = document.getElementById("main");
  button.hidden = false;
  button.addEventListener("click", () => keys.showModal());
  document.getElementById("close-keys").addEventListener("click", () => keys.close());
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address is the view's
    main.focus();
  });
  const search = () => document.getElementById("search");
  const handlers = {
    j: () => browser?.step(1),
    k: () => browser?.step(-1),
    ArrowRight: () => browser?.step(1),
    ArrowLeft: () => browser?.step(-1),
    d: () => route.view === "responses" && go(hashWith({ diff: route.params.has("diff") ? null : "1" })),
    r: () => browser && go(route.view === "report" ? left.responses ?? "#responses" : left.report || "#report"),
    "/": () => {
      if (browser && route.view !== "responses") go(left.responses ?? "#responses");
      search()?.focus();
      search()?.select();
    },
    "?": () => keys.showModal(),
  };
  const stepping = new Set(["j", "k", "ArrowRight", "ArrowLeft"]);
  addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || keys.open) return;
    if (target.closest?.("input, select, textarea, [contenteditable]")) {
      if (key === "Escape") target.blur();
      return;
    }
    if (!single.checked || !Object.hasOwn(handlers, key)) return;
    if (stepping.has(key) && route.view !== "responses") return;
    if (key.startsWith("Arrow") && target.closest?.(".scroll, .wide")) return; // they scroll there
    event.preventDefault();
    handlers[key]();
  });
}

start().catch((error) => complain(`This page can't be shown: ${error.message}`));
