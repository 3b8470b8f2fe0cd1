/**
 * The page at /: the list of views, and one of them live. It asks only this server: GET /views every two seconds, and the chosen view's
 * server-sent events. What is chosen stands in the URL's fragment, so that a link or a reload leads back to it.
 */

/** Of the page's other script. */
const { echarts } = globalThis;

const LIST_MS = 2_000;
const LIST_LIMIT_MS = 5_000;
/** A view shows at most so many groups as lines; the others are in the table. */
const MAX_LINES = 8;
const TABLE_ROWS = 100;
const MAX_POINTS = 20_000;
const NO_DIMENSION = "";

const element = (id) => document.getElementById(id);
const instant = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });

/** What the page knows; everything that is drawn is drawn from this. */
const known = {
  views: [],
  problems: [],
  name: null,
  choice: null,
  answer: null,
  notice: null,
  listAlive: null,
  streamAlive: null,
};
let source = null;
let chart = null;

function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { className, text, ...attributes } = properties;
  if (className !== undefined) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Puts `wanted` in the place of a node's children unless they say the same already: focus and scrolling survive. */
function show(node, ...wanted) {
  const fresh = make("div", {}, ...wanted);
  if (node.innerHTML !== fresh.innerHTML) node.replaceChildren(...fresh.childNodes);
}

function age(ms) {
  if (ms === null) return "not known";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} days`;
}

/** A value for people: numbers as their locale writes them; integers that do not fit a number come as text. */
function shown(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return number.format(value);
  if (typeof value === "string" && /^-?[1-9]\d{15,}$/.test(value)) return number.format(BigInt(value));
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

const dimensionText = (value) => (value === null ? "none" : String(value));

/** What can be chosen of a view's measures: one with several values counts as several. A list cannot be drawn, and stands in the table. */
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

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

function durationMs(text) {
  const [, amount, unit] = /^(\d+)([smhdw])$/.exec(text) ?? [];
  return amount === undefined ? null : Number(amount) * UNIT_MS[unit];
}

/** Bucket widths that the grain divides. */
function widths(grain) {
  const grainMs = durationMs(grain);
  const wider = ["1m", "5m", "15m", "1h", "6h", "1d"].filter((width) => {
    const widthMs = durationMs(width);
    return grainMs !== null && widthMs > grainMs && widthMs % grainMs === 0;
  });
  return [grain, ...wider];
}

const chosen = () => known.views.find(({ name }) => name === known.name) ?? null;

function drawList() {
  const items = known.views.map((view) => {
    const good = view.complete && view.problems === undefined;
    const state = !view.ready
      ? "nothing published yet"
      : view.problems !== undefined
        ? "does not grow: see above"
        : view.complete
          ? "complete"
          : "batch version alone";
    const details = view.ready ? `version ${view.version}, changed ${age(view.freshnessMs)} ago` : view.stream;
    const link = make("a", { href: `#${new URLSearchParams({ view: view.name })}` });
    if (view.name === known.name) link.setAttribute("aria-current", "true");
    link.append(
      make("strong", { text: view.name }),
      make("small", { text: details }),
      make("small", { className: good ? "good" : "warn", text: state }),
    );
    return make("li", {}, link);
  });
  const focused = document.activeElement?.closest?.("#views a")?.getAttribute("href");
  show(element("views"), ...items);
  if (focused)
    [...element("views").querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
  element("no-views").hidden = known.listAlive !== true || known.views.length > 0;
}

function drawConnection() {
  const away = known.listAlive === false || known.streamAlive === false;
  const node = element("connection");
  const text =
    known.listAlive === null
      ? "Loading …"
      : away
        ? "Disconnected: trying again. The numbers below stand still."
        : "Connected";
  if (node.textContent !== text) node.textContent = text;
  node.classList.toggle("bad", away);
}

/** What fails, by kind, in words for people who do not run this. */
const FAILS = {
  lane: (name) => `Events of ${name} cannot be read`,
  view: (name) => `The view ${name} is stopped`,
  schedule: (name) => `What is done on schedule as ${name} fails each time`,
  workflow: (name) => `The work ${name} gets nowhere`,
};

