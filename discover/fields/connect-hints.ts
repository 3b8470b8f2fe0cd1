import { pathText, type WirePath } from "../../core/contract/record/wire-path.ts";
import { isObject, type JsonObject } from "../sample/sample.ts";
import type { SchemaHint } from "./schema-hint.ts";

/**
 * Returns the hints of the schemas that Kafka Connect's JsonConverter writes into each record (`schemas.enable`), by
 * the text of the path. Fields below lists and maps have none.
 */
export function connectHints(objects: readonly JsonObject[]): Map<string, SchemaHint> {
  const hints = new Map<string, SchemaHint>();
  const seen = new Set<string>();
  for (const { schema } of objects) {
    const text = JSON.stringify(schema);
    if (!isObject(schema) || seen.has(text)) continue;
    seen.add(text);
    addHints(schema, ["payload"], hints);
  }
  return hints;
}

/** The types of Kafka Connect and Debezium, with their names in Avro. */
export const LOGICAL_TYPES: Readonly<Record<string, string>> = {
  "org.apache.kafka.connect.data.Date": "date",
  "org.apache.kafka.connect.data.Timestamp": "timestamp-millis",
  "org.apache.kafka.connect.data.Decimal": "decimal",
  "io.debezium.time.Date": "date",
  "io.debezium.time.Timestamp": "timestamp-millis",
  "io.debezium.time.MicroTimestamp": "timestamp-micros",
  "io.debezium.time.NanoTimestamp": "timestamp-nanos",
};

function addHints(schema: JsonObject, path: WirePath, hints: Map<string, SchemaHint>): void {
  if (schema.type === "struct") {
    for (const field of Array.isArray(schema.fields) ? schema.fields : [])
      if (isObject(field) && typeof field.field === "string") addHints(field, [...path, field.field], hints);
    return;
  }
  const key = pathText(path);
  // Another schema of the same topic may allow null.
  hints.set(key, hintOf(schema, schema.optional === true || (hints.get(key)?.isNullable ?? false)));
}

function hintOf(schema: JsonObject, isNullable: boolean): SchemaHint {
  const parameters = isObject(schema.parameters) ? schema.parameters : {};
  const logicalType = LOGICAL_TYPES[String(schema.name)];
  const allowed = schema.name === "io.debezium.data.Enum" ? parameters.allowed : undefined;
  return {
    type: String(schema.type),
    isNullable,
    ...(logicalType === undefined ? {} : { logicalType }),
    ...(logicalType === "decimal" ? { scale: Number(parameters.scale ?? 0), isBase64: true } : {}),
    ...(typeof allowed === "string" ? { symbols: allowed.split(",") } : {}),
  };
}
