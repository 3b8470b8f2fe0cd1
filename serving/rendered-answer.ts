import type { Query } from "../core/query.ts";
import type { Definition } from "../store/definitions.ts";
import { answerBody, type DimensionTypes } from "./answer.ts";
import type { ReadAnswer } from "./reader.ts";

/** A complete answer about the newest position as it is sent, but for its age: while nothing changes, that is all that does. */
export interface RenderedAnswer {
  readonly answer: ReadAnswer;
  /** All of the JSON before the age, and all after it. */
  readonly before: string;
  readonly after: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Null for an answer that is not complete, or comes with problems: it says so, and is not to be held on to. */
export function renderAnswer(
  definition: Definition,
  types: DimensionTypes,
  query: Query,
  answer: ReadAnswer,
  headers: RenderedAnswer["headers"],
): RenderedAnswer | null {
  const { freshnessMs, complete, missing, problems, ...rest } = answerBody(definition, types, query, answer);
  if (missing !== undefined || problems !== undefined || freshnessMs === null) return null;
  const before = `${JSON.stringify(rest).slice(0, -1)},"freshnessMs":`;
  return { answer, before, after: `,"complete":${complete}}`, headers };
}

export function renderedBody({ before, after }: RenderedAnswer, freshnessMs: number): string {
  return `${before}${freshnessMs}${after}`;
}