/** Above everything else: numbers that do not grow look like numbers that do. */
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
  node.hidden = items.length === 0;
  show(node, make("p", { text: "Some numbers do not grow at present:" }), make("ul", {}, ...items));
}

function fillSelect(id, options, value) {
  const select = element(id);
  show(select, ...options.map(([option, text]) => make("option", { value: option, text })));
  select.value = value;
  select.disabled = options.length < 2;
}

function drawChoices(view) {
  const { measure, dimension, every } = known.choice;
  const unit = (text) => (text === "" ? "" : ` (${text})`);
  fillSelect(
    "measure",
    columns(view).map((column) => [column.column, `${column.column}${unit(column.unit)}`]),
    measure,
  );
  fillSelect(
    "dimension",
    [[NO_DIMENSION, "nothing: totals"], ...view.dimensions.map(({ name }) => [name, name])],
    dimension,
  );
  fillSelect(
    "every",
    widths(view.grain).map((width) => [width, width]),
    every,
  );
}

function drawNotice(view) {
  const node = element("notice");
  const { answer, notice } = known;
  const missing = notice?.missing ?? answer?.missing;
  const text =
    notice?.text ??
    (missing !== undefined
      ? `Incomplete: ${missing.message}.`
      : !view.ready
        ? "Nothing has been published for this view yet. It appears here as soon as the speed layer or a refresh has run."
        : answer === null
          ? "Loading …"
          : answer.notices !== undefined
            ? answer.notices.map(({ message }) => message).join(" ")
            : answer.rows.length === 0
              ? "No events in the last 24 hours of this view's event time."
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
    ["Changed", view.freshnessMs === null ? "–" : `${age(view.freshnessMs)} ago`],
    ["Batch version", shown(answer?.batchVersion ?? view.version)],
    ["Complete", answer === null ? "–" : answer.complete ? "yes" : "no"],
    ["Newest bucket", newest === null ? "–" : instant.format(new Date(newest))],
    ["Accuracy", column.exact ? "exact" : `± ${number.format(column.error * 100)} %`],
  ];
  show(
    element("facts"),
    ...facts.map(([name, value]) => make("div", {}, make("dt", { text: name }), make("dd", { text: value }))),
  );
}

