import type { FieldSpec } from "../../core/contract/field.ts";
import { partValue } from "../../core/contract/record/record-part.ts";
import { WireError } from "../../core/contract/record/wire-error.ts";
import type { SampleRecord } from "../sample/sample.ts";
import { Seen } from "../sample/seen.ts";
import { decide } from "./fields.ts";
import type { FoundField } from "./layout.ts";
import { freeName, snakeCase } from "./names.ts";

const MOST_HEADERS = 20;
/** A header in a smaller share of the records is left out. */
const LEAST_PRESENCE = 0.01;

/** Returns the names of headers that enough records have, the most frequent first. */
export function headerNames(records: readonly SampleRecord[]): string[] {
  const counts = new Map<string, number>();
  for (const { headers = [] } of records)
    for (const name of new Set(headers)) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts]
    .filter(([name, count]) => name !== "" && count >= records.length * LEAST_PRESENCE)
    .sort((a, b) => b[1] - a[1])
    .slice(0, MOST_HEADERS)
    .map(([name]) => name);
}

/** Returns fields that are read from headers. Headers that are not UTF-8 give no fields. */
export function headerFields(records: readonly SampleRecord[], names: readonly string[]): FoundField[] {
  const taken = new Set<string>();
  return names.flatMap((header): FoundField[] => {
    const seen = seenIn(records, header);
    const decided = seen === null ? null : decide(seen, snakeCase(header), undefined);
    if (seen === null || decided === null || "leftOut" in decided) return [];
    const spec = { ...decided.spec, path: `header:${header}` } as FieldSpec;
    const isRequired = seen.values === records.length;
    return [{ name: freeName(snakeCase(header), taken), path: [], spec, seen, present: seen.values, isRequired }];
  });
}

function seenIn(records: readonly SampleRecord[], header: string): Seen | null {
  const seen = new Seen([]);
  try {
    for (const record of records) {
      const value = partValue(record, `header:${header}`, header);
      if (value === undefined) seen.nulls += 1;
      else seen.texts.push(String(value));
    }
    return seen;
  } catch (error) {
    if (error instanceof WireError) return null;
    throw error;
  }
}
