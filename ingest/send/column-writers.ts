import type { Field, FieldSpec } from "../../core/contract/field.ts";
import { bare, isRequired } from "../../core/contract/fields.ts";
import { parseBound } from "../../core/time.ts";
import type { TableValue } from "../../store/duckdb/parquet-rows.ts";
import { readTime, type ValueForms } from "./value-forms.ts";

/**
 * A fast way from a table's values to JSON. It accepts fewer values than the contract, never more, and writes the same
 * JSON.
 */

/** One column of a table, prepared for the fast way. */
export interface Column {
  readonly name: string;
  readonly field: Field;
  readonly isKey: boolean;
  /** `"name":` */
  readonly label: string;
  /** The JSON for a missing value; "" leaves the field out; null: the fast way cannot write it. */
  readonly absent: string | null;
  /** Returns the JSON for a value's text; null if the fast way cannot write it. */
  readonly write: (text: string) => string | null;
  /** Returns the record's key from the value's text and its JSON. */
  readonly keyOf: (cell: TableValue, json: string) => string;
}

/** Returns the column of a field. */
export function columnOf(name: string, field: Field, key: string, forms: ValueForms): Column {
  const spec = bare(field.spec);
  const isText = spec.type === "text" || spec.type === "oneOf";
  const written = writerOf(spec, forms);
  const write = forms.missing.size === 0 ? written : (text: string) => (forms.missing.has(text) ? null : written(text));
  return {
    ...{ name, field, write, isKey: name === key, label: `${JSON.stringify(name)}:` },
    absent: isRequired(field) ? (spec.type === "text" ? '""' : null) : "",
    keyOf: isText
      ? (cell) => String(cell)
      : spec.type === "flag"
        ? (_, json) => json
        : (_, json) => String(Number(json)),
  };
}

function writerOf(spec: Exclude<FieldSpec, { type: "optional" | "default" }>, forms: ValueForms): Column["write"] {
  switch (spec.type) {
    case "text":
      return (text) => (text.length > spec.max ? null : textJson(text));
    case "oneOf": {
      const values = new Map(spec.values.map((value) => [value, JSON.stringify(value)]));
      return (text) => values.get(text) ?? null;
    }
    case "flag":
      return (text) => (text === "true" || text === "false" ? text : null);
    case "integer":
      return numberWriter(INTEGER, spec);
    case "decimal": {
      const form = new RegExp(`^-?(?:0|[1-9]\\d{0,${14 - spec.scale}})(?:\\.\\d{1,${spec.scale}})?$`);
      const write = numberWriter(form, spec);
      // With a decimal comma, a point separates thousands.
      return forms.decimalComma ? (text) => (text.includes(".") ? null : write(text.replace(",", "."))) : write;
    }
    case "instant":
      return timeWriter(spec, forms);
    default:
      return () => null;
  }
}

/** Numbers of at most 15 digits in JSON's form. A double keeps all of these apart. */
const INTEGER = /^-?(?:0|[1-9]\d{0,14})$/;

function numberWriter(form: RegExp, { min, max }: { min: number; max: number }): Column["write"] {
  return (text) => {
    if (!form.test(text)) return null;
    const value = Number(text);
    // JSON.stringify cannot write negative zero.
    return value >= min && value <= max && !Object.is(value, -0) ? text : null;
  };
}

function timeWriter({ from, to }: { from: string; to: string }, forms: ValueForms): Column["write"] {
  const [least, most] = [parseBound(from), parseBound(to)];
  // Neighbouring rows often have the same time.
  let [lastText, lastJson]: [string, string | null] = ["", null];
  return (text) => {
    if (text === lastText) return lastJson;
    const time = readTime(text, forms);
    lastText = text;
    lastJson = time === null || time < least || time > most ? null : String(time);
    return lastJson;
  };
}

const PLAIN_TEXT = /^[ !#-[\]-~]*$/;

function textJson(text: string): string | null {
  if (PLAIN_TEXT.test(text)) return `"${text}"`;
  return text.isWellFormed() ? JSON.stringify(text) : null;
}
