/** Decides what the page shows first, and words its texts. Uses no document, so that tests can call it. */

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
export const DAY_MS = UNIT_MS.d;

/** A view that has changed within this time counts as moving: versions are published once a minute. */
const MOVES_MS = 120_000;
/** A view is up to date if the end of the log was seen within this time. */
const FRESH_MS = 30_000;

/** The choices of how much event time is shown: the text in the URL, and the name. */
export const SPANS = [
  ["1d", "the last 24 hours"],
  ["7d", "the last 7 days"],
  ["30d", "the last 30 days"],
  ["365d", "the last year"],
  ["all", "everything"],
];

/** Returns the milliseconds of `5m`, `1h`, `7d`; null for any other text. */
export function durationMs(text) {
  const [, amount, unit] = /^(\d+)([smhdw])$/.exec(text) ?? [];
  return amount === undefined ? null : Number(amount) * UNIT_MS[unit];
}

/** Returns the bucket widths that are multiples of the grain, the grain first. */
export function widths(grain) {
  const grainMs = durationMs(grain);
  const wider = ["1m", "5m", "15m", "1h", "6h", "1d"].filter((width) => {
    const widthMs = durationMs(width);
    return grainMs !== null && widthMs > grainMs && widthMs % grainMs === 0;
  });
  return [grain, ...wider];
}

/** Returns the span that shows enough buckets of this width, and not too many. */
export function spanFor(width) {
  const widthMs = durationMs(width) ?? DAY_MS;
  return widthMs < UNIT_MS.h ? "1d" : widthMs < DAY_MS ? "7d" : "365d";
}

/**
 * Returns the view to open on: of the moving views, the one with the finest buckets; otherwise the view that has
 * changed last. Returns undefined if there are no views.
 */
export function startingView(views) {
  const rank = ({ changedMs, grain, sessions }) => {
    if (changedMs === null) return [2, 0, 0];
    if (changedMs >= MOVES_MS) return [1, changedMs, 0];
    return [0, sessions ? 1 : 0, durationMs(grain) ?? DAY_MS];
  };
  const compare = (a, b) => a.map((one, index) => one - b[index]).find((difference) => difference !== 0) ?? 0;
  return [...views].sort((a, b) => compare(rank(a), rank(b)))[0];
}

/** Returns a duration as `5 s`, `3 min`, `2 h`, `4 days`. */
export function age(ms) {
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${Math.round(ms / UNIT_MS.h)} h` : `${Math.round(ms / DAY_MS)} days`;
}

/** Returns when a view's numbers last changed. */
export function changedText({ ready, changedMs }) {
  if (!ready) return "nothing published yet";
  if (changedMs === null) return "no events yet";
  return changedMs < 2_000 ? "changed just now" : `changed ${age(changedMs)} ago`;
}

/**
 * Returns whether a view is up to date with the log, and if not, since when. `good` is false if somebody should look.
 */
export function stateOf({ ready, complete, freshnessMs, problems }) {
  if (!ready) return { good: false, text: "nothing published yet" };
  if (problems !== undefined) return { good: false, text: "does not grow: see above" };
  if (!complete) return { good: false, text: "batch version alone" };
  if (freshnessMs < FRESH_MS) return { good: true, text: "up to date" };
  return { good: false, text: `as of ${age(freshnessMs)} ago` };
}

/** Returns the unit to write beside a name; "" if the name is the unit. */
export function unitOf({ unit, column, measure }) {
  return unit === column || unit === measure ? "" : unit;
}

/**
 * Returns a dimension's value for people, different values as different texts: "none" for events without a value. A
 * text that looks like "none", or like a quoted text, is quoted.
 */
export function dimensionText(value) {
  if (value === null) return "none";
  const isUnclear = typeof value === "string" && (value === "" || value === "none" || value.startsWith('"'));
  return isUnclear ? JSON.stringify(value) : String(value);
}

/**
 * Returns rows as lines of a chart, the largest first: one line for each value of `group`. Without `group`, returns a
 * single line called `name`. `value` returns a row's number. A line has an id, its name, and points `[epoch ms, number
 * or null]`.
 */
export function linesOf(rows, { group, name, value }) {
  const lines = new Map();
  for (const row of rows) {
    const id = group === null ? "" : JSON.stringify(group(row));
    const line = lines.get(id) ?? { id, name: group === null ? name : dimensionText(group(row)), size: 0, points: [] };
    lines.set(id, line);
    const found = value(row);
    const y = found === null || found === undefined ? null : Number(found);
    line.points.push([Date.parse(row.bucket), y]);
    line.size += Math.abs(y ?? 0);
  }
  return [...lines.values()].sort((a, b) => b.size - a.size);
}

/**
 * Returns how many alerts are open, and how many of each severity, the worst first. If `alerts` has only the newest
 * ones, the text says so.
 */
export function alertsTitle({ alerts, found, isFresh }) {
  const counts = ["critical", "warning", "info"].flatMap((severity) => {
    const count = alerts.filter((alert) => alert.severity === severity).length;
    return count === 0 ? [] : [`${count} ${severity}`];
  });
  const title = `${found} open ${found === 1 ? "alert" : "alerts"}`;
  const known = found === alerts.length ? counts.join(", ") : `the newest ${alerts.length}: ${counts.join(", ")}`;
  return `${counts.length === 0 ? title : `${title} (${known})`}${isFresh ? "" : ". They cannot be read at present"}`;
}

/** Returns a text as one word of a shell command, whatever it contains. */
export function shellWord(text) {
  return /^[\w.][\w.-]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
