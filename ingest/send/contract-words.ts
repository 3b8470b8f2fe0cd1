import type { Field, FieldSpec } from "../../core/contract/field.ts";
import { bare, isRequired } from "../../core/contract/fields.ts";
import { lowerCase, scalarText } from "../../core/contract/record/record-value.ts";
import type { Fields } from "../../core/contract/stream.ts";
import { parseBound } from "../../core/time.ts";
import { strayBytes } from "../read/encoding.ts";
import { type Refusal, shown } from "./refusal.ts";
import { likelyTimeNumber } from "./value-forms.ts";

/** Returns why a contract refuses an event, in words for the author of the file; null if nothing is found. */
export function contractProblem(fields: Fields, event: Readonly<Record<string, unknown>>): Refusal | null {
  for (const [name, field] of Object.entries(fields)) {
    const problem = fieldProblem(field, Object.hasOwn(event, name) ? event[name] : undefined, name);
    if (problem !== null) return problem;
  }
  return null;
}

function fieldProblem(field: Field, value: unknown, column: string): Refusal | null {
  if (value === undefined) return isRequired(field) ? missing(column) : null;
  if (value === null && field.optional) return null;
  if (value === null) return missing(column);
  return specProblem(bare(field.spec), value, column);
}

function missing(column: string): Refusal {
  return { column, reason: "is missing, and the contract requires it" };
}

type Bare = ReturnType<typeof bare>;

function specProblem(spec: Bare, value: unknown, column: string): Refusal | null {
  const wrong = (reason: string, advice?: string): Refusal => ({
    ...{ column, value: typeof value === "string" ? value : JSON.stringify(value), reason },
    ...(advice === undefined ? {} : { advice }),
  });
  switch (spec.type) {
    case "integer":
      if (typeof value !== "number" || !Number.isInteger(value)) return wrong("is not a whole number");
      return outside(value, spec, wrong);
    case "decimal":
      if (typeof value !== "number") return wrong("is not a number");
      if (Number(value.toFixed(spec.scale)) !== value) return wrong(`has more than ${spec.scale} decimal places`);
      return outside(value, spec, wrong);
    case "instant":
      return typeof value === "number" ? instantProblem(value, spec, column) : wrong("is not a time");
    case "text": {
      const text = spec.as === "scalar" ? (scalarText(value) ?? value) : value;
      return textProblem(text, spec.max, column, wrong);
    }
    case "oneOf":
      return oneOfProblem(value, spec, wrong);
    case "flag":
      return typeof value === "boolean" ? null : wrong("is neither true nor false");
    case "map":
    case "entries":
      return mapProblem(value, spec, column, wrong);
    default:
      return listProblem(value, spec, column, wrong);
  }
}

type Wrong = (reason: string, advice?: string) => Refusal;

function outside(value: number, { min, max }: { min: number; max: number }, wrong: Wrong): Refusal | null {
  if (value < min) return wrong(`is below ${min}, the least that the contract allows`);
  return value > max ? wrong(`is above ${max}, the most that the contract allows`) : null;
}

function instantProblem(time: number, { from, to }: { from: string; to: string }, column: string): Refusal | null {
  const [least, most] = [parseBound(from), parseBound(to)];
  if (time >= least && time <= most) return null;
  const date = new Date(time);
  const value = Number.isNaN(date.getTime()) ? String(time) : date.toISOString();
  const side =
    time < least
      ? `lies before ${from}, the first that the contract allows`
      : `lies after ${to}, the last that the contract allows`;
  const guess = likelyTimeNumber(String(time));
  const advice = guess === null ? {} : { advice: `If ${time} is not a count of milliseconds, add --times ${guess}.` };
  return { column, value, reason: side, ...advice };
}

function textProblem(value: unknown, max: number, column: string, wrong: Wrong): Refusal | null {
  if (typeof value !== "string") return wrong("is not text");
  const stray = strayBytes(value);
  if (stray !== null || !value.isWellFormed()) return { column, reason: "has characters that are not Unicode" };
  const length = value.length > max ? [...value].length : 0;
  return length > max ? wrong(`has ${length} characters, and the contract allows ${max}`) : null;
}

function oneOfProblem(
  value: unknown,
  { values, as }: Extract<FieldSpec, { type: "oneOf" }>,
  wrong: Wrong,
): Refusal | null {
  if (values.includes(value as string)) return null;
  const isOne = (one: string) => typeof value === "string" && lowerCase(one) === lowerCase(value);
  if (as === "any-case" && values.some(isOne)) return null;
  const simple = (text: string) => text.trim().toLowerCase();
  const near = typeof value === "string" ? values.find((one) => simple(one) === simple(value)) : undefined;
  return wrong(`is none of ${values.map(shown).join(", ")}`, near === undefined ? undefined : `Write ${shown(near)}.`);
}

function listProblem(
  value: unknown,
  spec: Extract<FieldSpec, { type: "list" | "values" }>,
  column: string,
  wrong: Wrong,
): Refusal | null {
  if (!Array.isArray(value)) return wrong("is not a list");
  if (value.length > spec.max)
    return { column, reason: `has ${value.length} elements, and the contract allows ${spec.max}` };
  for (const [index, element] of value.entries()) {
    const at = `${column}[${index}]`;
    if (spec.type === "values") {
      const problem = element === null ? missing(at) : specProblem(bare(spec.of), element, at);
      if (problem !== null) return problem;
      continue;
    }
    const problem = objectProblem(element, spec.of, at);
    if (problem !== null) return problem;
  }
  return null;
}

/** For an element of a list, or a value of a map. */
function objectProblem(element: unknown, of: Readonly<Record<string, FieldSpec>>, at: string): Refusal | null {
  if (typeof element !== "object" || element === null || Array.isArray(element))
    return { column: at, reason: "is not an object" };
  for (const [name, inner] of Object.entries(of)) {
    const found = (element as Readonly<Record<string, unknown>>)[name];
    const problem =
      found === undefined || found === null
        ? absence(inner, found, `${at}.${name}`)
        : specProblem(bare(inner), found, `${at}.${name}`);
    if (problem !== null) return problem;
  }
  return null;
}

function mapProblem(
  value: unknown,
  spec: Extract<FieldSpec, { type: "map" | "entries" }>,
  column: string,
  wrong: Wrong,
): Refusal | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return wrong("is not an object");
  const entries = Object.entries(value);
  if (entries.length > spec.max)
    return { column, reason: `has ${entries.length} names, and the contract allows ${spec.max}` };
  for (const [name, one] of entries) {
    const at = `${column}.${name}`;
    const named = textProblem(name, MOST_NAME, at, (reason) => ({ column: at, reason: `its name ${reason}` }));
    const problem = named ?? (spec.type === "map" ? valueProblem(spec.of, one, at) : objectProblem(one, spec.of, at));
    if (problem !== null) return problem;
  }
  return null;
}

function valueProblem(of: FieldSpec, value: unknown, at: string): Refusal | null {
  return value === null ? absence(of, value, at) : specProblem(bare(of), value, at);
}

/** The greatest length of a map's names in a contract. */
const MOST_NAME = 256;

function absence(spec: FieldSpec, value: null | undefined, column: string): Refusal | null {
  return spec.type === "optional" || (spec.type === "default" && value === undefined) ? null : missing(column);
}
