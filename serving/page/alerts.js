/**
 * The page's section of alerts that rules have opened and nobody has acknowledged or silenced. The list is read when
 * the live stream sends an alert. It is also read now and then, because no event says that a silence began or ended.
 * Tideline's own alerts are in the section of problems.
 */

import { alertsTitle, shellWord } from "./choose.js";
import { element, make, show } from "./elements.js";
import { ask, EventStream } from "./server.js";

const OPEN = "/alerts?state=open&limit=200";
const OWN = "/alerts?state=open&limit=1&rule=tideline";
const MOST_SHOWN = 20;
/** How often the list is read at most while alerts keep coming. */
const BUSY_MS = 2_000;
const QUIET_MS = 15_000;
const LIMIT_MS = 10_000;
const OWN_RULE = "tideline";
const instant = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const known = {
  /** The newest open alerts of rules. */
  alerts: [],
  /** The number of open alerts of rules. */
  found: 0,
  /** Whether the last request succeeded. */
  isFresh: true,
  /** The id of the alert whose commands are shown. */
  chosen: null,
};
let stream = null;
let next = null;
let askedAtMs = Number.NEGATIVE_INFINITY;
/** Increased with each request, and when answers are no longer wanted, so that a late answer is not shown. */
let asked = 0;

/**
 * Follows the alerts while the page is visible, because a browser has few connections for one server. A second call
 * starts again.
 */
export function followAlerts() {
  unfollow();
  if (!document.hidden) void read();
}

function unfollow() {
  asked += 1;
  stream?.close();
  stream = null;
  clearTimeout(next);
}

function readAfter(ms) {
  clearTimeout(next);
  next = setTimeout(read, ms);
}

async function read() {
  asked += 1;
  const own = asked;
  askedAtMs = performance.now();
  readAfter(QUIET_MS);
  try {
    const signal = AbortSignal.timeout(LIMIT_MS);
    const answers = await Promise.all([ask(OPEN, { signal }), ask(OWN, { signal })]);
    const [response, ownAlerts] = answers;
    if (own !== asked) return;
    if (response.status === 401 || response.status === 403) return refused();
    if (!response.ok || !ownAlerts.ok) throw new Error(String(response.status));
    const [{ alerts, found }, { found: foundOwn }] = await Promise.all(answers.map((answer) => answer.json()));
    if (own !== asked) return;
    known.alerts = alerts.filter(({ rule }) => rule !== OWN_RULE);
    known.found = found - foundOwn;
    known.isFresh = true;
    listen();
  } catch {
    if (own !== asked) return;
    known.isFresh = false;
  }
  draw();
}

/** Without a key for records there is nothing to show. No more requests are made until there is another key. */
function refused() {
  unfollow();
  known.alerts = [];
  draw();
}

function listen() {
  if (document.hidden || (stream !== null && !stream.closed)) return;
  stream = new EventStream("/alerts/live");
  const changed = () => readAfter(Math.max(0, askedAtMs + BUSY_MS - performance.now()));
  // The stream does not have alerts from before it was open, so the list is read.
  stream.addEventListener("open", changed);
  stream.addEventListener("alert", changed);
}

function draw() {
  const section = element("alerts");
  section.hidden = known.alerts.length === 0;
  if (section.hidden) return;
  const focused = document.activeElement?.closest?.("#open-alerts button")?.value;
  show(element("alerts-title"), alertsTitle(known));
  show(element("open-alerts"), table(known.alerts.slice(0, MOST_SHOWN)));
  if (focused !== undefined)
    [...section.querySelectorAll("#open-alerts button")].find(({ value }) => value === focused)?.focus();
  show(element("respond"), ...commands());
}

function table(alerts) {
  const heads = ["Severity", "Rule", "About", "What", "Time of the event", ""];
  const head = heads.map((text) => make("th", { scope: "col", text }));
  const body = alerts.map(({ id, severity, rule, key, says, at }) => {
    const respond = make("button", { type: "button", value: id, text: "Respond" });
    respond.setAttribute("aria-pressed", String(id === known.chosen));
    return make(
      "tr",
      {},
      make("td", {}, make("span", { className: `severity ${severity ?? ""}`, text: severity ?? "–" })),
      make("td", { text: rule }),
      make("td", { className: "free", text: key ?? "–" }),
      make("td", { className: "free", text: says ?? "–" }),
      make("td", { text: instant.format(new Date(at)) }),
      make("td", {}, respond),
    );
  });
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
}

/** Returns the commands for the chosen alert. HTTP changes nothing, so they are for a terminal. */
function commands() {
  const alert = known.alerts.find(({ id }) => id === known.chosen);
  const all = "npx tideline alerts list --state open";
  if (alert === undefined)
    return known.found > MOST_SHOWN
      ? [make("p", {}, `The newest ${MOST_SHOWN} are shown. All: `, make("code", { text: all }))]
      : [];
  const [id, rule] = [alert.id, alert.rule].map(shellWord);
  const lines = [
    ["Look after it", `npx tideline alerts ack ${id}`],
    [`Silence ${alert.rule} for two hours`, `npx tideline alerts silence ${rule} --for 2h`],
    ["See the record that opened it", `npx tideline alerts explain ${id}`],
  ];
  return [
    make("p", { text: "This page changes nothing. Run one of these where Tideline runs:" }),
    make(
      "dl",
      {},
      ...lines.flatMap(([what, command]) => [
        make("dt", { text: what }),
        make("dd", {}, make("code", { text: command })),
      ]),
    ),
  ];
}

element("open-alerts").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button === null) return;
  known.chosen = known.chosen === button.value ? null : button.value;
  draw();
});
document.addEventListener("visibilitychange", () => (document.hidden ? unfollow() : followAlerts()));
