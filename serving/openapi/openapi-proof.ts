import { takenParameters } from "../common/route-parameters.ts";
import { type Json, jsonResponse, problemResponses } from "./openapi-schemas.ts";

const text = { type: "string" } as const;
const count = { type: "integer", minimum: 0 } as const;
const row = { type: "object", description: "the row's start and dimensions" } as const;

/** The answer of GET /proof/{view}. */
const PROOF: Json = {
  type: "object",
  required: ["view", "equal", "rows", "mismatches", "fields", "differences", "shown", "answers", "records", "decoded"],
  properties: {
    view: text,
    equal: { type: "boolean", description: "whether nothing differs" },
    rows: { ...count, description: "how many were compared" },
    mismatches: count,
    fields: {
      type: "object",
      additionalProperties: {
        type: "object",
        required: ["type", "compared", "different", "error", "largestError"],
        properties: {
          type: text,
          compared: count,
          different: count,
          error: { type: "number", description: "the relative error that the field states; 0: it has to be equal" },
          largestError: { type: "number", description: "the largest that was seen, against the exact figure" },
          beyondThreeErrors: { ...count, description: "of an estimate: rows further off than three standard errors" },
        },
      },
    },
    differences: {
      type: "array",
      description: "the first hundred; of a table with rows=0 `row` is empty, `served` and `log` are null",
      items: {
        type: "object",
        required: ["problem", "row", "field", "served", "log", "difference"],
        properties: {
          problem: {
            enum: [
              ...["differs", "registers differ", "beyond its error", "not served", "not in the log"],
              ...["out of order", "not its limit", "other CSV"],
            ],
          },
          row,
          field: text,
          served: {},
          log: {},
          difference: { description: "served less log, where both are numbers" },
        },
      },
    },
    shown: {
      type: "array",
      items: {
        type: "object",
        required: ["row", "served", "log", "exact"],
        properties: { row, served: { type: "object" }, log: { type: "object" }, exact: { type: "object" } },
      },
    },
    answers: {
      type: "array",
      description: "the answers that were compared, each at its own position",
      items: {
        type: "object",
        required: ["asOf", "position", "complete", "rows", "from", "to"],
        properties: {
          asOf: text,
          position: { $ref: "#/components/schemas/Position" },
          complete: { type: "boolean" },
          rows: count,
          from: { type: ["string", "null"] },
          to: { type: ["string", "null"] },
        },
      },
    },
    records: { ...count, description: "records of the log that were read" },
    decoded: {
      enum: ["anew", "archived"],
      description: "whether archived records were decoded from their original bytes",
    },
  },
};

/** The same of a joined table. */
const JOINED_PROOF: Json = {
  type: "object",
  required: ["view", "equal", "tables"],
  properties: {
    view: text,
    equal: { type: "boolean", description: "whether all of its tables are" },
    tables: {
      type: "object",
      description: "of each table, by its name in the joined one",
      additionalProperties: PROOF,
    },
  },
};

/** GET /proof/{view}. */
export function proofOperation(): Json {
  const inQuery = (name: string, description: string, schema: Json = text) => ({
    name,
    in: "query",
    required: false,
    description,
    schema,
  });
  return {
    tags: ["operations"],
    operationId: "proof",
    summary: "What a view answers, recomputed from the raw log at the same position, and compared",
    description:
      "By plain SQL over all raw events, without any stored state or any formula of the answers; also their " +
      "order, their limits and their CSV. With Accept: text/event-stream `progress` events say how far it is, and " +
      "`proof` or `problem` ends it. Rows of a table are records: the proof of a table needs the action " +
      "`records`. With rows=0 it needs `read`, and its differences have no values. Of a joined table each table " +
      "is proven, and only at, sample, deep and rows mean something.",
    parameters: [
      { name: "view", in: "path", required: true, schema: text },
      ...takenParameters("/proof/:view", [
        inQuery("from", "Event time, inclusive; everything without"),
        inQuery("to", "Event time, exclusive"),
        inQuery("every", "Width of the rows, as in a question to the view"),
        inQuery("window", "How much time a row covers"),
        inQuery("zone", "Time zone of days and longer"),
        inQuery("by", "Dimensions to group by, separated by commas"),
        inQuery("where[dimension]", "Only this value of a dimension"),
        inQuery("measures", "Measures to prove, separated by commas"),
        inQuery("at", "The asOf of an earlier answer"),
        inQuery("sample", "Prove only this many times, chosen at random", {
          type: "integer",
          minimum: 1,
          maximum: 1_000,
        }),
        inQuery("deep", "Whether archived records are decoded again; by default up to three million", {
          type: "boolean",
        }),
        inQuery("rows", "How many of the rows that differ to show with both values", {
          type: "integer",
          minimum: 0,
          maximum: 1_000,
          default: 10,
        }),
      ]),
    ],
    responses: {
      200: jsonResponse("What was found", { anyOf: [PROOF, JOINED_PROOF] }),
      ...problemResponses("400", "404", "410", "429", "503", "504"),
    },
  };
}
