/** What the page shows first, and in which words: without a document, so that tests call it too. */

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
export const DAY_MS = UNIT_MS.d;

/** A view that has changed so lately moves: versions are published once a minute. */
const MOVES_MS = 120_000;
/** A view is up to date if the end of the log was seen so lately. */
const FRESH_MS = 30_000;

/** How much event time is shown: what stands in the URL, and its name. */
export const SPANS = [
  ["1d", "the last 24 hours"],
  ["7d", "the last 7 days"],
  ["30d", "the last 30 days"],
  ["365d", "the last year"],
  ["all", "everything"],
];

/** Milliseconds in `5m`, `1h`, `7d`; null for any other text. */
export function durationMs(text) {
  const [, amount, unit] = /^(\d+)([smhdw])$/.exec(text) ?? [];
  return amount === undefined ? null : Number(amount) * UNIT_MS[unit];
}

/** Bucket widths that the grain divides, the grain first. */
export function widths(grain) {
  const grainMs = durationMs(grain);
  const wider = ["1m", "5m", "15m", "1h", "6h", "1d"].filter((width) => {
    const widthMs = durationMs(width);
    return grainMs !== null && widthMs > grainMs && widthMs % grainMs === 0;
  });
  return [grain, ...wider];
}

/** The span that shows enough buckets of this width to see something, and not too many. */
export function spanFor(width) {
  const widthMs = durationMs(width) ?? DAY_MS;
  return widthMs < UNIT_MS.h ? "1d" : widthMs < DAY_MS ? "7d" : "365d";
}

/**
 * The view to open on: one that moves now, of these the one with the finest buckets; otherwise the one that has changed
 * last. Undefined when there is none.
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

/** How long: `5 s`, `3 min`, `2 h`, `4 days`. */
export function age(ms) {
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${Math.round(ms / UNIT_MS.h)} h` : `${Math.round(ms / DAY_MS)} days`;
}

/** When a view's numbers last changed. */
export function changedText({ ready, changedMs }) {
  if (!ready) return "nothing published yet";
  if (changedMs === null) return "no events yet";
  return changedMs < 2_000 ? "changed just now" : `changed ${age(changedMs)} ago`;
}

/** Whether a view holds what the log holds, and if not since when: `good` is false when somebody should look. */
export function stateOf({ ready, complete, freshnessMs, problems }) {
  if (!ready) return { good: false, text: "nothing published yet" };
  if (problems !== undefined) return { good: false, text: "does not grow: see above" };
  if (!complete) return { good: false, text: "batch version alone" };
  if (freshnessMs < FRESH_MS) return { good: true, text: "up to date" };
  return { good: false, text: `as of ${age(freshnessMs)} ago` };
}

/** A unit to write beside a name; nothing when it is the name. */
export function unitOf({ unit, column, measure }) {
  return unit === column || unit === measure ? "" : unit;
}

/**
 * A value of a dimension for people, a different text for each: "none" where an event has none. A text that could be
 * taken for that, or for a quoted one, is quoted.
 */
export function dimensionText(value) {
  if (value === null) return "none";
  const isUnclear = typeof value === "string" && (value === "" || value === "none" || value.startsWith('"'));
  return isUnclear ? JSON.stringify(value) : String(value);
}

/**
 * Rows as lines of a chart, the largest first: one for each value of `group`, or a single one, called `name`, without
 * it. `value` gives a row's number. A line has an id, its name, and points `[epoch ms, number or null]`.
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
 * How many alerts are open, and how many of them of each severity, the worst first, as far as `alerts` has them all.
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

/** A text as one word of a command that a shell reads, whatever is in it. */
export function shellWord(text) {
  return /^[\w.][\w.-]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
