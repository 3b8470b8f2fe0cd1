import type { Redis } from "ioredis";
import { expect } from "vitest";
import type { GroupValue } from "../core/state/cells.ts";
import type { Answer } from "./installation.ts";
import { differenceOf, type OracleLog, type OracleRow, type RowStart, rowKey, sketchBytes } from "./oracle.ts";

/** The positions that an answer states, as the oracle takes them. */
export function positionOf({ position }: Answer): Map<number, bigint> {
  return new Map(Object.entries(position.applied).map(([partition, offset]) => [Number(partition), BigInt(offset)]));
}

/** Whether an answer has reached the end of the log as the oracle read it. */
export function reaches({ complete, position }: Answer, log: OracleLog): boolean {
  return (
    complete &&
    [...log].every(
      ([partition, records]) => BigInt(position.applied[partition] ?? "0") > (records.at(-1)?.offset ?? -1n),
    )
  );
}

/**
 * Is an answer exactly what the oracle says? Exact fields to the unit, quantiles within their error, distinct counts as
 * PFCOUNT of one key that every value was PFADDed to. `startOf` reads what the oracle calls a row's start.
 */
export async function expectRows(
  answer: Answer,
  expected: ReadonlyMap<string, OracleRow>,
  dimensions: readonly string[],
  redis: Redis,
  startOf: (bucket: string) => RowStart = Date.parse,
): Promise<void> {
  const keyOf = (row: Answer["rows"][number]) =>
    rowKey(
      startOf(String(row.bucket)),
      dimensions.map((name): GroupValue => row[name] ?? null),
    );
  expect(new Set(answer.rows.map(keyOf))).toEqual(new Set(expected.keys()));
  const counts = redis.pipeline();
  const counted: { readonly row: Answer["rows"][number]; readonly measure: string }[] = [];
  for (const row of answer.rows) {
    const want = expected.get(keyOf(row));
    if (want !== undefined) {
      const difference = differenceOf(row, want);
      if (difference !== "") expect.fail(`${keyOf(row)}: ${difference}`);
    }
    for (const [measure, values] of Object.entries(want?.seen ?? {})) {
      const key = `oracle:${Math.random()}`;
      counts.pfadd(key, ...[...values].map(sketchBytes));
      counts.pfcount(key).del(key);
      counted.push({ row, measure });
    }
  }
  const replies = (await counts.exec()) ?? [];
  for (const [index, { row, measure }] of counted.entries()) expect(row[measure]).toBe(replies[index * 3 + 1]?.[1]);
}

/** At most sixty of them, the first and last among them: the oracle folds the whole log for each. */
export function someOf(answers: readonly Answer[]): Answer[] {
  const step = Math.max(1, Math.ceil(answers.length / 60));
  return answers.filter((_, index) => index % step === 0 || index === answers.length - 1);
}
