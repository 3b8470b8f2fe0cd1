/**
 * The page at /. It shows the list of views, and one of them live. It only uses this server: GET /views every two
 * seconds, and the chosen view's server-sent events. The choice is in the URL's fragment, so that a link or a reload
 * leads back to it.
 */

import { followAlerts } from "./alerts.js";
import {
  age,
  changedText,
  DAY_MS,
  dimensionText,
  durationMs,
  linesOf,
  SPANS,
  spanFor,
  startingView,
  stateOf,
  unitOf,
  widths,
} from "./choose.js";
import { element, make, show } from "./elements.js";
import { ask, EventStream, useKey } from "./server.js";

/** Set by the page's other script. */
const { echarts } = globalThis;

const LIST_MS = 2_000;
const LIST_LIMIT_MS = 5_000;
/** A view shows at most this many groups as lines; the others are in the table. */
const MAX_LINES = 8;
const TABLE_ROWS = 100;
const MAX_POINTS = 20_000;
const MAX_SESSIONS = 1_000;
const NO_DIMENSION = "";

/** At most this many buckets are shown as bars: a line would be a dot, or hide how few buckets there are. */
const MOST_BARS = 24;
const instant = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const minute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
/** Buckets of days are UTC days. */
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
const short = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
/** For numbers below 1, such as shares. */
const fraction = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });

/** The page's state. Everything is drawn from it. */
const known = {
  views: [],
  problems: [],
  alerts: [],
  name: null,
  choice: null,
  answer: null,
  notice: null,
  listAlive: null,
  /** The server's reason for wanting an API key; null if it wants none. */
  keyWanted: null,
  streamAlive: null,
};
let source = null;
let nextList = null;
let chart = null;
/** Whether the next drawing of the list scrolls to the chosen view. */
let showChosen = false;

/**
 * Returns a value in the form of the user's locale. Exact decimals have all their places, even if numbers come as text.
 */
