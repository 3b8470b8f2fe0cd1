import type { SESSION_COLUMNS, View } from "../../core/definition/view.ts";
import type { Problem } from "../../core/failures.ts";
import { type AsOf, encodeAsOf } from "../../core/log/as-of.ts";
import { type Cut, type CutJson, cutToJson } from "../../core/log/position.ts";
import { dimensionScales } from "../../core/measures/decimals.ts";
import { canBeCut, partialColumn } from "../../core/query/partial.ts";
import type { Row } from "../../core/query/present.ts";
import type { Query } from "../../core/query/query.ts";
import { formatDuration } from "../../core/time.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import type { Missing } from "../common/missing.ts";
import { NUMBERS, type Numbers } from "../common/numbers.ts";
import type { ViewStatus } from "../read/live/view-status.ts";
import type { ReadAnswer, Reading } from "../read/reading.ts";
import type { ColumnTypes } from "../views/column-types.ts";

/** What a column of the rows is. A measure's `type` is the kind of its definition: count, sum, distinct. */
export interface AnswerField {
  readonly kind: "time" | "dimension" | "measure";
  readonly type: string;
  readonly unit: string;
  readonly exact: boolean;
  /** Relative standard error; 0 when exact. */
  readonly error: number;
  readonly note: string;
  /** What its values are, or those of its parts. */
  readonly values: "integer" | "decimal" | "double" | "text" | "boolean" | "instant" | "other";
  /**
   * The type that they have in JSON, all of them, whatever their size; null where there is none. Absent for values that
   * are neither.
   */
  readonly json?: "number" | "string" | "boolean";
  /** How many decimal places its exact decimals have. */
  readonly scale?: number;
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
  readonly code: "EVENTS_AFTER_NOW" | "LONG_NUMBERS";
  readonly message: string;
}

/** Which time the rows are about, and how it is cut. */
export interface AnswerWindow {
  readonly from: string;
  readonly to: string;
  /** The width of a bucket, the calendar's unit, or "all". */
  readonly every: string;
  /** How much time a row covers; the same as `every` unless windows slide. */
  readonly window: string;
  readonly zone: string;
}

function answerWindow({ everyMs, calendar, windowMs, zone }: Query, fromMs: number, toMs: number): AnswerWindow {
  const every = calendar === null ? formatDuration(everyMs) : calendar.unit === "all" ? "all" : `1 ${calendar.unit}`;
  const window = calendar === null ? formatDuration(windowMs) : every;
  return { from: isoOf(fromMs), to: isoOf(toMs), every, window, zone };
}

const TIME: AnswerField = {
  kind: "time",
  type: "instant",
  unit: "ISO 8601, UTC",
  exact: true,
  error: 0,
  note: "start of the bucket",
  values: "instant",
  json: "string",
};

const PARTIAL: AnswerField = {
  ...TIME,
  type: "boolean",
  values: "boolean",
  json: "boolean",
  unit: "",
  note: "true where from and to leave out a part of the bucket's time, else absent",
};

const SESSION_FIELDS: Readonly<Record<(typeof SESSION_COLUMNS)[number], AnswerField>> = {
  ended: { ...TIME, note: "the session's last event; bucket is its first" },
  duration_ms: {
    ...TIME,
    kind: "measure",
    type: "duration",
    unit: "ms",
    note: "from the first event to the last",
    values: "integer",
  },
};

/** What values are, and as what they come in JSON. */
export function written(
  values: AnswerField["values"],
  scale: number,
  numbers: Numbers,
): Pick<AnswerField, "values" | "json" | "scale"> {
  if (values === "other") return { values };
  const isExact = values === "integer" || values === "decimal";
  const json = isExact
    ? NUMBERS[numbers]
    : values === "double"
      ? "number"
      : values === "boolean"
        ? "boolean"
        : "string";
  return { values, json, ...(values === "decimal" ? { scale } : {}) };
}

function sessionFields(numbers: Numbers): typeof SESSION_FIELDS {
  const { ended, duration_ms } = SESSION_FIELDS;
  return { ended, duration_ms: { ...duration_ms, ...written("integer", 0, numbers) } };
}

/** What of a query decides which columns its answer has. */
export type AnswerColumns = Pick<Query, "by" | "measures" | "everyMs" | "calendar">;

/** The columns of an answer. */
export function answerFields(
  view: View,
  types: ColumnTypes,
  { by, measures, ...cut }: AnswerColumns,
  numbers: Numbers = "number",
): Record<string, AnswerField> {
  const dimensions = by.map((name): [string, AnswerField] => {
    const scale = dimensionScales(view).get(name) ?? 0;
    const type = scale > 0 ? "decimal" : (types.get(name) ?? "text");
    const shared = {
      kind: "dimension",
      unit: "",
      exact: true,
      error: 0,
      note: "null where the event has none",
    } as const;
    return [name, { ...shared, type, ...written(type, scale, numbers) }];
  });
  const measured = measures.flatMap((name): [string, AnswerField][] => {
    const measure = view.measures[name];
    if (measure === undefined) return [];
    const { kind, unit, accuracy, parts, scale } = measure;
    const values = measure.values === "picked" ? (types.get(name) ?? "text") : measure.values;
    const described = { kind: "measure", type: kind, unit, ...accuracy, ...written(values, scale, numbers) } as const;
    return [[name, { ...described, ...(parts === undefined ? {} : { parts }) }]];
  });
  return {
    bucket: TIME,
    ...(view.sessions === null ? {} : sessionFields(numbers)),
    ...Object.fromEntries([...dimensions, ...measured]),
    ...(canBeCut(view, cut) ? { [partialColumn(view)]: PARTIAL } : {}),
  };
}

