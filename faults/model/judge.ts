import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { GroupValue } from "../../core/state/cells.ts";
import { differenceOf, type OracleRow, rowKey, sketchBytes } from "../../test/fixtures/oracles/oracle.ts";
import type { Answer, Asked } from "./answer.ts";
import type { Oracle } from "./oracle.ts";
import { type TableQuestion, tableDifferences } from "./table-question.ts";
import type { Positions, Shape } from "./view-fold.ts";

/** What was asked of a view. */
export interface ViewQuestion extends Asked {
  readonly shape: Shape;
  readonly fromMs: number;
  readonly toMs: number;
}

export type Question = ViewQuestion | TableQuestion;

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
    const applied = positionsOf(answer.position.applied);
    await this.#oracle.tail.reach(applied);
    const { differences, lost, double } = await this.#compared(question, answer, applied);
    differences.push(...statedProblems(question, answer));
    if (differences.length === 0) return null;
    const { asOf, position, complete } = answer;
    const { version, cut } = position;
    const shown = differences.slice(0, SHOWN_ROWS);
    if (differences.length > SHOWN_ROWS) shown.push(`and ${differences.length - SHOWN_ROWS} more`);
    return {
      view: question.view,
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

  async #compared(question: Question, answer: Answer, applied: Positions) {
    if ("rows" in question) {
      const table = this.#oracle.table(question.view);
      const differences = tableDifferences(question, answer, table.key, table.rows(applied));
      return { differences, lost: 0, double: 0 };
    }
    const { view, shape, fromMs, toMs } = question;
    const expected = this.#oracle.fold(view).rows(shape, fromMs, toMs, applied);
    await this.#count(expected.values());
    return this.#compare(shape, answer, expected);
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
function statedProblems(question: Question, { complete, missing, position, truncated }: Answer): string[] {
  const problems: string[] = [];
  const { at, min } = question;
  const { applied, cut } = position;
  const isFirstRows = "rows" in question && question.rows.kind === "top";
  if (truncated && !isFirstRows) problems.push("the answer is cut off");
  if (complete && missing !== undefined) problems.push(`complete, and yet missing ${missing.code}`);
  if (!complete && (missing?.message ?? "") === "") problems.push("not complete, and does not say what is missing");
  if (!complete && at === undefined && JSON.stringify(applied) !== JSON.stringify(cut))
    problems.push(`not complete, and yet beyond its cut: ${JSON.stringify({ applied, cut })}`);
  if (at?.applied != null && JSON.stringify(sorted(at.applied)) !== JSON.stringify(sorted(applied)))
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
