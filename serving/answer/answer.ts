import type { TidelineError } from "../../core/errors.ts";
import { type AsOf, encodeAsOf } from "../../core/log/as-of.ts";
import { type Cut, cutToJson } from "../../core/log/position.ts";
import type { Query } from "../../core/query/query.ts";
import { STEP, type Work } from "../../core/query/work.ts";
import { formatDuration, formatTime } from "../../core/time.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { type Numbers, numberColumns, rowsJson } from "../common/numbers.ts";
import { askLess } from "../common/refusals.ts";
import { shownStatus } from "../read/live/shown-status.ts";
import type { ViewStatus } from "../read/live/view-status.ts";
import type { ReadAnswer, Reading } from "../read/reading.ts";
import type { ColumnTypes } from "../views/column-types.ts";
import type { DescribedView } from "../views/served-views.ts";
import { answerFields } from "./answer-fields.ts";
import type {
  AnswerBody,
  AnswerField,
  AnswerNotice,
  AnswerStatus,
  AnswerWindow,
  ViewSummary,
} from "./answer-schemas.ts";

function answerWindow({ everyMs, calendar, windowMs, zone }: Query, fromMs: number, toMs: number): AnswerWindow {
  const every = calendar === null ? formatDuration(everyMs) : calendar.unit === "all" ? "all" : `1 ${calendar.unit}`;
  const window = calendar === null ? formatDuration(windowMs) : every;
  return { from: formatTime(fromMs), to: formatTime(toMs), every, window, zone };
}

/** Returns the token of the position of a view or an answer. */
export function asOfToken({ generation }: Definition, { manifest, cut, applied }: ViewStatus): string {
  return token({ generation, version: manifest.version, cut, applied });
}

const tokens = new WeakMap<Cut, { readonly asOf: AsOf; readonly token: string }>();

/** Returns the token of a position. All requests that shared one read of Redis share the token. */
function token(asOf: AsOf): string {
  const { generation, version, cut, applied } = asOf;
  const held = tokens.get(applied);
  const isSame = held?.asOf.generation === generation && held.asOf.version === version && held.asOf.cut === cut;
  if (isSame) return held.token;
  const made = encodeAsOf(asOf);
  tokens.set(applied, { asOf, token: made });
  return made;
}

/** Returns the fields that every answer has beside its rows, for the JSON body and for the headers of every format. */
export function answerStatus(definition: Definition, status: ViewStatus, at: AsOf | null): AnswerStatus {
  const { manifest, missing, problems } = status;
  // An answer about an earlier position is always the same. So nothing in it says when it was computed, or from which
  // files.
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

/** Returns the notices of an answer's body; nothing if there are none. */
export function answerNotices({ view }: Definition, { toMs, laterMs }: Pick<Reading, "toMs" | "laterMs">) {
  if (laterMs === null) return {};
  const message =
    `The view holds events after now, up to ${formatTime(laterMs + view.grainMs)}; this ` +
    `answer ends at ${formatTime(toMs)}. Give from and to for them.`;
  const notices: AnswerNotice[] = [{ code: "EVENTS_AFTER_NOW", message }];
  return { notices };
}

/**
 * Returns the body of an answer; `at` is the position that was asked for, null for the newest. Write its rows by its
 * fields.
 */
export function answerBody(
  { definition, types }: DescribedView,
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

/** The notice for an answer whose numbers a client may round. */
export const LONG_NUMBERS: AnswerNotice = {
  code: "LONG_NUMBERS",
  message:
    "Some numbers have more digits than a double keeps. Their text is exact, but many readers of " +
    "JSON round them, as JavaScript does; numbers=text gives numbers as text.",
};

/** Returns a view's entry in the list of views: its columns, its position, and how long ago it changed. */
export function viewSummary(
  { view, generation }: Definition,
  types: ColumnTypes,
  status: ViewStatus | null,
  changedMs: number | null,
): ViewSummary {
  const { version, cut, applied, freshnessMs, complete } = shownStatus(status);
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
    version,
    cut,
    applied,
    freshnessMs,
    changedMs,
    complete,
    ...(status === null || status.missing === null ? {} : { missing: status.missing }),
    ...(status === null || status.problems.length === 0 ? {} : { problems: status.problems }),
  };
}

/**
 * A complete answer about the newest position, as the text to send except for its age. While nothing changes, only the
 * age has to be written again.
 */
export interface RenderedAnswer {
  readonly answer: ReadAnswer;
  /** The JSON before the age, and the JSON after it. */
  readonly before: string;
  readonly after: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Returns null for an answer that is incomplete or has problems: such an answer must not be kept. */
export function* renderAnswer(
  described: DescribedView,
  query: Query,
  answer: ReadAnswer,
  { headers, numbers }: { readonly headers: RenderedAnswer["headers"]; readonly numbers: Numbers },
): Work<RenderedAnswer | null> {
  const whole = answerBody(described, query, answer, { at: null, numbers });
  const { freshnessMs, complete, missing, problems, ...rest } = whole;
  if (missing !== undefined || problems !== undefined || freshnessMs === null) return null;
  const before = `${(yield* answerJson(rest, numbers)).slice(0, -1)},"freshnessMs":`;
  return { answer, before, after: `,"complete":${complete}}`, headers };
}

/** This many rows are written between two yields. */
const STEP_ROWS = 50;

/** The most characters of an answer's text: half of what a JavaScript string can hold. */
const MOST_CHARACTERS = 256_000_000;

/**
 * Returns the body of an answer, or some of its fields, as JSON. Throws TOO_LARGE if the text is too long for a string.
 */
export function* answerJson(
  { view, rows, ...rest }: Pick<AnswerBody, "view" | "rows" | "fields" | "notices">,
  numbers: Numbers,
): Work<string> {
  const columns = numberColumns(rest.fields);
  const pieces: string[] = [];
  let [characters, isRounded] = [0, false];
  for (let at = 0; at < rows.length; at += STEP_ROWS) {
    const { json, hasLong } = rowsJson(rows.slice(at, at + STEP_ROWS), columns, numbers);
    characters += json.length;
    if (characters > MOST_CHARACTERS) throw tooLong();
    isRounded ||= hasLong && numbers === "number";
    pieces.push(json);
    yield STEP;
  }
  const noticed = isRounded ? { ...rest, notices: [...(rest.notices ?? []), LONG_NUMBERS] } : rest;
  return `{"view":${JSON.stringify(view)},"rows":[${pieces.join(",")}],${JSON.stringify(noticed).slice(1)}`;
}

function tooLong(): TidelineError {
  const problem = `the answer has more than ${MOST_CHARACTERS / 1_000_000} million characters`;
  return askLess({
    parameter: "limit",
    problem,
    allowed: "a smaller limit, fewer measures, or a narrower from and to",
  });
}

export function renderedBody({ before, after }: RenderedAnswer, freshnessMs: number): string {
  return `${before}${freshnessMs}${after}`;
}
