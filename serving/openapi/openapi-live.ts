import type { View } from "../../core/definition/view.ts";
import { keysOf } from "../answer/answer-schemas.ts";
import { takenParameters } from "../common/route-parameters.ts";
import type { ColumnTypes } from "../views/column-types.ts";
import {
  ANSWER_HEADERS,
  EVENT_STREAM,
  inQuery,
  type Json,
  jsonResponse,
  LAST_EVENT_ID,
  problemResponses,
  whole,
} from "./openapi-schemas.ts";

/** The OpenAPI document's parts about positions, formats, keys and live streams. */

export const FORMAT_PARAMETER = inQuery(
  "format",
  "json, csv, or spreadsheet: CSV in which text that a spreadsheet would run as a formula has an " +
    "apostrophe in front. Without it the Accept header decides, and JSON is the default",
  { type: "string", enum: ["json", "csv", "spreadsheet"] },
);

export const NUMBERS_PARAMETER = inQuery(
  "numbers",
  "How exact numbers are written in JSON: as numbers with all of their digits, or as text. CSV has all digits anyway",
  { type: "string", enum: ["number", "text"], default: "number" },
);

export const CSV_SCHEMA: Json = {
  type: "string",
  description:
    "The rows, header first (RFC 4180). A measure with several values has a column for each, as " +
    "delay.p50; a list is JSON; a decimal has all of its places; null is an empty field, empty text a " +
    "quoted one. Where from and to can cut buckets, the last column `partial` is true or false. Text is " +
    "as it is: it may begin like a formula, unless format=spreadsheet.",
};

/** The parameters that choose the position of an answer. */
export function consistencyParameters({ stream }: View): Json[] {
  return [
    inQuery(
      "at",
      "The asOf of an earlier answer: this one stands exactly there, from state " +
        "while that is held, else recomputed from archive and log",
    ),
    inQuery(
      "min",
      "Read your own write: what the answer has to include, separated by commas; each the asOf of " +
        `an answer, or topic:partition:offset of a record of ${stream.name}`,
    ),
    inQuery("wait", "How long to wait for min: milliseconds, or 1s to 30s; after that 503 with code NOT_REACHED", {
      type: "string",
      default: "5s",
    }),
  ];
}

/** GET /views/:name/keys. `query` has the parameters of the view's query. */
export function keysOperation(view: View, types: ColumnTypes, query: readonly Json[]): Json {
  return {
    tags: ["views"],
    operationId: `keys-${view.name}`,
    summary: `The values that a dimension of ${view.name} has`,
    description: "With how many events (or lines) each has in the window, the most frequent first.",
    parameters: takenParameters("/views/:name/keys", [
      inQuery("dimension", "Whose values", { type: "string", enum: Object.keys(view.by) }, { required: true }),
      inQuery("prefix", "Only values that begin with this"),
      inQuery("limit", "The most values to answer", whole({ most: 10_000, byDefault: 100 })),
      ...query,
      NUMBERS_PARAMETER,
      ...consistencyParameters(view),
    ]),
    responses: {
      200: {
        ...jsonResponse("The values, and where they stand", keysOf(view, types)),
        headers: ANSWER_HEADERS,
      },
      ...problemResponses("400", "410", "429", "503", "504"),
    },
  };
}

/** GET /views/:name/live. */
export function liveOperation(view: View, query: readonly Json[]): Json {
  return {
    tags: ["views"],
    operationId: `live-${view.name}`,
    summary: `${view.name} as it moves: server-sent events`,
    description: [
      "`answer` has the whole answer as data and its asOf as id, first at once and then whenever it has changed;",
      "`behind` says that what is known now stands before what this subscriber has " +
        "seen (as while Redis is read again), so there are no rows;",
      "`problem` carries problem details, and the stream continues. Positions never go back.",
      "A client that comes back with Last-Event-ID is sent nothing that it has. " +
        "A comment every 15 seconds keeps the connection.",
    ].join(" "),
    parameters: [
      ...takenParameters("/views/:name/live", [
        ...query,
        NUMBERS_PARAMETER,
        inQuery(
          "interval",
          "Milliseconds between two answers at least",
          whole({ least: 50, most: 60_000, byDefault: 250 }),
        ),
      ]),
      LAST_EVENT_ID,
    ],
    responses: { 200: EVENT_STREAM, ...problemResponses("400", "429", "503") },
  };
}