/** Rows as lines: one, or one for each value of the dimension, the largest first. */
function linesOf(rows, column) {
  const { dimension } = known.choice;
  const lines = new Map();
  for (const row of rows) {
    const key = dimension === NO_DIMENSION ? column.column : dimensionText(row[dimension]);
    const line = lines.get(key) ?? { key, size: 0, points: [] };
    lines.set(key, line);
    const value = fieldOf(row, column);
    const y = value === null || value === undefined ? null : Number(value);
    line.points.push([Date.parse(row.bucket), y]);
    line.size += Math.abs(y ?? 0);
  }
  return [...lines.values()].sort((a, b) => b.size - a.size);
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function drawChart(column) {
  const node = element("chart");
  const rows = known.answer?.rows ?? [];
  const lines = column.list ? [] : linesOf(rows, column);
  node.hidden = lines.length === 0;
  if (node.hidden) return;
  chart ??= echarts.init(node, null, { renderer: "canvas" });
  chart.resize();
  const axis = {
    axisLabel: { color: colour("--quiet") },
    axisLine: { lineStyle: { color: colour("--line") } },
    splitLine: { lineStyle: { color: colour("--line") } },
  };
  const few = lines.slice(0, MAX_LINES).map(({ key, points }) => ({
    name: key,
    type: "line",
    showSymbol: points.length < 40,
    symbol: "circle",
    symbolSize: 5,
    lineStyle: { width: 1.8 },
    data: points.sort(([a], [b]) => a - b),
  }));
  chart.setOption(
    {
      animation: false,
      color: ["#2391b0", "#e08a2c", "#5aa469", "#c8567b", "#8a76d6", "#b59b2a", "#4f7cd1", "#7d8b91"],
      textStyle: { fontFamily: "system-ui, sans-serif" },
      grid: { left: 12, right: 18, top: few.length > 1 ? 40 : 18, bottom: 10, containLabel: true },
      legend: { show: few.length > 1, top: 4, type: "scroll", textStyle: { color: colour("--text") } },
      tooltip: {
        trigger: "axis",
        backgroundColor: colour("--card"),
        borderColor: colour("--line"),
        textStyle: { color: colour("--text") },
        axisPointer: { label: { formatter: ({ value }) => instant.format(new Date(value)) } },
        valueFormatter: shown,
      },
      xAxis: { type: "time", ...axis, splitLine: { show: false } },
      yAxis: { type: "value", ...axis, axisLabel: { ...axis.axisLabel, formatter: (value) => number.format(value) } },
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
  const dimensions = choice.dimension === NO_DIMENSION ? [] : [choice.dimension];
  const measures = columns(view);
  const head = make(
    "tr",
    {},
    make("th", { scope: "col", text: "Bucket begins" }),
    ...dimensions.map((name) => make("th", { scope: "col", text: name })),
    ...measures.map(({ column }) => make("th", { scope: "col", className: "number", text: column })),
  );
  const body = rows
    .slice(0, TABLE_ROWS)
    .map((row) =>
      make(
        "tr",
        {},
        make("td", { text: instant.format(new Date(row.bucket)) }),
        ...dimensions.map((name) => make("td", { text: dimensionText(row[name]) })),
        ...measures.map((column) => make("td", { className: "number", text: tableText(fieldOf(row, column)) })),
      ),
    );
  show(element("table"), make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}

/** A list in a cell: its first records. */
function tableText(value) {
  if (!Array.isArray(value)) return shown(value);
  const few = value.slice(0, 3).map((record) => Object.values(record).map(shown).join(" "));
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
  element("about").textContent =
    `Of the stream ${view.stream}, in buckets of ${view.grain} of event time. Times are those of this device.`;
  drawChoices(view);
  drawNotice(view);
  drawFacts(view, column);
  drawChart(column);
  drawTable(view);
}

let drawing = false;
/** Draws before the next frame, however much has changed until then. */
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
  const view = known.views.find(({ name }) => name === wanted.get("view")) ?? known.views[0] ?? null;
  if (view === null) return;
  const pick = (name, allowed, fallback) => (allowed.includes(wanted.get(name)) ? wanted.get(name) : fallback);
  const names = columns(view).map(({ column }) => column);
  const choice = {
    measure: pick("measure", names, names[0]),
    dimension: pick("by", [NO_DIMENSION, ...view.dimensions.map(({ name }) => name)], NO_DIMENSION),
    every: pick("every", widths(view.grain), view.grain),
  };
  const before = known.choice;
  const same = known.name === view.name && before?.dimension === choice.dimension && before?.every === choice.every;
  known.name = view.name;
  known.choice = choice;
  if (!same) listen();
  redraw();
}

/** Follows the chosen view. All measures come at once, so that choosing another one only draws again. */
function listen() {
  source?.close();
  known.answer = null;
  known.notice = null;
  known.streamAlive = null;
  const { dimension, every } = known.choice;
  const parameters = new URLSearchParams({ by: dimension, every, order: "-bucket", limit: String(MAX_POINTS) });
  const stream = new EventSource(`/views/${encodeURIComponent(known.name)}/live?${parameters}`);
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
    // Closed: the server refused the question, and asking again would not help. Otherwise the browser connects again by itself.
    if (stream.readyState === EventSource.CLOSED)
      known.notice = { text: "The server refuses this view's live stream; choose wider buckets or reload." };
    else known.streamAlive = false;
    redraw();
  });
}

async function readList() {
  try {
    const response = await fetch("/views", { signal: AbortSignal.timeout(LIST_LIMIT_MS) });
    if (!response.ok) throw new Error(String(response.status));
    const { views, problems = [] } = await response.json();
    known.views = views;
    known.problems = problems;
    known.listAlive = true;
    if (known.name === null || chosen() === null) readFragment();
  } catch {
    known.listAlive = false;
  }
  redraw();
  setTimeout(readList, LIST_MS);
}

for (const [id, name] of [
  ["measure", "measure"],
  ["dimension", "by"],
  ["every", "every"],
]) {
  element(id).addEventListener("change", ({ target }) => {
    const { measure, dimension, every } = known.choice;
    const parameters = { view: known.name, measure, by: dimension, every, [name]: target.value };
    history.replaceState(null, "", `#${new URLSearchParams(parameters)}`);
    readFragment();
  });
}
element("choices").addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", readFragment);
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
void readList();
