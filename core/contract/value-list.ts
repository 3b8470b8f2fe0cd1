import { z } from "zod";
import type { Field, FieldSpec, ScalarType } from "./field.ts";

type ValuesSpec = Extract<FieldSpec, { type: "values" }>;

/** What the values of a list can be. Instants are left out: those of some units need more digits than a double has. */
const ELEMENTS: ReadonlySet<FieldSpec["type"]> = new Set(["text", "oneOf", "integer", "decimal", "flag"]);

/** Whether a builder was given a field, and not fields by their names. */
export function isField(given: object): given is Field {
  return "spec" in given && "zod" in given && typeof given.zod === "object" && given.zod instanceof z.ZodType;
}

/** The field of a list of at most `max` values, none of them null. Throws RangeError for values that a list cannot have. */
export function valueList<T>(element: Field<T>, options: Pick<ValuesSpec, "max" | "path">): Field<T[]> {
  const { spec, column, read, zod, problem } = element;
  if (problem !== undefined) throw new RangeError(problem);
  if (!ELEMENTS.has(spec.type) || "path" in spec)
    throw new RangeError(
      "the values of a list are text, oneOf, integer, decimal or flag, without optional, default and from",
    );
  const one = read === "JSON" ? "_item::VARCHAR" : "_item";
  const fits = `_item IS NOT NULL AND ${element.fits("_item")}`;
  const all = (list: string) => `list_bool_and(list_transform(${list}, lambda _item: coalesce(${fits}, false)))`;
  return {
    spec: { type: "values", of: spec, ...options },
    column: `${column as ScalarType}[]`,
    optional: false,
    hasDefault: false,
    zod: z.array(zod).max(options.max),
    read: [read as ScalarType | "JSON"],
    value: (list) => (read === column ? list : `list_transform(${list}, lambda _item: ${element.value(one)})`),
    fits: (list) => `(len(${list}) <= ${options.max} AND coalesce(${all(list)}, true))`,
    literal: () => `[]::${column}[]`,
  };
}
