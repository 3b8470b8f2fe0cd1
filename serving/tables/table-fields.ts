import type { FieldSpec } from "../../core/contract/field.ts";
import { bare } from "../../core/contract/fields.ts";
import type { View } from "../../core/definition/view.ts";
import { answerFields, written } from "../answer/answer-fields.ts";
import type { AnswerField } from "../answer/answer-schemas.ts";
import type { Numbers } from "../common/numbers.ts";
import type { ColumnTypes } from "../views/column-types.ts";

/** Returns the descriptions of these columns of a table's rows. */
export function tableFields(
  view: View,
  types: ColumnTypes,
  columns: readonly string[],
  numbers: Numbers,
): Record<string, AnswerField> {
  const by = Object.keys(view.by);
  const isLatest = view.table?.kind === "latest";
  const measures = isLatest ? [] : columns.filter((name) => !by.includes(name));
  const known = answerFields(view, types, { by, measures, everyMs: view.grainMs, calendar: null }, numbers);
  return Object.fromEntries(
    columns.flatMap((name): [string, AnswerField][] => {
      const spec = view.stream.fields[name]?.spec;
      const field = isLatest && spec !== undefined ? recordField(bare(spec), by.includes(name), numbers) : known[name];
      return field === undefined ? [] : [[name, field]];
    }),
  );
}

function recordField(spec: FieldSpec, isKey: boolean, numbers: Numbers): AnswerField {
  const scale = spec.type === "decimal" ? spec.scale : 0;
  return {
    kind: isKey ? "dimension" : "measure",
    type: spec.type,
    unit: spec.type === "instant" ? "ISO 8601, UTC" : "",
    exact: true,
    error: 0,
    note: "of the newest record",
    ...written(VALUES[spec.type] ?? "other", scale, numbers),
  };
}

const VALUES: Partial<Record<FieldSpec["type"], AnswerField["values"]>> = {
  integer: "integer",
  decimal: "decimal",
  instant: "instant",
  text: "text",
  oneOf: "text",
  flag: "boolean",
};
