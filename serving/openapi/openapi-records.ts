import { takenParameters } from "../common/route-parameters.ts";
import { type Json, jsonResponse, problemResponses } from "./openapi-schemas.ts";

/** How many records a page has, and how far back it begins. */
export const RECORDS = { byDefault: 50, most: 1_000, mostLast: 100_000 } as const;

const text = { type: "string" } as const;
const bytes = {
  description: "text where it is UTF-8, else base64",
  anyOf: [{ type: ["string", "null"] }, { type: "object", properties: { base64: text }, required: ["base64"] }],
};

const verdict = {
  type: "object",
  properties: {
    accepted: { type: "boolean" },
    version: { type: "integer", description: "of the event, when it is accepted" },
    code: { ...text, description: "the reason's stable word, when it is refused" },
    reason: text,
  },
  required: ["accepted"],
};

const record = {
  type: "object",
  properties: {
    position: { ...text, description: "partition:offset" },
    time: { type: ["string", "null"], format: "date-time", description: "Kafka's time of the record" },
    key: bytes,
    headers: { type: "array", items: { type: "object", properties: { name: bytes, value: bytes } } },
    verdict,
    fields: {
      type: ["object", "null"],
      description:
        "as a view's SQL sees them: instants are epoch milliseconds, a decimal its digits without the point; " +
        "null when refused",
    },
    original: bytes,
  },
  required: ["position", "time", "key", "headers", "verdict", "fields", "original"],
};

const parameter = (name: string, description: string, schema: Json): Json => ({
  name,
  in: "query",
  required: false,
  description,
  schema,
});

/** GET /streams/{name}/records. */
export function recordsOperation(): Json {
  const whole = (maximum: number) => ({ type: "integer", minimum: 1, maximum });
  return {
    tags: ["operations"],
    operationId: "stream-records",
    summary: "Records as they lie in the log, with the contract's verdict",
    parameters: [
      { name: "name", in: "path", required: true, schema: text },
      ...takenParameters("/streams/:name/records", [
        parameter(
          "at",
          "Where to begin: beginning, a time, how long ago, positions partition:offset,…, or next of a page",
          text,
        ),
        parameter(
          "last",
          "Begin with this many of the newest records; as many as limit by default",
          whole(RECORDS.mostLast),
        ),
        parameter("where", "Only records whose fields fulfil this condition: SQL, as views write it", text),
        parameter("limit", "The most records to answer", { ...whole(RECORDS.most), default: RECORDS.byDefault }),
      ]),
    ],
    responses: {
      200: jsonResponse("A page of records", {
        type: "object",
        properties: {
          stream: text,
          topic: text,
          records: { type: "array", items: record },
          next: { ...text, description: "the value of at for the next page" },
          atEnd: { type: "boolean", description: "whether the page reaches the end of the log" },
        },
        required: ["stream", "topic", "records", "next", "atEnd"],
      }),
      ...problemResponses("400", "404", "429", "503"),
    },
  };
}
