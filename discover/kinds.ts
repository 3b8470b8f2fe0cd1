import { pathText } from "../core/contract/record/wire-path.ts";
import { percent } from "./fields/fields.ts";
import type { FoundField } from "./fields/layout.ts";
import type { ReadRecord } from "./sample/sample.ts";
import { idText, valueAt } from "./sample/values.ts";
import { column, shown } from "./text/literals.ts";

const MOST_KINDS = 20;
/** The records are of several kinds only if at least this many fields occur with some kinds alone. */
const LEAST_FIELDS = 2;

/** Returns a sentence if the records are of several kinds; none if they look alike. */
export function kindsOfRecords(fields: readonly FoundField[], all: readonly ReadRecord[]): string[] {
  if (fields.every(({ isRequired }) => !isRequired))
    return [
      "Mixed: the records have no field in common. Several kinds of events lie on this topic; " +
        "measure some of them with `where`.",
    ];
  for (const field of fields) {
    const kinds = field.isRequired && field.spec.type === "oneOf" ? toldApart(field, fields, all) : null;
    if (kinds !== null) return [kinds];
  }
  return [];
}

/** Whether a field tells the kind of a record: some fields are in all records of a kind, and in none of another. */
function toldApart(
  { name, path }: FoundField,
  fields: readonly FoundField[],
  all: readonly ReadRecord[],
): string | null {
  const kinds = new Map<string, { records: number; readonly has: Map<FoundField, number> }>();
  const optional = fields.filter(({ isRequired }) => !isRequired);
  for (const { object } of all) {
    const kind = idText(valueAt(object, path));
    if (kind === null) return null;
    const counted = kinds.get(kind) ?? { records: 0, has: new Map<FoundField, number>() };
    kinds.set(kind, counted);
    counted.records += 1;
    for (const field of optional)
      if ((valueAt(object, field.path) ?? null) !== null) counted.has.set(field, (counted.has.get(field) ?? 0) + 1);
  }
  const shares = (field: FoundField) => [...kinds.values()].map(({ records, has }) => (has.get(field) ?? 0) / records);
  const own = optional.filter((field) => shares(field).every((share) => share < 0.01 || share > 0.99));
  if (own.length < LEAST_FIELDS || kinds.size < 2 || kinds.size > MOST_KINDS) return null;
  const list = [...kinds]
    .sort((a, b) => b[1].records - a[1].records)
    .map(([kind, { records }]) => `${shown(kind, 40)} ${percent(records, all.length)}`)
    .join(", ");
  const where = `where: sql\`${column(name)} = '…'\``;
  return (
    `Mixed: the records are of ${kinds.size} kinds, which ${pathText(path)} tells apart: ${list}. ` +
    `What only some have is optional here; in a view \`${where}\` takes one kind.`
  );
}
