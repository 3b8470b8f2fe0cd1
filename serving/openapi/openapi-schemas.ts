import { MISSING_CODES } from "../common/missing.ts";
import { PROBLEM_CODES } from "../common/problem.ts";

/** Parts of the OpenAPI document that are the same whatever is defined. JSON Schema 2020-12, as OpenAPI 3.1 has it. */

export type Json = Readonly<Record<string, unknown>>;

const text = { type: "string" } as const;
const count = { type: "integer", minimum: 0 } as const;
const cut = {
  type: "object",
  description: "partition -> next offset, as decimal text",
  additionalProperties: { type: "string", pattern: "^\\d+$" },
};

function object(properties: Json, options: { optional?: readonly string[]; description?: string } = {}): Json {
  const required = Object.keys(properties).filter((name) => !options.optional?.includes(name));
  return {
    type: "object",
    ...(options.description === undefined ? {} : { description: options.description }),
    properties,
    required,
  };
}

const fieldProperties = {
  type: { ...text, description: "of a measure: its kind; of a dimension: text, integer, decimal or boolean" },
  values: {
    enum: ["integer", "decimal", "double", "text", "boolean", "instant", "other"],
    description: "what its values are, or those of its parts",
  },
  json: {
    enum: ["number", "string", "boolean"],
    description: "the type that all of them have in JSON, where not null",
  },
  scale: { ...count, description: "how many decimal places its exact decimals have" },
  unit: text,
  exact: { type: "boolean" },
  error: { type: "number", description: "relative standard error; 0 when exact" },
  note: text,
  parts: {
    description: "of a measure that presents several values: their names, or list",
    anyOf: [{ type: "array", items: text }, { const: "list" }],
  },
};

const OPTIONAL_OF_FIELDS = ["json", "scale", "parts"];

const missing = object(
  {
    code: { type: "string", enum: MISSING_CODES },
    message: text,
    partition: count,
    from: text,
    to: text,
  },
  { optional: ["partition", "from", "to"], description: "Why the answer is the batch version's alone" },
);

const trouble = object(
  {
    kind: { type: "string", enum: ["lane", "reader", "view", "rule", "delivery", "schedule", "workflow", "proof"] },
    name: text,
    code: { ...text, description: "stable, for programs" },
    message: text,
    hint: { ...text, description: "what to do about it" },
    since: { type: "string", format: "date-time" },
  },
  { description: "Something that is stopped, or fails again and again for the same reason" },
);

const problems = {
  type: "array",
  items: { $ref: "#/components/schemas/Trouble" },
  description: "what keeps the answer from growing; absent when all is well, and with at",
};

const problem = object(
  {
    type: { type: "string", format: "uri" },
    title: text,
    status: { type: "integer" },
    detail: text,
    code: { ...text, enum: PROBLEM_CODES, description: "stable, for programs" },
    errors: { type: "array", items: object({ parameter: text, problem: text, allowed: text }) },
  },
  { optional: ["errors"], description: "Problem details (RFC 9457)" },
);

const position = object(
  { generation: text, version: count, cut, applied: cut },
  { description: "Where in the log the answer stands" },
);

const viewSummary = object(
  {
    name: text,
    stream: text,
    grain: text,
    sessions: { type: "boolean", description: "whether a row is a session, and not a bucket" },
    dimensions: { type: "array", items: object({ name: text, type: text, scale: count }, { optional: ["scale"] }) },
    measures: { type: "array", items: object({ name: text, ...fieldProperties }, { optional: OPTIONAL_OF_FIELDS }) },
    generation: text,
    ready: { type: "boolean", description: "whether anything is published" },
    version: { type: ["integer", "null"] },
    cut: { anyOf: [cut, { type: "null" }] },
    applied: { anyOf: [cut, { type: "null" }] },
    freshnessMs: {
      type: ["integer", "null"],
      description: "how long ago the applied position was known to be the end of the log",
    },
    changedMs: {
      type: ["integer", "null"],
      description: "how long ago its numbers last changed, to about a minute; null when that is not known",
    },
    complete: { type: "boolean" },
    missing: { $ref: "#/components/schemas/Missing" },
    problems,
  },
  { optional: ["missing", "problems"] },
);

const notices: Json = {
  type: "array",
  description: "what a client should know although the answer is right; absent when there is nothing",
  items: object({
    code: {
      type: "string",
      enum: ["EVENTS_AFTER_NOW", "LONG_NUMBERS"],
      description:
        "EVENTS_AFTER_NOW: the view holds events after the server's clock, and the window that " +
        "was chosen for you ends before them. LONG_NUMBERS: readers that keep numbers as " +
        "doubles round some of these; numbers=text avoids it",
    },
    message: text,
  }),
};

