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
export function answerStatus(definition: Definition, status: ViewStatus, at: AsOf | null): AnswerStatus {
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
    `The view holds events after now, up to ${formatTime(laterMs + view.grainMs)}; this ` +
    `answer ends at ${formatTime(toMs)}. Give from and to for them.`;
  const notices: AnswerNotice[] = [{ code: "EVENTS_AFTER_NOW", message }];
  return { notices };
}

/**
 * The body of an answer; `at` is the position that was asked for, null for the newest. Its rows are to be written as
 * its fields say.
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

/** For an answer whose numbers a reader may round. */
export const LONG_NUMBERS: AnswerNotice = {
  code: "LONG_NUMBERS",
  message:
    "Some numbers have more digits than a double keeps. Their text is exact, but many readers of " +
    "JSON round them, as JavaScript does; numbers=text gives numbers as text.",
};

/** A view in the list of views: what can be asked of it, where it stands, and how long ago it changed. */
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
 * A complete answer about the newest position as it is sent, but for its age: while nothing changes, that is all that
 * does.
 */
export interface RenderedAnswer {
  readonly answer: ReadAnswer;
  /** All of the JSON before the age, and all after it. */
  readonly before: string;
  readonly after: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Null for an answer that is not complete, or comes with problems: it says so, and is not to be held on to. */
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

/** This many rows become text between two yields. */
const STEP_ROWS = 50;

/** What an answer's text may have, in characters: half of what a JavaScript string can hold. */
const MOST_CHARACTERS = 256_000_000;

/** The body of an answer, or some of its fields, as JSON. Throws TOO_LARGE for a text that is too long to be held. */
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
