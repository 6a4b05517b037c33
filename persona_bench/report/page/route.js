// ---------------------------------------------------------------------------------------- route
// What is shown stands in the address after the #: `#responses?task=...&question=...`. Every view
// has a link, and back and forward go from view to view.

const VIEWS = ["report", "responses"];
const route = { view: "report", params: new URLSearchParams(), hash: null };
let arrived = () => {};

function hashOf(view, params) {
  const query = params.toString();
  return `#${view}${query ? `?${query}` : ""}`;
}

/** The address that this one becomes when some parameters change; null takes one away. */
function hashWith(changes, view = route.view) {
  const params = new URLSearchParams(route.params);
  for (const [name, value] of Object.entries(changes)) {
    params.delete(name);
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null && each !== undefined) params.append(name, each);
    }
  }
  return hashOf(view, params);
}

function readRoute() {
  const hash = location.hash;
  const cut = hash.indexOf("?");
  const view = (cut < 0 ? hash : hash.slice(0, cut)).slice(1);
  route.view = VIEWS.includes(view) ? view : "report";
  route.params = new URLSearchParams(cut < 0 ? "" : hash.slice(cut + 1));
  route.hash = hash;
}

/** Goes to an address; `replace` leaves no step to go back to. */
function go(hash, { replace = false } = {}) {
  if (hash === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", hash);
  arrive();
}

function arrive() {
  if (location.hash === route.hash) return;
  readRoute();
  arrived();
}

addEventListener("popstate", arrive);
addEventListener("hashchange", arrive);
