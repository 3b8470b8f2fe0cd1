import type { FieldSpec } from "../../core/contract/field.ts";
import { isoMs } from "../../core/contract/record/record-time.ts";
import type { WirePath } from "../../core/contract/record/wire-path.ts";
import { isObject } from "./sample.ts";

const DAY_MS = 86_400_000;

/** Returns the value at a path; undefined if there is none. */
export function valueAt(object: unknown, path: WirePath): unknown {
  let value = object;
  for (const step of path) value = isObject(value) && Object.hasOwn(value, step) ? value[step] : undefined;
  return value;
}

const PER_MS: Readonly<Record<string, number>> = { s: 1e-3, ms: 1, us: 1e3, ns: 1e6, days: 1 / DAY_MS };

/** Returns about the instant of a record's field, in epoch milliseconds; null if it has none. */
export function instantAt(object: unknown, path: WirePath, spec: FieldSpec): number | null {
  if (spec.type !== "instant") return null;
  const value = valueAt(object, path);
  if (spec.as === "iso") return typeof value === "string" ? isoMs(value, spec.zone ?? "Z") : null;
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number / (PER_MS[spec.as ?? "ms"] ?? 1) : null;
}

/** Returns the text of a value as a key or an id; null if it is not a scalar. */
export function idText(value: unknown): string | null {
  return typeof value === "string" || typeof value === "number" ? String(value) : null;
}
