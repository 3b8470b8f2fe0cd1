import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { GroupValue } from "../../core/state/cells.ts";
import { differenceOf, type OracleRow, rowKey, sketchBytes } from "../../test/oracle.ts";
import type { Oracle } from "./oracle.ts";
import type { Positions, Shape } from "./view-fold.ts";

/** One answer of `GET /views/:name`, as far as it is judged. */
export interface Answer {
  readonly rows: readonly Readonly<Record<string, string | number | boolean | null>>[];
  readonly truncated: boolean;
  readonly asOf: string;
  readonly position: {
    readonly generation: string;
    readonly version: number;
    readonly cut: Readonly<Record<string, string>>;
    readonly applied: Readonly<Record<string, string>>;
  };
  readonly complete: boolean;
  readonly missing?: { readonly code: string; readonly message: string };
}

/** What was asked. */
export interface Question {
  readonly view: string;
  readonly shape: Shape;
  readonly fromMs: number;
  readonly toMs: number;
  /** The position that was asked for: the token of an earlier answer, and what that answer stated. */
  readonly at?: { readonly token: string; readonly applied: Answer["position"]["applied"] };
  /** A record that the answer must include. */
  readonly min?: { readonly partition: number; readonly offset: bigint };
}

/** An answer that is not what the log says at the answer's own position. */
export interface Mismatch {
  readonly view: string;
  readonly url: string;
  readonly asOf: string;
  readonly applied: Readonly<Record<string, string>>;
  readonly cut: Readonly<Record<string, string>>;
  readonly version: number;
  readonly complete: boolean;
  /** The first rows that differ. */
  readonly differences: readonly string[];
  /** Events of rows that count too few, and too many. */
  readonly lost: number;
  readonly double: number;
  readonly during: string;
  readonly atMs: number;
}

const SHOWN_ROWS = 5;

export function positionsOf(positions: Readonly<Record<string, string>>): Map<number, bigint> {
  return new Map(Object.entries(positions).map(([partition, offset]) => [Number(partition), BigInt(offset)]));
}

/** Whether `position` has reached `ends` in every partition. */
export function reaches(position: Positions, ends: Positions): boolean {
  return [...ends].every(([partition, end]) => (position.get(partition) ?? 0n) >= end);
}

/** Compares answers with the oracle at the position that each answer states itself. */
export class Judge {
  readonly #oracle: Oracle;
  readonly #sketches: Redis;
  readonly #key = `oracle:${randomUUID()}`;
  /** A row of the oracle -> its distinct counts. */
  readonly #counts = new WeakMap<OracleRow, Readonly<Record<string, number>>>();

  /** `sketches` is a Redis of the oracle's own: what PFCOUNT says is what a distinct count must say. */
  constructor(oracle: Oracle, sketches: Redis) {
    this.#oracle = oracle;
    this.#sketches = sketches;
  }

  /** Null when the answer is right. */
  async judge(question: Question, url: string, answer: Answer, during: string): Promise<Mismatch | null> {
    const { view, shape, fromMs, toMs } = question;
    const applied = positionsOf(answer.position.applied);
    await this.#oracle.tail.reach(applied);
    const expected = this.#oracle.fold(view).rows(shape, fromMs, toMs, applied);
    await this.#count(expected.values());
    const { differences, lost, double } = this.#compare(shape, answer, expected);
    differences.push(...statedProblems(question, answer));
    if (differences.length === 0) return null;
    const { asOf, position, complete } = answer;
    const { version, cut } = position;
    const shown = differences.slice(0, SHOWN_ROWS);
    if (differences.length > SHOWN_ROWS) shown.push(`and ${differences.length - SHOWN_ROWS} more`);
    return {
      view,
      url,
      asOf,
      applied: position.applied,
      cut,
      version,
      complete,
      differences: shown,
      lost,
      double,
      during,
      atMs: Date.now(),
    };
  }

  #compare({ by }: Shape, { rows }: Answer, expected: ReadonlyMap<string, OracleRow>) {
    const differences: string[] = [];
    let [lost, double] = [0, 0];
    const answered = new Set<string>();
    for (const row of rows) {
      const key = rowKey(
        Date.parse(String(row.bucket)),
        by.map((name): GroupValue => row[name] ?? null),
      );
      const want = expected.get(key);
      if (answered.has(key)) differences.push(`${key}: answered twice`);
      answered.add(key);
      if (want === undefined) {
        double += Number(row.events);
        differences.push(`${key}: there is no such row; got ${JSON.stringify(row)}`);
        continue;
      }
      const more = Number(row.events) - Number(want.values.events);
      if (more > 0) double += more;
      else lost -= more;
      const difference = [differenceOf(row, want), this.#distinctDifference(row, want)].filter((text) => text !== "");
      if (difference.length > 0) differences.push(`${key}: ${difference.join("; ")}`);
    }
    for (const [key, { values }] of expected) {
      if (answered.has(key)) continue;
      lost += Number(values.events);
      differences.push(`${key}: no such row; want ${JSON.stringify(values)}`);
    }
    return { differences, lost, double };
  }

  #distinctDifference(row: Answer["rows"][number], want: OracleRow): string {
    return Object.entries(this.#counts.get(want) ?? {})
      .filter(([measure, count]) => row[measure] !== count)
      .map(([measure, count]) => `${measure}: ${row[measure]}, not ${count}`)
      .join("; ");
  }

  async #count(rows: Iterable<OracleRow>): Promise<void> {
    const pipeline = this.#sketches.pipeline();
    const asked: { row: OracleRow; measures: readonly string[] }[] = [];
    for (const row of rows) {
      const measures = Object.keys(row.seen);
      if (measures.length === 0 || this.#counts.has(row)) continue;
      for (const measure of measures) {
        pipeline.pfadd(this.#key, ...[...(row.seen[measure] ?? [])].map(sketchBytes));
        pipeline.pfcount(this.#key).del(this.#key);
      }
      asked.push({ row, measures });
    }
    if (asked.length === 0) return;
    const replies = (await pipeline.exec()) ?? [];
    let next = 1;
    for (const { row, measures } of asked) {
      const counts: Record<string, number> = {};
      for (const measure of measures) {
        counts[measure] = Number(replies[next]?.[1]);
        next += 3;
      }
      this.#counts.set(row, counts);
    }
  }
}

/** Where an answer contradicts itself, or what was asked. */
function statedProblems({ at, min }: Question, { complete, missing, position, truncated }: Answer): string[] {
  const problems: string[] = [];
  const { applied, cut } = position;
  if (truncated) problems.push("the answer is cut off");
  if (complete && missing !== undefined) problems.push(`complete, and yet missing ${missing.code}`);
  if (!complete && (missing?.message ?? "") === "") problems.push("not complete, and does not say what is missing");
  if (!complete && at === undefined && JSON.stringify(applied) !== JSON.stringify(cut))
    problems.push(`not complete, and yet beyond its cut: ${JSON.stringify({ applied, cut })}`);
  if (at !== undefined && JSON.stringify(sorted(at.applied)) !== JSON.stringify(sorted(applied)))
    problems.push(`asked for ${JSON.stringify(at.applied)}, answered at ${JSON.stringify(applied)}`);
  if (min !== undefined && BigInt(applied[min.partition] ?? "0") <= min.offset)
    problems.push(`asked to include ${min.partition}:${min.offset}, answered at ${JSON.stringify(applied)}`);
  return problems;
}

function sorted(positions: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(positions)
    .filter(([, offset]) => offset !== "0")
    .sort(([a], [b]) => Number(a) - Number(b));
}
