import { z } from "zod";
import { LogPosition } from "../../core/json-parts.ts";
import { AnswerField, ViewSummary } from "../answer/answer-schemas.ts";
import { MISSING_CODES, Missing } from "../common/missing.ts";
import { Problem } from "../common/problem.ts";
import { Trouble } from "../common/trouble.ts";
import { Readiness } from "../operations/operation-schemas.ts";

/** The building blocks of the OpenAPI document. OpenAPI 3.1 uses JSON Schema 2020-12. */

export type Json = Readonly<Record<string, unknown>>;

export const text = { type: "string" } as const;

const COMPONENTS = "#/components/schemas/";

/** The schemas that other schemas refer to by name. */
const NAMED = [Problem, Missing, Trouble, LogPosition, AnswerField, ViewSummary, Readiness] as const;

/** Converts a schema to the document's form; returns it with the named schemas that it refers to. */
function convert(schema: z.ZodType): { readonly schema: Json; readonly named: Json } {
  const {
    $schema: _,
    $defs = {},
    ...json
  } = z.toJSONSchema(schema, {
    // Answers may have fields that a client does not know yet.
    io: "input",
    unrepresentable: "any",
    override: ({ jsonSchema }) => {
      delete jsonSchema.readOnly;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (Object.keys(jsonSchema.propertyNames ?? {}).join() === "type") delete jsonSchema.propertyNames;
    },
  });
  const linked = JSON.stringify({ schema: json, named: $defs }).replaceAll('"$ref":"#/$defs/', `"$ref":"${COMPONENTS}`);
  return JSON.parse(linked) as { schema: Json; named: Json };
}

export const SCHEMAS: Json = convert(z.tuple([...NAMED])).named;

/** A response whose body is JSON. */
export function jsonResponse(description: string, body: z.ZodType): Json {
  return { description, content: jsonContent(body) };
}

export function jsonContent(body: z.ZodType): Json {
  return { "application/json": { schema: convert(body).schema } };
}

/** A parameter of the query; `more` has further keywords, such as `required`. */
export function inQuery(name: string, description: string, schema: Json = text, more: Json = {}): Json {
  return { name, in: "query", required: false, description, schema, ...more };
}

/** A parameter of the path. */
export function inPath(name: string, more: Json = {}): Json {
  return { name, in: "path", required: true, schema: text, ...more };
}

/** The schema of whole numbers between two bounds. */
export function whole({ least = 1, most, byDefault }: { least?: number; most: number; byDefault?: number }): Json {
  const range = { type: "integer", minimum: least, maximum: most };
  return byDefault === undefined ? range : { ...range, default: byDefault };
}

/** A response of server-sent events. */
export const EVENT_STREAM: Json = { description: "The stream", content: { "text/event-stream": { schema: text } } };

export const LAST_EVENT_ID: Json = {
  name: "Last-Event-ID",
  in: "header",
  required: false,
  description: "The id of the last event that the client has; an EventSource sends it by itself",
  schema: text,
};

/** Headers with the position of an answer, the same for every format. */
export const ANSWER_HEADERS: Json = Object.fromEntries(
  [
    [
      "ETag",
      "of the position and the question; strong where the body says nothing " +
        "but that; none when incomplete, or with problems",
    ],
    ["Tideline-As-Of", "the asOf of the answer"],
    ["Tideline-Batch-Version", "number of the batch version"],
    ["Tideline-Complete", "true or false"],
    ["Tideline-Notice", "EVENTS_AFTER_NOW: the view holds events after now that this answer is not about"],
    ["Tideline-Missing", `why it is not complete: one of ${MISSING_CODES.join(", ")}`],
    ["Tideline-Problems", "codes of what keeps the answer from growing; absent when all is well, and with at"],
    ["Tideline-Freshness-Ms", "how long ago the applied position was known to be the end of the log; not with at"],
    ["Tideline-Truncated", "whether there are more rows than limit"],
  ].map(([name, description]) => [name, { description, schema: text }]),
);

const PROBLEM_DESCRIPTIONS: Readonly<Record<string, string>> = {
  "400": "A parameter is wrong: `errors` names it and what is allowed",
  "401": "An API key is needed, and the request has none that is accepted",
  "403": "The API key is not for this",
  "404": "There is no such view, or no such stream",
  "410": "The position in at or min belongs to a definition that is gone, or cannot be recomputed any more",
  "422": "A column of a joined table cannot be computed for a row",
  "429": "Too many requests",
  "503": "Nothing has been published yet, min was not reached in time, or all live streams are taken",
  "504": "Recomputing the position in at takes too long",
};

/** Responses with problem details. */
export function problemResponses(...statuses: readonly string[]): Json {
  const content = { "application/problem+json": { schema: { $ref: `${COMPONENTS}Problem` } } };
  const retry = { "Retry-After": { description: "seconds", schema: { type: "integer" } } };
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      {
        description: PROBLEM_DESCRIPTIONS[status] ?? "A problem",
        content,
        ...(status === "429" || status === "503" ? { headers: retry } : {}),
      },
    ]),
  );
}
