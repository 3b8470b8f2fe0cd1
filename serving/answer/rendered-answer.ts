import type { Query } from "../../core/query/query.ts";
import { STEP, type Work } from "../../core/query/work.ts";
import { type Numbers, numberColumns, rowsJson } from "../common/numbers.ts";
import { tooLong } from "../common/problem.ts";
import type { ReadAnswer } from "../read/reading.ts";
import type { DescribedView } from "../views/served-views.ts";
import { type AnswerBody, answerBody, LONG_NUMBERS } from "./answer.ts";

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
  { definition, types }: DescribedView,
  query: Query,
  answer: ReadAnswer,
  { headers, numbers }: { readonly headers: RenderedAnswer["headers"]; readonly numbers: Numbers },
): Work<RenderedAnswer | null> {
  const whole = answerBody(definition, types, query, answer, { at: null, numbers });
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
    if (characters > MOST_CHARACTERS) throw tooLong(MOST_CHARACTERS);
    isRounded ||= hasLong && numbers === "number";
    pieces.push(json);
    yield STEP;
  }
  const noticed = isRounded ? { ...rest, notices: [...(rest.notices ?? []), LONG_NUMBERS] } : rest;
  return `{"view":${JSON.stringify(view)},"rows":[${pieces.join(",")}],${JSON.stringify(noticed).slice(1)}`;
}

export function renderedBody({ before, after }: RenderedAnswer, freshnessMs: number): string {
  return `${before}${freshnessMs}${after}`;
}
