import type { FieldSpec } from "../../core/contract/field.ts";
import { bare } from "../../core/contract/fields.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { identifier, literal, number } from "./literals.ts";

/** Returns the text of a stream's file; `comments` are lines without slashes. The stream has one version. */
export function streamText(stream: Stream, comments: readonly string[]): string {
  const { name, topic, revision, partitions, key, eventId, eventTime, dedupWindow, tombstones } = stream;
  const specs = Object.entries(stream.fields).map(([field, { spec }]) => [field, spec] as const);
  const builders = new Set(["stream", ...specs.flatMap(([, spec]) => buildersOf(spec))]);
  return [
    `import { ${[...builders].sort().join(", ")} } from "tideline";`,
    "",
    ...comments.map((line) => `// ${line}`.trimEnd()),
    `export const ${identifier(name, "Stream")} = stream(${literal(name)}, {`,
    ...(topic === null ? [] : [`  topic: ${literal(topic)},`]),
    `  revision: ${revision},`,
    `  partitions: ${partitions},`,
    `  key: ${literal(key)},`,
    `  eventId: ${idText(eventId)},`,
    `  eventTime: ${literal(eventTime)},`,
    `  dedupWindow: ${number(dedupWindow)},`,
    ...(tombstones === null ? [] : [`  tombstones: ${literal(tombstones)},`]),
    `  fields: ${fieldsText(Object.fromEntries(specs), "  ")},`,
    "});",
    "",
  ].join("\n");
}

function idText(eventId: Stream["eventId"]): string {
  return typeof eventId === "string" ? literal(eventId) : `[${eventId.map(literal).join(", ")}]`;
}

function buildersOf(spec: FieldSpec): string[] {
  const is = bare(spec);
  const of =
    is.type === "list" || is.type === "entries"
      ? Object.values(is.of)
      : is.type === "values" || is.type === "map"
        ? [is.of]
        : [];
  const builder = is.type === "values" ? "list" : is.type === "entries" ? "map" : is.type;
  return [...(spec.type === "optional" ? ["optional"] : []), builder, ...of.flatMap(buildersOf)];
}

type Bare = ReturnType<typeof bare>;

/** Returns the builder's call for a field. `column`: the column in which the call begins. */
function fieldText(spec: FieldSpec, indent: string, column: number): string {
  if (spec.type === "optional") return `optional(${fieldText(spec.of, indent, column + "optional(".length)})`;
  if (spec.type === "default") throw new RangeError("no field of a sample has a default");
  const from = spec.path === undefined ? [] : [`from: ${literal(spec.path)}`];
  const given = [...optionsOf(spec), ...from];
  const options = given.length === 0 ? [] : [`{ ${given.join(", ")} }`];
  if (spec.type === "list") return call("list", [fieldsText(spec.of, indent), ...options]);
  if (spec.type === "values") return call("list", [fieldText(spec.of, indent, column + 5), ...options]);
  if (spec.type === "entries") return call("map", [fieldsText(spec.of, indent), ...options]);
  if (spec.type === "map") return call("map", [fieldText(spec.of, indent, column + 4), ...options]);
  const values = spec.type === "oneOf" ? spec.values.map(literal) : [];
  const line = call(spec.type, [...values, ...options]);
  if (values.length < 2 || column + line.length < MOST_COLUMNS) return line;
  return `oneOf(\n${[...values, ...options].map((one) => `${indent}  ${one},\n`).join("")}${indent})`;
}

const MOST_COLUMNS = 118;

function fieldsText(specs: Readonly<Record<string, FieldSpec>>, indent: string): string {
  const inner = `${indent}  `;
  const lines = Object.entries(specs).map(([name, spec]) => {
    const start = `${inner}${name}: `;
    return `${start}${fieldText(spec, inner, start.length)},\n`;
  });
  return `{\n${lines.join("")}${indent}}`;
}

function call(builder: string, given: readonly string[]): string {
  return `${builder}(${given.join(", ")})`;
}

const TEXT_MAX = 256;
const LIST_MAX = 1_000;
const BOUNDS = { from: "2000-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" };

/** Returns the options that differ from the builder's defaults. */
function optionsOf(spec: Bare): string[] {
  switch (spec.type) {
    case "integer":
      return [`min: ${number(spec.min)}`, `max: ${number(spec.max)}`, ...as(spec.as)];
    case "decimal": {
      const round = spec.round === undefined ? [] : [`round: ${literal(spec.round)}`];
      const bounds = [`min: ${number(spec.min)}`, `max: ${number(spec.max)}`];
      return [`scale: ${spec.scale}`, ...bounds, ...as(spec.as), ...round];
    }
    case "instant": {
      const min = spec.from === BOUNDS.from ? [] : [`min: ${literal(spec.from)}`];
      const max = spec.to === BOUNDS.to ? [] : [`max: ${literal(spec.to)}`];
      return [...min, ...max, ...as(spec.as), ...(spec.zone === undefined ? [] : [`zone: ${literal(spec.zone)}`])];
    }
    case "text":
      return spec.as === "uuid" || spec.max === TEXT_MAX ? as(spec.as) : [`max: ${number(spec.max)}`, ...as(spec.as)];
    case "list":
    case "values":
    case "map":
    case "entries":
      return spec.max === LIST_MAX ? [] : [`max: ${number(spec.max)}`];
    case "flag":
      return as(spec.as);
    case "oneOf":
      return as(spec.as);
  }
}

function as(way: string | undefined): string[] {
  return way === undefined ? [] : [`as: ${literal(way)}`];
}
