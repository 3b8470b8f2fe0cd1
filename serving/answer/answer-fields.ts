import type { SESSION_COLUMNS, View } from "../../core/definition/view.ts";
import { dimensionScales } from "../../core/measures/decimals.ts";
import { canBeCut, partialColumn } from "../../core/query/partial.ts";
import type { Query } from "../../core/query/query.ts";
import { NUMBERS, type Numbers } from "../common/numbers.ts";
import type { ColumnTypes } from "../views/column-types.ts";
import type { AnswerField } from "./answer-schemas.ts";

const TIME: AnswerField = {
  kind: "time",
  type: "instant",
  unit: "ISO 8601, UTC",
  exact: true,
  error: 0,
  note: "start of the bucket",
  values: "instant",
  json: "string",
};

const PARTIAL: AnswerField = {
  ...TIME,
  type: "boolean",
  values: "boolean",
  json: "boolean",
  unit: "",
  note: "true where from and to leave out a part of the bucket's time, else absent",
};

const SESSION_FIELDS: Readonly<Record<(typeof SESSION_COLUMNS)[number], AnswerField>> = {
  ended: { ...TIME, note: "the session's last event; bucket is its first" },
  duration_ms: {
    ...TIME,
    kind: "measure",
    type: "duration",
    unit: "ms",
    note: "from the first event to the last",
    values: "integer",
  },
};

/** Returns the kind of a column's values, and the JSON type that they have in an answer. */
export function written(
  values: AnswerField["values"],
  scale: number,
  numbers: Numbers,
): Pick<AnswerField, "values" | "json" | "scale"> {
  if (values === "other") return { values };
  const isExact = values === "integer" || values === "decimal";
  const json = isExact
    ? NUMBERS[numbers]
    : values === "double"
      ? "number"
      : values === "boolean"
        ? "boolean"
        : "string";
  return { values, json, ...(values === "decimal" ? { scale } : {}) };
}

function sessionFields(numbers: Numbers): typeof SESSION_FIELDS {
  const { ended, duration_ms } = SESSION_FIELDS;
  return { ended, duration_ms: { ...duration_ms, ...written("integer", 0, numbers) } };
}

/** The parts of a query that decide which columns its answer has. */
export type AnswerColumns = Pick<Query, "by" | "measures" | "everyMs" | "calendar">;

/** The columns of an answer. */
export function answerFields(
  view: View,
  types: ColumnTypes,
  { by, measures, ...cut }: AnswerColumns,
  numbers: Numbers = "number",
): Record<string, AnswerField> {
  const dimensions = by.map((name): [string, AnswerField] => {
    const scale = dimensionScales(view).get(name) ?? 0;
    const type = scale > 0 ? "decimal" : (types.get(name) ?? "text");
    const shared = {
      kind: "dimension",
      unit: "",
      exact: true,
      error: 0,
      note: "null where the event has none",
    } as const;
    return [name, { ...shared, type, ...written(type, scale, numbers) }];
  });
  const measured = measures.flatMap((name): [string, AnswerField][] => {
    const measure = view.measures[name];
    if (measure === undefined) return [];
    const { kind, unit, accuracy, parts, scale } = measure;
    const values = measure.values === "picked" ? (types.get(name) ?? "text") : measure.values;
    const described = { kind: "measure", type: kind, unit, ...accuracy, ...written(values, scale, numbers) } as const;
    return [[name, { ...described, ...(parts === undefined ? {} : { parts }) }]];
  });
  return {
    bucket: TIME,
    ...(view.sessions === null ? {} : sessionFields(numbers)),
    ...Object.fromEntries([...dimensions, ...measured]),
    ...(canBeCut(view, cut) ? { [partialColumn(view)]: PARTIAL } : {}),
  };
}
