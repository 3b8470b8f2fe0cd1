import { pathText, type WirePath } from "../../core/contract/record/wire-path.ts";
import { isObject, type JsonObject } from "../sample/sample.ts";
import { LOGICAL_TYPES } from "./connect-hints.ts";
import type { SchemaHint } from "./schema-hint.ts";

/**
 * Returns the hints of these Avro schemas, by the text of the path. Fields below lists, maps and unions of several
 * types have none.
 */
export function avroHints(schemas: Iterable<string>): Map<string, SchemaHint> {
  const hints = new Map<string, SchemaHint>();
  for (const schema of schemas) addHints(JSON.parse(schema), { path: [], isNullable: false, named: new Map(), hints });
  return hints;
}

interface Place {
  readonly path: WirePath;
  readonly isNullable: boolean;
  /** Named types that were defined before. */
  readonly named: Map<string, JsonObject>;
  readonly hints: Map<string, SchemaHint>;
}

/** Stops at this depth, because a type may contain itself. */
const MOST_STEPS = 12;

function addHints(schema: unknown, place: Place): void {
  const { path, named, hints } = place;
  if (Array.isArray(schema)) {
    const [only, ...others] = schema.filter((branch) => branch !== "null");
    const isNullable = place.isNullable || schema.includes("null");
    if (others.length === 0) addHints(only, { ...place, isNullable });
    return;
  }
  const type = typeof schema === "string" ? (named.get(schema) ?? { type: schema }) : schema;
  if (!isObject(type) || path.length > MOST_STEPS) return;
  if (typeof type.name === "string") {
    named.set(type.name, type);
    if (typeof type.namespace === "string") named.set(`${type.namespace}.${type.name}`, type);
  }
  if (isObject(type.type) || Array.isArray(type.type)) addHints(type.type, place);
  else if (type.type === "record") addFields(type, place);
  else if (path.length > 0) hints.set(pathText(path), hintOf(type, place.isNullable || isOptional(hints, path)));
}

/** Another schema of the same topic may allow null. */
function isOptional(hints: Place["hints"], path: WirePath): boolean {
  return hints.get(pathText(path))?.isNullable ?? false;
}

function addFields(record: JsonObject, place: Place): void {
  for (const field of Array.isArray(record.fields) ? record.fields : [])
    if (isObject(field) && typeof field.name === "string" && field.name !== "")
      addHints(field.type, { ...place, path: [...place.path, field.name] });
}

function hintOf(type: JsonObject, isNullable: boolean): SchemaHint {
  const { scale, symbols } = type;
  // Debezium has its types in a property of its own.
  const logicalType = type.logicalType ?? LOGICAL_TYPES[String(type["connect.name"])];
  return {
    type: String(type.type),
    isNullable,
    ...(typeof logicalType === "string" ? { logicalType } : {}),
    ...(typeof scale === "number" ? { scale } : {}),
    ...(Array.isArray(symbols) ? { symbols: symbols.map(String) } : {}),
  };
}
