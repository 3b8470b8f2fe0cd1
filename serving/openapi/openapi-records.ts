import { takenParameters } from "../common/route-parameters.ts";
import { RECORDS, RecordsPage } from "../records/stream-records.ts";
import { inPath, inQuery, type Json, jsonResponse, problemResponses, whole } from "./openapi-schemas.ts";

/** GET /streams/{name}/records. */
export function recordsOperation(): Json {
  return {
    tags: ["operations"],
    operationId: "stream-records",
    summary: "Records as they lie in the log, with the contract's verdict",
    parameters: [
      inPath("name"),
      ...takenParameters("/streams/:name/records", [
        inQuery(
          "at",
          "Where to begin: beginning, a time, how long ago, positions partition:offset,…, or next of a page",
        ),
        inQuery(
          "last",
          "Begin with this many of the newest records; as many as limit by default",
          whole({ most: RECORDS.mostLast }),
        ),
        inQuery("where", "Only records whose fields fulfil this condition: SQL, as views write it"),
        inQuery("limit", "The most records to answer", whole(RECORDS)),
      ]),
    ],
    responses: { 200: jsonResponse("A page of records", RecordsPage), ...problemResponses("400", "404", "429", "503") },
  };
}
