import { type AsOf, encodeAsOf } from "../core/as-of.ts";
import type { Problem } from "../core/failures.ts";
import { type CutJson, cutToJson } from "../core/position.ts";
import type { Row } from "../core/present.ts";
import type { Query } from "../core/query.ts";
import { formatDuration } from "../core/time.ts";
import type { SESSION_COLUMNS, View } from "../core/view.ts";
import type { Definition } from "../store/definitions.ts";
import type { DimensionType } from "./dimension-types.ts";
import type { Missing } from "./join.ts";
import type { ReadAnswer, Reading } from "./reader.ts";
import type { Standing } from "./standings.ts";

/** What a column of the rows is. A measure's `type` is the kind of its definition: count, sum, distinct. */
export interface AnswerField {
  readonly kind: "time" | "dimension" | "measure";
  readonly type: string;
  readonly unit: string;
  readonly exact: boolean;
  /** Relative standard error; 0 when exact. */
  readonly error: number;
  readonly note: string;
  /** Of a measure that presents several values: their names, or "list". */
  readonly parts?: readonly string[] | "list";
}

/** Where an answer stands in the log. */
export interface AnswerPosition {
  readonly generation: string;
  readonly version: number;
  readonly cut: CutJson;
  readonly applied: CutJson;
}

export interface AnswerBody {
  readonly view: string;
  readonly rows: readonly Row[];
  readonly truncated: boolean;
  readonly fields: Readonly<Record<string, AnswerField>>;
  readonly window: AnswerWindow;
  readonly asOf: string;
  readonly position: AnswerPosition;
  readonly batchVersion: number;
  /** Null for an answer about an earlier position. */
  readonly freshnessMs: number | null;
  readonly complete: boolean;
  readonly missing?: Missing;
  readonly notices?: readonly AnswerNotice[];
  /** What keeps it from growing; absent when all is well, and with `at`. */
  readonly problems?: readonly Problem[];
}

/** What a client should know although the answer is right. */
export interface AnswerNotice {
  readonly code: "EVENTS_AFTER_NOW";
  readonly message: string;
}

/** Which time the rows are about, and how it is cut. */
export interface AnswerWindow {
  readonly from: string;
  readonly to: string;
  /** The width of a bucket, or the calendar's unit. */
  readonly every: string;
  /** How much time a row covers; the same as `every` unless windows slide. */
  readonly window: string;
  readonly zone: string;
}

function answerWindow({ everyMs, calendar, windowMs, zone }: Query, fromMs: number, toMs: number): AnswerWindow {
  const every = calendar === null ? formatDuration(everyMs) : `1 ${calendar.unit}`;
  const window = calendar === null ? formatDuration(windowMs) : every;
  return { from: isoOf(fromMs), to: isoOf(toMs), every, window, zone };
}

export type DimensionTypes = ReadonlyMap<string, DimensionType>;

const TIME: AnswerField = {
  kind: "time",
  type: "instant",
  unit: "ISO 8601, UTC",
  exact: true,
  error: 0,
  note: "start of the bucket",
};

const SESSION_FIELDS: Readonly<Record<(typeof SESSION_COLUMNS)[number], AnswerField>> = {
  ended: { ...TIME, note: "the session's last event; bucket is its first" },
  duration_ms: { ...TIME, kind: "measure", type: "duration", unit: "ms", note: "from the first event to the last" },
};

/** The columns of an answer to a query for `by` and `measures`. */
export function answerFields(
  view: View,
  types: DimensionTypes,
  { by, measures }: Pick<Query, "by" | "measures">,
): Record<string, AnswerField> {
  const dimensions = by.map((name): [string, AnswerField] => [
    name,
    {
      kind: "dimension",
      type: types.get(name) ?? "text",
      unit: "",
      exact: true,
      error: 0,
      note: "null where the event has none",
    },
  ]);
  const measured = measures.flatMap((name): [string, AnswerField][] => {
    const measure = view.measures[name];
    if (measure === undefined) return [];
    const { kind, unit, accuracy, parts } = measure;
    return [[name, { kind: "measure", type: kind, unit, ...accuracy, ...(parts === undefined ? {} : { parts }) }]];
  });
  return {
    bucket: TIME,
    ...(view.sessions === null ? {} : SESSION_FIELDS),
    ...Object.fromEntries([...dimensions, ...measured]),
  };
}

/** The token of where a view or an answer stands. */
export function asOfToken({ generation }: Definition, { manifest, cut, applied }: Standing): string {
  return encodeAsOf({ generation, version: manifest.version, cut, applied });
}

/** What every answer says beside its rows: for the body of JSON, and the headers of all. */
export function answerStanding(definition: Definition, standing: Standing, at: AsOf | null) {
  const { manifest, missing, problems } = standing;
  // An answer about an earlier position is the same whenever it is asked for, so nothing in it tells from what it was made, or when.
  const { version, cut, applied } = at ?? { ...standing, version: manifest.version };
  const { generation } = definition;
  return {
    asOf: encodeAsOf({ generation, version, cut, applied }),
    position: { generation, version, cut: cutToJson(cut), applied: cutToJson(applied) },
    batchVersion: version,
    freshnessMs: at === null ? standing.freshnessMs : null,
    complete: missing === null,
    ...(missing === null ? {} : { missing }),
    ...(at !== null || problems.length === 0 ? {} : { problems }),
  };
}

/** For the body of an answer: nothing when there is nothing to say. */
export function answerNotices({ view }: Definition, { toMs, laterMs }: Pick<Reading, "toMs" | "laterMs">) {
  if (laterMs === null) return {};
  const message = `The view holds events after now, up to ${isoOf(laterMs + view.grainMs)}; this answer ends at ${isoOf(toMs)}. Give from and to for them.`;
  const notices: AnswerNotice[] = [{ code: "EVENTS_AFTER_NOW", message }];
  return { notices };
}

/** The body of an answer; `at` is the position that was asked for, null for the newest. */
export function answerBody(
  definition: Definition,
  types: DimensionTypes,
  query: Query,
  answer: ReadAnswer,
  at: AsOf | null = null,
): AnswerBody {
  const { view } = definition;
  return {
    view: view.name,
    rows: answer.rows,
    truncated: answer.truncated,
    fields: answerFields(view, types, query),
    window: answerWindow(query, answer.fromMs, answer.toMs),
    ...answerStanding(definition, answer, at),
    ...answerNotices(definition, answer),
  };
}

function isoOf(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

/** A view in the list of views: what can be asked of it, and where it stands. */
export function viewSummary({ view, generation }: Definition, types: DimensionTypes, standing: Standing | null) {
  const names = { by: Object.keys(view.by), measures: Object.keys(view.measures) };
  const fields = Object.entries(answerFields(view, types, names));
  const ofKind = (wanted: AnswerField["kind"]) =>
    fields.filter(([, { kind }]) => kind === wanted).map(([name, { kind: _, ...field }]) => ({ name, ...field }));
  return {
    name: view.name,
    stream: view.stream.name,
    grain: formatDuration(view.grainMs),
    dimensions: ofKind("dimension").map(({ name, type }) => ({ name, type })),
    measures: ofKind("measure"),
    generation,
    ready: standing !== null,
    version: standing?.manifest.version ?? null,
    cut: standing === null ? null : cutToJson(standing.cut),
    applied: standing === null ? null : cutToJson(standing.applied),
    freshnessMs: standing?.freshnessMs ?? null,
    complete: standing !== null && standing.missing === null,
    ...(standing === null || standing.missing === null ? {} : { missing: standing.missing }),
    ...(standing === null || standing.problems.length === 0 ? {} : { problems: standing.problems }),
  };
}