/** Problems of the whole installation. */
export const PROBLEMS: Json = { ...problems, description: "of the whole installation; absent when all is well" };

export const SCHEMAS: Json = {
  Problem: problem,
  Missing: missing,
  Trouble: trouble,
  Position: position,
  Field: object(
    { kind: { type: "string", enum: ["time", "dimension", "measure"] }, ...fieldProperties },
    { optional: OPTIONAL_OF_FIELDS },
  ),
  ViewSummary: viewSummary,
  Readiness: object(
    {
      ready: { type: "boolean" },
      redis: { type: "string", enum: ["answers", "silent"] },
      views: {
        type: "array",
        items: object({
          view: text,
          ready: { type: "boolean" },
          version: { type: ["integer", "null"] },
          complete: { type: "boolean" },
        }),
      },
      problems,
    },
    { optional: ["problems"] },
  ),
};

/** The answer to a query of one view; `row` is the schema of its rows. */
export function answerSchema(view: string, row: Json): Json {
  return object(
    {
      view: { const: view },
      rows: { type: "array", items: row },
      truncated: { type: "boolean", description: "whether there are more rows than limit" },
      fields: { type: "object", additionalProperties: { $ref: "#/components/schemas/Field" } },
      window: object({
        from: { type: "string", format: "date-time" },
        to: { type: "string", format: "date-time" },
        every: { ...text, description: "the width of a bucket, the calendar's unit, or all" },
        window: { ...text, description: "how much time a row covers; as every unless windows slide" },
        zone: text,
      }),
      asOf: { ...text, description: "opaque token of the position that the answer belongs to" },
      position: { $ref: "#/components/schemas/Position" },
      batchVersion: count,
      freshnessMs: {
        type: ["integer", "null"],
        description: "how long ago the applied position was known to be the end of the log; null with at",
      },
      complete: { type: "boolean", description: "false: the batch version alone, and `missing` says why" },
      missing: { $ref: "#/components/schemas/Missing" },
      notices,
      problems,
    },
    { optional: ["missing", "notices", "problems"] },
  );
}

/** Headers that say where an answer stands, whatever its format. */
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

/** The answer to which values a dimension has. */
export function keysSchema(view: string, types: readonly string[]): Json {
  const key = object({ key: { type: types }, rows: { type: ["integer", "string"] } });
  return object(
    {
      view: { const: view },
      dimension: text,
      keys: { type: "array", items: key },
      truncated: { type: "boolean", description: "whether there are more values than limit" },
      window: object({ from: { type: "string", format: "date-time" }, to: { type: "string", format: "date-time" } }),
      asOf: text,
      position: { $ref: "#/components/schemas/Position" },
      batchVersion: count,
      freshnessMs: { type: ["integer", "null"] },
      complete: { type: "boolean" },
      missing: { $ref: "#/components/schemas/Missing" },
      notices,
      problems,
    },
    { optional: ["missing", "notices", "problems"] },
  );
}

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

const quality = { records: count, duplicates: count, rejects: count, score: { type: ["number", "null"] } };

/** The answer of GET /streams. */
export const STREAMS: Json = object({
  streams: {
    type: "array",
    items: object({
      stream: text,
      topic: text,
      revision: count,
      partitions: count,
      quality: { oneOf: [object(quality), { type: "null" }] },
    }),
  },
});

/** The answer of GET /streams/{name}/quality. */
export const STREAM_QUALITY: Json = object({
  stream: text,
  from: text,
  to: text,
  spans: {
    type: "array",
    items: object({ from: text, ...quality, reasons: { type: "object", additionalProperties: count } }),
  },
});

const names = { type: "array", items: text };
const described = { doc: { type: ["string", "null"] }, example: {} };

/** The answer of GET /dictionary. */
export const DICTIONARY: Json = object({
  streams: {
    type: "array",
    items: object({ stream: text, topic: text, ...described, fields: { type: "array" }, producers: names }),
  },
  views: {
    type: "array",
    items: object({ view: text, stream: text, ...described, measures: { type: "array" } }),
  },
});

/** Responses that carry problem details. */
export function problemResponses(...statuses: readonly string[]): Json {
  const content = { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } };
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

/** A response with a JSON body. */
export function jsonResponse(description: string, schema: Json): Json {
  return { description, content: { "application/json": { schema } } };
}
