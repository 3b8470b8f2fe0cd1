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
  type: { ...text, description: "of a measure: its kind; of a dimension: text, integer or boolean" },
  unit: text,
  exact: { type: "boolean" },
  error: { type: "number", description: "relative standard error; 0 when exact" },
  note: text,
};

const missing = object(
  {
    code: { type: "string", enum: ["GAP", "OVERLAP", "NO_CHAIN", "REDIS_SILENT", "VANISHED"] },
    message: text,
    partition: count,
    from: text,
    to: text,
  },
  { optional: ["partition", "from", "to"], description: "Why the answer is the batch version's alone" },
);

const problem = object(
  {
    type: { type: "string", format: "uri" },
    title: text,
    status: { type: "integer" },
    detail: text,
    code: { ...text, description: "stable, for programs" },
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
    dimensions: { type: "array", items: object({ name: text, type: text }) },
    measures: { type: "array", items: object({ name: text, ...fieldProperties }) },
    generation: text,
    ready: { type: "boolean", description: "whether anything is published" },
    version: { type: ["integer", "null"] },
    cut: { anyOf: [cut, { type: "null" }] },
    applied: { anyOf: [cut, { type: "null" }] },
    freshnessMs: { type: ["integer", "null"] },
    complete: { type: "boolean" },
    missing: { $ref: "#/components/schemas/Missing" },
  },
  { optional: ["missing"] },
);

export const SCHEMAS: Json = {
  Problem: problem,
  Missing: missing,
  Position: position,
  Field: object({ kind: { type: "string", enum: ["time", "dimension", "measure"] }, ...fieldProperties }),
  ViewSummary: viewSummary,
  Readiness: object({
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
  }),
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
        every: text,
      }),
      asOf: { ...text, description: "opaque token of the position that the answer belongs to" },
      position: { $ref: "#/components/schemas/Position" },
      batchVersion: count,
      freshnessMs: { ...count, description: "age of the newest change in the answer; an idle log ages" },
      complete: { type: "boolean", description: "false: the batch version alone, and `missing` says why" },
      missing: { $ref: "#/components/schemas/Missing" },
    },
    { optional: ["missing"] },
  );
}

const PROBLEM_DESCRIPTIONS: Readonly<Record<string, string>> = {
  "400": "A parameter is wrong: `errors` names it and what is allowed",
  "404": "There is no such view",
  "429": "Too many requests",
  "503": "Nothing has been published for this view yet",
};

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
