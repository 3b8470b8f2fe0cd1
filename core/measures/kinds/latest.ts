import type { FieldSpec } from "../../contract/field.ts";
import { bare } from "../../contract/fields.ts";
import { quoteName, quoteText, type Sql } from "../../contract/sql.ts";
import type { Fields } from "../../contract/stream.ts";
import { builtMeasure } from "../built-measure.ts";
import { inDecimals } from "../decimals.ts";
import { EXACT, type Measure, type Presented, type PresentedField } from "../measure.ts";
import { plainDecimal } from "../plain-values.ts";

const NAME = "latest";

/** A record's fields in JSON: integers below 2^53, decimals in units of their last place. */
type RecordJson = Readonly<Record<string, unknown>>;

/**
 * The whole record with the highest position in the log, as one value of several parts. Presents null if `deleted` is
 * true for the record, or if it is a tombstone and `tombstones` is "delete". Rows of `table()` are stored in this way.
 */
export function latest(fields: Fields, deleted: Sql | null, tombstones: "delete" | null = null): Measure {
  return builtMeasure(NAME, {}, () => {
    const specs = Object.entries(fields).map(([name, { spec }]) => [name, bare(spec)] as const);
    const whole = recordSql(fields);
    const gone = [...(tombstones === null ? [] : ["_id IS NULL"]), ...(deleted === null ? [] : [`(${deleted.text})`])];
    const record = gone.length === 0 ? whole : `CASE WHEN ${gone.join(" OR ")} THEN NULL ELSE ${whole} END`;
    return {
      kind: NAME,
      spec: { kind: NAME },
      unit: "",
      accuracy: EXACT,
      values: "picked",
      scale: 0,
      parts: specs.filter(([, { type }]) => type !== "list").map(([name]) => name),
      inputs: deleted === null ? [] : [{ sql: deleted, type: "condition" }],
      components: [{ name: NAME, form: "pick", merge: "last", partial: record, place: "log" }],
      present: (state) => shownRecord(specs, state.pick(NAME) as RecordJson | null | undefined, inDecimals),
      plain: {
        columns: {
          [NAME]: { form: "aggregate", sql: `to_json(arg_max({v: (${record})}, (_partition, _offset)))::VARCHAR` },
        },
        present: (found) => {
          const { v } = JSON.parse(String(found.aggregate(NAME))) as { v: RecordJson | null };
          return shownRecord(specs, v, (value, scale) =>
            scale === 0 ? value : plainDecimal(BigInt(String(value)), scale),
          );
        },
      },
    };
  });
}

/** SQL: an event's fields as a struct. */
export function recordSql(fields: Fields): string {
  const members = Object.keys(fields).map((name) => `${quoteText(name)}: ${quoteName(name)}`);
  return `{${members.join(", ")}}`;
}

/** Returns the fields of one event, from the JSON of `recordSql`, in the form of rows. */
export function showRecord(fields: Fields, json: string): Readonly<Record<string, PresentedField>> {
  const specs = Object.entries(fields).map(([name, { spec }]) => [name, bare(spec)] as const);
  return shownRecord(specs, JSON.parse(json) as RecordJson, inDecimals) as Readonly<Record<string, PresentedField>>;
}

type Decimals = (value: Presented, scale: number) => Presented;

function shownRecord(
  specs: readonly (readonly [string, FieldSpec])[],
  record: RecordJson | null | undefined,
  decimals: Decimals,
): PresentedField {
  if (record === null || record === undefined) return null;
  return Object.fromEntries(specs.map(([name, spec]) => [name, shown(spec, record[name], decimals)])) as PresentedField;
}

/**
 * Returns a field's value in the form of rows: instants are ISO 8601, decimals have their places, and so have the
 * elements of lists.
 */
function shown(spec: FieldSpec, value: unknown, decimals: Decimals): unknown {
  if (value === null || value === undefined) return null;
  if (spec.type === "instant") return new Date(Number(value)).toISOString();
  if (spec.type === "decimal") return decimals(value as Presented, spec.scale);
  if (spec.type === "values") return (value as readonly unknown[]).map((one) => shown(bare(spec.of), one, decimals));
  if (spec.type === "map") {
    const entries = value as readonly { readonly key: string; readonly value: unknown }[];
    return Object.fromEntries(entries.map((one) => [one.key, shown(bare(spec.of), one.value, decimals)]));
  }
  if (spec.type !== "list" && spec.type !== "entries") return value;
  const inner = Object.entries(spec.of).map(([name, of]) => [name, bare(of)] as const);
  if (spec.type === "entries") {
    const entries = value as readonly (RecordJson & { readonly key: string })[];
    return Object.fromEntries(entries.map((one) => [one.key, shownRecord(inner, one, decimals)]));
  }
  return (value as readonly RecordJson[]).map((element) => shownRecord(inner, element, decimals));
}