function shown(value, { values, scale } = {}) {
  if (value === null || value === undefined) return "–";
  const isText = typeof value === "string" && (values === "integer" || values === "decimal");
  if (isText || typeof value === "number") return formatOf(value, scale).format(value);
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

function formatOf(value, scale) {
  if (scale !== undefined)
    return new Intl.NumberFormat(undefined, { minimumFractionDigits: scale, maximumFractionDigits: scale });
  return Math.abs(Number(value)) < 1 ? fraction : number;
}

/**
 * Returns the measures that can be chosen; each value of a measure with several values is one. A list cannot be drawn,
 * and is only in the table.
 */
function columns(view) {
  return view.measures.flatMap(({ name, parts, ...rest }) =>
    Array.isArray(parts)
      ? parts.map((part) => ({ column: `${name}.${part}`, measure: name, part, ...rest }))
      : [{ column: name, measure: name, part: null, list: parts === "list", ...rest }],
  );
}

function fieldOf(row, { measure, part }) {
  const value = row[measure];
  return part === null ? value : (value?.[part] ?? null);
}

/** Returns when a bucket begins, as exactly as its width needs. */
function bucketText(bucket) {
  const widthMs = durationMs(known.choice.every);
  const format = widthMs === null || widthMs % 60_000 !== 0 ? instant : widthMs % DAY_MS === 0 ? day : minute;
  return format.format(new Date(bucket));
}

/** As `bucketText`, for places with little space. The year is in the table. */
function shortText(bucket) {
  const isDays = (durationMs(known.choice.every) ?? 0) % DAY_MS === 0;
  return isDays ? bucketText(bucket) : short.format(new Date(bucket));
}

const chosen = () => known.views.find(({ name }) => name === known.name) ?? null;

function drawList() {
  const items = known.views.map((view) => {
    const { good, text } = stateOf(view);
    const link = make("a", { href: `#${new URLSearchParams({ view: view.name })}` });
    if (view.name === known.name) link.setAttribute("aria-current", "true");
    link.append(
      make("strong", { text: view.name }),
      make("small", { text: view.ready ? changedText(view) : view.stream }),
      make("small", { className: good ? "good" : "warn", text }),
    );
    return make("li", {}, link);
  });
  const focused = document.activeElement?.closest?.("#views a")?.getAttribute("href");
  show(element("views"), ...items);
  if (focused)
    [...element("views").querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
  if (showChosen) {
    showChosen = false;
    element("views").querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  element("no-views").hidden = known.listAlive !== true || known.views.length > 0;
}

function drawConnection() {
  const away = known.listAlive === false || known.streamAlive === false;
  const node = element("connection");
  const text =
    known.listAlive === null
      ? "Loading …"
      : known.keyWanted !== null
        ? "An API key is needed"
        : away
          ? "Disconnected: trying again. The numbers below do not change until then."
          : "Connected";
  if (node.textContent !== text) node.textContent = text;
  node.classList.toggle("bad", away);
  element("key").hidden = known.keyWanted === null;
  show(element("key-problem"), known.keyWanted ?? "");
}

/** Texts about problems, by kind, for people who do not operate Tideline. */
const FAILS = {
  lane: (name) => `Events of ${name} cannot be read`,
  reader: (name) => `Reading ${name} fails`,
  view: (name) => `The view ${name} is stopped`,
  schedule: (name) => `The schedule ${name} fails each time`,
  workflow: (name) => `The workflow ${name} makes no progress`,
  proof: (name) => `Numbers of ${name} differ from the raw log`,
};

/** Draws problems above everything else: numbers that have stopped growing look like numbers that grow. */
function drawProblems() {
  const node = element("problems");
  const items = known.problems.map(({ kind, name, message, hint, since }) =>
    make(
      "li",
      {},
      make("strong", { text: `${FAILS[kind]?.(name) ?? name} since ${instant.format(new Date(since))}.` }),
      ` ${message.replace(/\.$/, "")}. `,
      make("small", { text: hint }),
    ),
  );
  const alerts = known.alerts.map(({ severity, says, at }) =>
    make("li", {}, make("strong", { text: `${severity}, since ${instant.format(new Date(at))}.` }), ` ${says}`),
  );
  node.hidden = items.length + alerts.length === 0;
  const failing = items.length === 0 ? [] : [make("p", { text: "Some numbers do not grow at present:" })];
  const others = alerts.length === 0 ? [] : [make("p", { text: "Something is wrong with the installation:" })];
  show(node, ...failing, make("ul", {}, ...items), ...others, make("ul", {}, ...alerts));
}

function fillSelect(id, options, value) {
  const select = element(id);
  show(select, ...options.map(([option, text]) => make("option", { value: option, text })));
  select.value = value;
  select.disabled = options.length < 2;
}

/** Returns a column's name, with its unit in brackets. */
function titleOf(column) {
  const unit = unitOf(column);
  return `${column.column}${unit === "" ? "" : ` (${unit})`}`;
}

function drawChoices(view) {
  const { measure, dimension, every, span } = known.choice;
  fillSelect(
    "measure",
    columns(view).map((column) => [column.column, titleOf(column)]),
    measure,
  );
  fillSelect("dimension", dimensionsOf(view), dimension);
  fillSelect("every", view.sessions ? [[every, "sessions"]] : widths(view.grain).map((width) => [width, width]), every);
  fillSelect("span", SPANS, span);
}

/** A session belongs to one value of every dimension. */
function dimensionsOf({ sessions, dimensions }) {
  const names = dimensions.map(({ name }) => name);
  return sessions
    ? [[NO_DIMENSION, names.join(", ")]]
    : [[NO_DIMENSION, "nothing: totals"], ...names.map((name) => [name, name])];
}

const spanText = () => SPANS.find(([span]) => span === known.choice.span)?.[1] ?? "";

function drawNotice(view) {
  const node = element("notice");
  const { answer, notice } = known;
  const missing = notice?.missing ?? answer?.missing;
  const text =
    notice?.text ??
    (missing !== undefined
      ? `Incomplete: ${missing.message}.`
      : !view.ready
        ? "Nothing has been published for this view yet. It appears here as " +
          "soon as the speed layer or a settlement has run."
        : answer === null
          ? "Loading …"
          : answer.notices !== undefined
            ? answer.notices.map(({ message }) => message).join(" ")
            : answer.rows.length === 0
              ? `No events in ${spanText()} of this view's event time.`
              : "");
  if (node.textContent !== text) node.textContent = text;
  node.hidden = text === "";
  node.classList.toggle("warn", notice?.text !== undefined || missing !== undefined || answer?.notices !== undefined);
}

function drawFacts(view, column) {
  const { answer } = known;
  const newest =
    answer?.rows.reduce((last, { bucket }) => (last === null || bucket > last ? bucket : last), null) ?? null;
  const facts = [
    ["Changed", changedText(view).replace("changed ", "")],
    [
      "Holds events up to",
      view.freshnessMs === null ? "–" : view.freshnessMs < 2_000 ? "now" : `${age(view.freshnessMs)} ago`,
    ],
    [view.sessions ? "Newest session" : "Newest bucket", newest === null ? "–" : shortText(newest)],
    ["Batch version", shown(answer?.batchVersion ?? view.version)],
    ["Complete", answer === null ? "–" : answer.complete ? "yes" : "no"],
    ["Accuracy", column.exact ? "exact" : `± ${number.format(column.error * 100)} %`],
  ];
  show(
    element("facts"),
    ...facts.map(([name, value]) => make("div", {}, make("dt", { text: name }), make("dd", { text: value }))),
  );
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Returns the points of a line. The line is interrupted where a bucket is missing, and a single point is a dot. */
function interrupted(points, widthMs) {
  const sorted = points.sort(([a], [b]) => a - b);
  const follows = (index) => index > 0 && index < sorted.length && sorted[index][0] - sorted[index - 1][0] <= widthMs;
  return sorted.flatMap(([time, value], index) => {
    const isAlone = !follows(index) && !follows(index + 1);
    const point = { value: [time, value], symbolSize: isAlone ? 5 : 0 };
    return index === 0 || follows(index) ? [point] : [{ value: [time - widthMs, null] }, point];
  });
}

/** Returns the range from the first bucket to the end of the last one, with some space for bars and single points. */
function timeAxis(lines, widthMs) {
  const times = lines.flatMap(({ points }) => points.map(([time]) => time));
  const [first, last] = [times.reduce((a, b) => Math.min(a, b)), times.reduce((a, b) => Math.max(a, b))];
  const buckets = new Set(times).size;
  const room = buckets <= MOST_BARS ? widthMs / 2 : 0;
  return { min: first - room, max: Math.max(last + room, first + 1), buckets };
}

function drawChart(view, column) {
  const node = element("chart");
  const rows = known.answer?.rows ?? [];
  const { dimension } = known.choice;
  const group = dimension === NO_DIMENSION ? null : (row) => row[dimension];
  const lines = column.list ? [] : linesOf(rows, { group, name: column.column, value: (row) => fieldOf(row, column) });
  node.hidden = lines.length === 0;
  if (node.hidden) return;
  chart ??= echarts.init(node, null, { renderer: "canvas" });
  chart.resize();
  const widthMs = durationMs(known.choice.every) ?? DAY_MS;
  const { min, max, buckets } = timeAxis(lines, widthMs);
  const type = view.sessions ? "scatter" : buckets <= MOST_BARS ? "bar" : "line";
  const unit = unitOf(column);
  const axis = {
    axisLabel: { color: colour("--quiet"), hideOverlap: true },
    axisLine: { lineStyle: { color: colour("--line") } },
    splitLine: { lineStyle: { color: colour("--line") } },
  };
  const few = lines.slice(0, MAX_LINES).map(({ id, name, points }) => ({
    id,
    name,
    type,
    symbol: "circle",
    symbolSize: 5,
    barMaxWidth: 48,
    lineStyle: { width: 1.8 },
    data: type === "line" ? interrupted(points, widthMs) : points,
  }));
  const legend = few.length > 1;
  chart.setOption(
    {
      animation: false,
      useUTC: widthMs % DAY_MS === 0,
      color: ["#2391b0", "#e08a2c", "#5aa469", "#c8567b", "#8a76d6", "#b59b2a", "#4f7cd1", "#7d8b91"],
      textStyle: { fontFamily: "system-ui, sans-serif" },
      grid: { left: 12, right: 18, top: legend || unit !== "" ? 40 : 18, bottom: 10, containLabel: true },
      legend: { show: legend, top: 4, left: 70, right: 10, type: "scroll", textStyle: { color: colour("--text") } },
      tooltip: {
        trigger: "axis",
        backgroundColor: colour("--card"),
        borderColor: colour("--line"),
        textStyle: { color: colour("--text") },
        axisPointer: { label: { formatter: ({ value }) => bucketText(value) } },
        valueFormatter: (value) => `${shown(value, column)} ${unit}`.trim(),
      },
      // Positions between bars have no value to read.
      xAxis: { type: "time", min, max, minInterval: type === "bar" ? widthMs : 0, ...axis, splitLine: { show: false } },
      yAxis: {
        type: "value",
        name: unit,
        nameGap: 12,
        nameTextStyle: { color: colour("--quiet"), align: "left" },
        ...axis,
        axisLabel: { ...axis.axisLabel, formatter: (value) => number.format(value) },
      },
      series: few,
    },
    { replaceMerge: ["series"] },
  );
}

function drawTable(view) {
  const { answer, choice } = known;
  const rows = [...(answer?.rows ?? [])].sort((a, b) => (a.bucket < b.bucket ? 1 : a.bucket > b.bucket ? -1 : 0));
  if (rows.length === 0) {
    show(element("table"));
    return;
  }
  const grouped = choice.dimension === NO_DIMENSION ? [] : [choice.dimension];
  const dimensions = view.sessions ? view.dimensions.map(({ name }) => name) : grouped;
  const measures = columns(view);
  const head = make(
    "tr",
    {},
    make("th", { scope: "col", text: view.sessions ? "Session begins" : "Bucket begins" }),
    ...dimensions.map((name) => make("th", { scope: "col", text: name })),
    ...measures.map((column) => {
      const unit = unitOf(column);
      const small = unit === "" ? [] : [make("small", { text: ` ${unit}` })];
      return make("th", { scope: "col", className: "number" }, column.column, ...small);
    }),
  );
  const body = rows
    .slice(0, TABLE_ROWS)
    .map((row) =>
      make(
        "tr",
        {},
        make("td", { text: bucketText(row.bucket) }),
        ...dimensions.map((name) => make("td", { text: dimensionText(row[name]) })),
        ...measures.map((column) => make("td", { className: "number", text: tableText(fieldOf(row, column), column) })),
      ),
    );
  show(element("table"), make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}

/** Returns the text of a table cell; for a list, its first records. */
function tableText(value, column) {
  if (column.unit === "epoch ms" && value !== null) return instant.format(new Date(Number(value)));
  if (!Array.isArray(value)) return shown(value, column);
  const few = value.slice(0, 3).map((record) =>
    // An item of a top list is text, even if it has only digits.
    Object.entries(record)
      .map(([name, one]) => (name === "item" ? String(one) : shown(one, column)))
      .join(" "),
  );
  return `${few.join(", ")}${value.length > 3 ? " …" : ""}`;
}

function draw() {
  drawConnection();
  drawProblems();
  drawList();
  const view = chosen();
  element("view").hidden = view === null;
  if (view === null || known.choice === null) return;
  const column = columns(view).find(({ column }) => column === known.choice.measure) ?? columns(view)[0];
  element("view-title").textContent = view.name;
  const isDays = (durationMs(known.choice.every) ?? 0) % DAY_MS === 0;
  element("about").textContent =
    `Stream ${view.stream}, by event time. ${isDays ? "Days are those of UTC." : "Times are those of this device."}`;
  drawChoices(view);
  drawNotice(view);
  drawFacts(view, column);
  drawChart(view, column);
  drawTable(view);
}

let drawing = false;
/** Draws before the next frame, once for all changes until then. */
function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function readFragment() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const view = known.views.find(({ name }) => name === wanted.get("view")) ?? chosen() ?? startingView(known.views);
  if (view === undefined) return;
  const pick = (name, allowed, fallback) => (allowed.includes(wanted.get(name)) ? wanted.get(name) : fallback);
  const names = columns(view).map(({ column }) => column);
  const every = view.sessions ? view.grain : pick("every", widths(view.grain), view.grain);
  const choice = {
    measure: pick("measure", names, names[0]),
    dimension: pick(
      "by",
      dimensionsOf(view).map(([name]) => name),
      NO_DIMENSION,
    ),
    every,
    span: pick(
      "span",
      SPANS.map(([span]) => span),
      spanFor(every),
    ),
  };
  const before = known.choice;
  const isAnother = known.name !== view.name;
  const same = !isAnother && ["dimension", "every", "span"].every((name) => before?.[name] === choice[name]);
  if (isAnother && known.name !== null) scrollTo(0, 0);
  known.name = view.name;
  known.choice = choice;
  if (!same) void listen();
  if (isAnother) showChosen = true;
  redraw();
}

/** Returns the query for the chosen rows. */
function question(view) {
  const { dimension, every } = known.choice;
  const parameters = new URLSearchParams(view.sessions ? {} : { by: dimension, every });
  parameters.set("order", "-bucket");
  // Browsers' JSON parsers round numbers beyond 2^53, so numbers are asked for as text.
  parameters.set("numbers", "text");
  return parameters;
}

/**
 * Returns where the chosen span begins. Null means the last 24 hours: without `from` the server answers these, and they
 * move with the data. A longer span ends where those end.
 */
async function beginning(view) {
  const { span } = known.choice;
  if (span === "1d") return null;
  if (span === "all") return "1900-01-01";
  const parameters = question(view);
  parameters.set("limit", "1");
  const response = await ask(`/views/${encodeURIComponent(view.name)}?${parameters}`);
  if (!response.ok) return null;
  const { window } = await response.json();
  return new Date(Date.parse(window.to) - durationMs(span)).toISOString();
}

/** Returns the server's reason for refusing the query of an event stream that was closed. */
async function refusal(name, parameters) {
  const response = await ask(`/views/${encodeURIComponent(name)}?${parameters}`).catch(() => null);
  const problem = response === null || response.ok ? null : await response.json().catch(() => null);
  return problem?.detail ?? "The server refuses this view's live stream; reload the page.";
}

/** Follows the chosen view. An answer has all measures, so that choosing another one only draws again. */
async function listen() {
  source?.close();
  source = null;
  known.answer = null;
  known.notice = null;
  known.streamAlive = null;
  const { choice, name } = known;
  const view = chosen();
  const from = await beginning(view).catch(() => null);
  if (known.choice !== choice || known.name !== name) return;
  const parameters = question(view);
  if (from !== null) parameters.set("from", from);
  parameters.set("limit", String(view.sessions ? MAX_SESSIONS : MAX_POINTS));
  follow(new EventStream(`/views/${encodeURIComponent(name)}/live?${parameters}`), name, parameters);
}

function follow(stream, name, parameters) {
  source = stream;
  stream.addEventListener("open", () => {
    known.streamAlive = true;
    redraw();
  });
  stream.addEventListener("answer", ({ data }) => {
    known.answer = JSON.parse(data);
    known.notice = null;
    known.streamAlive = true;
    redraw();
  });
  stream.addEventListener("behind", ({ data }) => {
    const { missing } = JSON.parse(data);
    known.notice = {
      text: `The live state is catching up; these numbers stand still until it has. ${missing?.message ?? ""}`,
    };
    redraw();
  });
  stream.addEventListener("problem", ({ data }) => {
    const problem = JSON.parse(data);
    if (problem.code !== "NOT_READY") known.notice = { text: problem.detail };
    redraw();
  });
  stream.addEventListener("error", () => {
    // A closed stream means that the server refused the query, and asking again would not help. An open one connects
    // again by itself.
    if (!stream.closed) known.streamAlive = false;
    else
      refusal(name, parameters).then((text) => {
        if (source !== stream) return;
        known.notice = { text };
        redraw();
      });
    redraw();
  });
}

async function readList() {
  try {
    const response = await ask("/views", { signal: AbortSignal.timeout(LIST_LIMIT_MS) });
    const isAdmitted = response.ok && known.keyWanted !== null;
    known.keyWanted = response.status === 401 || response.status === 403 ? (await response.json()).detail : null;
    if (!response.ok) throw new Error(String(response.status));
    const { views, problems = [], alerts = [] } = await response.json();
    // Follows the chosen view again.
    if (isAdmitted) {
      known.choice = null;
      followAlerts();
    }
    known.views = views;
    known.problems = problems;
    known.alerts = alerts;
    known.listAlive = true;
    if (isAdmitted || known.name === null || chosen() === null) readFragment();
  } catch {
    known.listAlive = false;
  }
  redraw();
  clearTimeout(nextList);
  nextList = setTimeout(readList, LIST_MS);
}

for (const [id, name] of [
  ["measure", "measure"],
  ["dimension", "by"],
  ["every", "every"],
  ["span", "span"],
]) {
  element(id).addEventListener("change", ({ target }) => {
    const { measure, dimension, every, span } = known.choice;
    const parameters = { view: known.name, measure, by: dimension, every, span, [name]: target.value };
    // Another bucket width also changes the span, unless the user has chosen one.
    if (name === "every" && span === spanFor(every)) parameters.span = spanFor(target.value);
    history.replaceState(null, "", `#${new URLSearchParams(parameters)}`);
    readFragment();
  });
}
element("choices").addEventListener("submit", (event) => event.preventDefault());
element("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(element("key-text").value);
  element("key-text").value = "";
  clearTimeout(nextList);
  void readList();
});
addEventListener("hashchange", readFragment);
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
void readList();
followAlerts();
