import { isObject, type JsonObject } from "./sample.ts";
import { isConnect } from "./seen.ts";

/** Debezium's operations: create, update, delete, read (of a snapshot), truncate, message. */
export const OPERATIONS = ["c", "u", "d", "r", "t", "m"] as const;

/** Parts of an envelope that say nothing about the change, or repeat something. */
const LEFT_OUT: ReadonlySet<string> = new Set(["ts_us", "ts_ns", "transaction"]);
const SOURCE_LEFT_OUT: ReadonlySet<string> = new Set(
  "version connector name snapshot sequence query thread server_id xmin ts_us ts_ns".split(" "),
);

/**
 * Returns the envelopes of a change stream, as Debezium writes them, in a form for a contract; null if the records are
 * not envelopes. The row before and the row after a change get the same columns, even if the sample has only one of the
 * rows: a later delete or update has the other. The operation and the new row come first.
 */
export function changesOf(objects: readonly JsonObject[]): JsonObject[] | null {
  const changes = objects.filter((object) => isEnvelope(envelopeOf(object))).length;
  if (changes === 0 || changes < objects.length * MOSTLY) return null;
  return objects.map((object) => {
    const envelope = envelopeOf(object);
    const ready = isEnvelope(envelope) ? readyOf(envelope) : envelope;
    return envelope === object ? ready : { ...object, payload: ready };
  });
}

const MOSTLY = 0.9;

/** Returns the contents of Kafka Connect's wrapper, if there is one. */
function envelopeOf(object: JsonObject): JsonObject {
  return isConnect(object) && isObject(object.payload) ? object.payload : object;
}

function isEnvelope(object: JsonObject): boolean {
  return typeof object.op === "string" && isObject(object.source) && ("before" in object || "after" in object);
}

function readyOf({ op, before, after, source, ...rest }: JsonObject): JsonObject {
  return {
    op,
    after: after ?? before,
    source: without(source as JsonObject, SOURCE_LEFT_OUT),
    ...without(rest, LEFT_OUT),
    before: before ?? after,
  };
}

function without(object: JsonObject, names: ReadonlySet<string>): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.has(name)));
}

/** Whether records are rows of a database as written by Debezium's unwrapping transformation, with its fields added. */
export function isUnwrapped(object: JsonObject): boolean {
  return ["__op", "__deleted", "__source_ts_ms"].some((name) => name in object);
}
