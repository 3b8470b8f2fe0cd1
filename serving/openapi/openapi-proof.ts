import { z } from "zod";
import { JoinedProof, Proof } from "../../core/proof/proof-result.ts";
import { takenParameters } from "../common/route-parameters.ts";
import { inPath, inQuery, type Json, jsonResponse, problemResponses, whole } from "./openapi-schemas.ts";

/** GET /proof/{view}. */
export function proofOperation(): Json {
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
      inPath("view"),
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
        inQuery("sample", "Prove only this many times, chosen at random", whole({ most: 1_000 })),
        inQuery("deep", "Whether archived records are decoded again; by default up to three million", {
          type: "boolean",
        }),
        inQuery(
          "rows",
          "How many of the rows that differ to show with both values",
          whole({ least: 0, most: 1_000, byDefault: 10 }),
        ),
      ]),
    ],
    responses: {
      200: jsonResponse("What was found", z.union([Proof, JoinedProof])),
      ...problemResponses("400", "404", "410", "429", "503", "504"),
    },
  };
}
