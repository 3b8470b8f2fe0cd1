/**
 * The page at /lookup. It shows the tables, the first rows of one, and for one key its row and the events that made it.
 * The choice is in the URL's fragment, so that a link or a reload leads back to it.
 */

import { element, make } from "./elements.js";
import { ask, useKey } from "./server.js";

const ROWS = 50;
const EVENTS = 50;

const instant = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

let tables = [];
/** Increased with each request, so that a late answer to an earlier one is not shown. */
let asked = 0;

/** Returns a value as in the answer: this page asks for numbers as text, so that they are not rounded. */
function shown(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Returns a key as in URLs: with / between its parts. In a key of several parts, a / within a part is %2F. */
function keyText({ key }, row) {
  const parts = key.map((name) => String(row[name]));
  return parts.length === 1 ? parts[0] : parts.map((part) => part.replaceAll(/[%/]/g, encodeURIComponent)).join("/");
}

const linkTo = (table, key) => `#${new URLSearchParams(key === null ? { table } : { table, key })}`;

/**
 * Returns the body of an answer. If the server refuses, throws an Error with its message; if it wants an API key, asks
 * the user for one.
 */
async function read(path) {
  const response = await ask(path);
  const body = await response.json();
  const needsKey = response.status === 401 || response.status === 403;
  element("key").hidden = !needsKey;
  if (needsKey) element("key-problem").textContent = body.detail;
  if (response.ok) return body;
  throw Object.assign(new Error(body.detail), { code: body.code });
}

function notice(text, isWarning = false) {
  const node = element("notice");
  node.textContent = text;
  node.hidden = text === "";
  node.classList.toggle("warn", isWarning);
}

function drawList(name) {
  const items = tables.map((table) => {
    const link = make("a", { href: linkTo(table.name, null) });
    if (table.name === name) link.setAttribute("aria-current", "true");
    const state = table.complete ? "up to date" : table.ready ? "incomplete" : "nothing yet";
    link.append(
      make("strong", { text: table.name }),
      make("small", { text: `by ${table.key.join(", ")}` }),
      make("small", { className: table.complete ? "good" : "warn", text: state }),
    );
    return make("li", {}, link);
  });
  element("views").replaceChildren(...items);
  element("no-views").hidden = tables.length > 0;
}

function drawRows(table, { rows, fields }) {
  const names = Object.keys(fields);
  const head = make("tr", {}, ...names.map((name) => make("th", { text: name })));
  const body = rows.map((row) => {
    const [first = "", ...others] = names;
    const link = make("a", { href: linkTo(table.name, keyText(table, row)), text: shown(row[first]) });
    return make("tr", {}, make("td", {}, link), ...others.map((name) => make("td", { text: shown(row[name]) })));
  });
  element("table").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}

function drawRow({ row, fields }) {
  const facts = Object.keys(fields).map((name) =>
    make("div", {}, make("dt", { text: name }), make("dd", { text: shown(row[name]) })),
  );
  element("facts").replaceChildren(...facts);
  element("facts").hidden = false;
}

function drawEvents({ events }) {
  const heads = ["Position", "Counted", "Event"].map((text) => make("th", { text }));
  const body = events
    .toReversed()
    .map(({ of, partition, offset, verdict, event }) =>
      make(
        "tr",
        {},
        make("td", { text: `${of === undefined ? "" : `${of} `}${partition}:${offset}` }),
        make("td", { text: verdict === "counted" ? "yes" : verdict }),
        make("td", { text: shown(event) }),
      ),
    );
  element("table").replaceChildren(
    make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body)),
  );
}

/** Clears the page for a request. Returns a function that says whether its answer is still wanted. */
function begin(name, key) {
  asked += 1;
  const own = asked;
  const table = tables.find((one) => one.name === name) ?? tables[0];
  drawList(table?.name);
  element("view").hidden = table === undefined;
  element("facts").hidden = true;
  element("table").replaceChildren();
  if (table !== undefined) {
    element("view-title").textContent = table.name;
    element("about").textContent = `Of ${table.stream}.`;
    element("wanted-label").textContent = `Key (${table.key.join("/")})`;
    element("wanted").value = key ?? "";
    element("all").hidden = key === null;
    element("all").href = linkTo(table.name, null);
    notice("Loading …");
  }
  return { table, isWanted: () => own === asked };
}

async function look() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const key = wanted.get("key");
  const { table, isWanted } = begin(wanted.get("table"), key);
  if (table === undefined) return;
  const path = `/tables/${encodeURIComponent(table.name)}`;
  try {
    if (key === null) {
      const answer = await read(`${path}?limit=${ROWS}&numbers=text`);
      if (!isWanted()) return;
      drawRows(table, answer);
      notice(answer.rows.length === 0 ? "There is no row." : answer.truncated ? `The first ${ROWS} rows.` : "");
      return;
    }
    const one = new URLSearchParams({ key });
    const { rows, ...answer } = await read(`${path}?${one}&numbers=text`);
    if (!isWanted()) return;
    if (rows.length > 0) drawRow({ row: rows[0], ...answer });
    const said = rows.length > 0 ? `As of ${instant.format(new Date())}.` : "There is no row with this key.";
    notice(`${said} Loading its events …`, rows.length === 0);
    const history = await read(`/history/${encodeURIComponent(table.name)}?${one}&limit=${EVENTS}`);
    if (!isWanted()) return;
    drawEvents(history);
    const events = history.truncated ? `the newest ${EVENTS} events` : `all ${history.events.length} events`;
    notice(`${said} Below: ${events} of the key, the newest first.`, rows.length === 0);
  } catch (error) {
    if (isWanted()) notice(error.message, true);
  }
}

async function start() {
  try {
    ({ tables } = await read("/tables"));
    element("connection").textContent = "Connected";
    await look();
  } catch (error) {
    element("connection").textContent = error.code === undefined ? "The server does not answer" : error.message;
  }
}

element("look-up").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = new URLSearchParams(location.hash.slice(1)).get("table") ?? tables[0]?.name;
  const hash = linkTo(name, element("wanted").value);
  if (hash === location.hash) void look();
  else location.hash = hash;
});
element("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(element("key-text").value);
  element("key-text").value = "";
  void start();
});
addEventListener("hashchange", () => void look());
void start();