/** The token of where a view or an answer stands. */
export function asOfToken({ generation }: Definition, { manifest, cut, applied }: ViewStatus): string {
  return token({ generation, version: manifest.version, cut, applied });
}

const tokens = new WeakMap<Cut, { readonly asOf: AsOf; readonly token: string }>();

/** The token of a position; all questions that one look at Redis answered share it. */
function token(asOf: AsOf): string {
  const { generation, version, cut, applied } = asOf;
  const held = tokens.get(applied);
  const isSame = held?.asOf.generation === generation && held.asOf.version === version && held.asOf.cut === cut;
  if (isSame) return held.token;
  const made = encodeAsOf(asOf);
  tokens.set(applied, { asOf, token: made });
  return made;
}

/** What every answer says beside its rows: for the body of JSON, and the headers of all. */
export function answerStatus(definition: Definition, status: ViewStatus, at: AsOf | null) {
  const { manifest, missing, problems } = status;
  // An answer about an earlier position is the same whenever it is asked for, so nothing in it tells from what it was
  // made, or when.
  const { version, cut, applied } = at ?? { ...status, version: manifest.version };
  const { generation } = definition;
  return {
    asOf: token({ generation, version, cut, applied }),
    position: { generation, version, cut: cutToJson(cut), applied: cutToJson(applied) },
    batchVersion: version,
    freshnessMs: at === null ? status.freshnessMs : null,
    complete: missing === null,
    ...(missing === null ? {} : { missing }),
    ...(at !== null || problems.length === 0 ? {} : { problems }),
  };
}

/** For the body of an answer: nothing when there is nothing to say. */
export function answerNotices({ view }: Definition, { toMs, laterMs }: Pick<Reading, "toMs" | "laterMs">) {
  if (laterMs === null) return {};
  const message =
    `The view holds events after now, up to ${isoOf(laterMs + view.grainMs)}; this ` +
    `answer ends at ${isoOf(toMs)}. Give from and to for them.`;
  const notices: AnswerNotice[] = [{ code: "EVENTS_AFTER_NOW", message }];
  return { notices };
}

/**
 * The body of an answer; `at` is the position that was asked for, null for the newest. Its rows are to be written as
 * its fields say.
 */
export function answerBody(
  definition: Definition,
  types: ColumnTypes,
  query: Query,
  answer: ReadAnswer,
  { at, numbers }: { readonly at: AsOf | null; readonly numbers: Numbers },
): AnswerBody {
  const { view } = definition;
  return {
    view: view.name,
    rows: answer.rows,
    truncated: answer.truncated,
    fields: answerFields(view, types, query, numbers),
    window: answerWindow(query, answer.fromMs, answer.toMs),
    ...answerStatus(definition, answer, at),
    ...answerNotices(definition, answer),
  };
}

/** For an answer whose numbers a reader may round. */
export const LONG_NUMBERS: AnswerNotice = {
  code: "LONG_NUMBERS",
  message:
    "Some numbers have more digits than a double keeps. Their text is exact, but many readers of " +
    "JSON round them, as JavaScript does; numbers=text gives numbers as text.",
};

function isoOf(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

/** A view in the list of views: what can be asked of it, where it stands, and how long ago it changed. */
export function viewSummary(
  { view, generation }: Definition,
  types: ColumnTypes,
  status: ViewStatus | null,
  changedMs: number | null,
) {
  const [by, measures] = [Object.keys(view.by), Object.keys(view.measures)];
  const fields = Object.entries(answerFields(view, types, { by, measures, everyMs: view.grainMs, calendar: null }));
  const ofKind = (wanted: AnswerField["kind"]) =>
    fields.filter(([, { kind }]) => kind === wanted).map(([name, { kind: _, ...field }]) => ({ name, ...field }));
  return {
    name: view.name,
    stream: view.stream.name,
    grain: formatDuration(view.grainMs),
    sessions: view.sessions !== null,
    dimensions: ofKind("dimension").map(({ name, type, scale }) => ({
      name,
      type,
      ...(scale === undefined ? {} : { scale }),
    })),
    measures: ofKind("measure"),
    generation,
    ready: status !== null,
    version: status?.manifest.version ?? null,
    cut: status === null ? null : cutToJson(status.cut),
    applied: status === null ? null : cutToJson(status.applied),
    freshnessMs: status?.freshnessMs ?? null,
    changedMs,
    complete: status !== null && status.missing === null,
    ...(status === null || status.missing === null ? {} : { missing: status.missing }),
    ...(status === null || status.problems.length === 0 ? {} : { problems: status.problems }),
  };
}
