import type { View } from "../definition/view.ts";
import type { EpochMs } from "../log/position.ts";
import { dimensionScales } from "../measures/decimals.ts";
import { integerOf, type PlainFound, type Presented, type PresentedField } from "../measures/measure.ts";
import { plainDecimal, plainPresented } from "../measures/plain-values.ts";
import { REGISTER_ERROR, type Registers } from "../numbers/hll.ts";
import { isoInZone } from "../query/calendar.ts";
import { type AnswerRange, partialColumn } from "../query/partial.ts";
import type { Row } from "../query/present.ts";
import type { Query } from "../query/query.ts";
import type { GroupValue } from "../state/cells.ts";
import { plainIsCut } from "./plain-cut.ts";
import { answerFaults, type ComparedValue, type GivenAnswer } from "./proof-answer.ts";
import type { ComparedRows, Difference, FieldProof, ShownRow } from "./proof-result.ts";

/** A row of an answer, and the registers of its distinct counts. */
export interface ServedRow {
  readonly row: Row;
  registers(measure: string, column: string): Registers | undefined;
}

/** The same row, computed from the log. */
export interface PlainRow {
  readonly bucket: EpochMs;
  /** For a session: the time of its last event. */
  readonly ended: EpochMs | null;
  readonly group: readonly GroupValue[];
  found(measure: string): PlainFound;
}

const MOST_DIFFERENCES = 100;

/**
 * The largest error of an estimate, in standard errors, that counts as chance. Five are exceeded by chance once in two
 * million rows. `SMALL` is the limit for small counts: it is even rarer that more than five values share registers.
 */
const MOST_ERRORS = 5;
const SMALL = 5;
const TOLD_ERRORS = 3;

/** Compares served rows with rows computed from the log, page by page. */
export class RowComparison {
  readonly #view: View;
  readonly #query: Query;
  readonly #mostShown: number;
  /** Whether differences are reported without values: the rows of a table may be records. */
  readonly #hidesValues: boolean;
  readonly #tallies = new Map<string, FieldProof>();
  readonly #differences: Difference[] = [];
  readonly #shown: ShownRow[] = [];
  #rows = 0;
  #mismatches = 0;

  constructor(view: View, query: Query, mostShown: number) {
    this.#view = view;
    this.#query = query;
    this.#mostShown = mostShown;
    this.#hidesValues = view.table !== null && mostShown === 0;
    if (view.sessions !== null)
      for (const [field, type] of [
        ["ended", "instant"],
        ["duration_ms", "duration"],
      ] as const)
        this.#tallies.set(field, { type, error: 0, compared: 0, different: 0, largestError: 0 });
    for (const name of query.measures) {
      const measure = view.measures[name];
      if (measure === undefined) continue;
      const tally = { type: measure.kind, compared: 0, different: 0, largestError: 0 };
      const error = measure.plain.within ?? (measure.plain.truth === undefined ? 0 : REGISTER_ERROR);
      this.#tallies.set(name, {
        ...tally,
        error,
        ...(measure.plain.truth === undefined ? {} : { beyondThreeErrors: 0 }),
      });
    }
  }

  /**
   * Compares all rows of an answer with those computed from the log for the same query at the same position. Also
   * compares the answers in `given` with all rows: their order, their limits and their CSV. `range` is the answer's
   * event time.
   */
  add(
    served: readonly ServedRow[],
    plain: Iterable<PlainRow>,
    given: readonly GivenAnswer[],
    range: AnswerRange,
  ): void {
    const all = served.map(({ row }) => row);
    for (const answer of given)
      for (const { problem, ...value } of answerFaults(this.#view, this.#query, all, answer))
        this.#differs(problem, value);
    const left = new Map(served.map((one) => [this.#keyOf(one.row), one]));
    for (const one of plain) {
      this.#rows += 1;
      const log = this.#present(one);
      const key = this.#keyOf(log);
      const answer = left.get(key);
      left.delete(key);
      if (answer === undefined)
        this.#differs("not served", { row: log, field: "row", served: null, log: this.#values(log) });
      else {
        this.#compare(answer, one, log);
        this.#compareCut(answer.row, one, log, range);
      }
    }
    for (const { row } of left.values()) {
      this.#rows += 1;
      this.#differs("not in the log", { row, field: "row", served: this.#values(row), log: null });
    }
  }

  result(): ComparedRows {
    return {
      rows: this.#rows,
      mismatches: this.#mismatches,
      fields: Object.fromEntries(this.#tallies),
      differences: this.#differences,
      shown: this.#shown,
    };
  }

  #compare(served: ServedRow, plain: PlainRow, log: Row): void {
    for (const [field, tally] of this.#tallies) {
      tally.compared += 1;
      const before = this.#mismatches;
      const value = { row: log, field, served: served.row[field] ?? null, log: log[field] ?? null };
      if (this.#view.measures[field]?.plain.within === undefined) {
        if (!same(value.served, value.log)) this.#differs("differs", value);
        else this.#compareRegisters(served, plain, value);
      } else this.#compareParts(tally, value);
      this.#compareTruth(tally, plain, value);
      if (this.#mismatches > before) tally.different += 1;
    }
    if (this.#shown.length < this.#mostShown)
      this.#shown.push({
        row: this.#place(log),
        served: this.#values(served.row),
        log: this.#values(log),
        exact: this.#truths(plain),
      });
  }

  #compareCut(served: Row, { bucket }: PlainRow, log: Row, range: AnswerRange): void {
    const field = partialColumn(this.#view);
    const isCut = plainIsCut(this.#view, this.#query, range, bucket);
    const isMarked = served[field] === true;
    if (isMarked !== isCut) this.#differs("differs", { row: log, field, served: isMarked, log: isCut });
  }

  /** Compares quantiles: each has to be within its relative error of the exact one. */
  #compareParts(tally: FieldProof, { row, field, served, log }: ComparedValue): void {
    for (const [part, exact] of Object.entries((log ?? {}) as Record<string, Presented>)) {
      const given = (served as Record<string, Presented> | null)?.[part] ?? null;
      const error = relativeError(given, exact);
      if (Number.isFinite(error)) tally.largestError = Math.max(tally.largestError, error);
      // Half a percent in doubles is very slightly more or less than half a percent.
      if (!(error <= tally.error + 1e-12))
        this.#differs("beyond its error", { row, field: `${field}.${part}`, served: given, log: exact });
    }
  }

  #compareRegisters(served: ServedRow, plain: PlainRow, value: ComparedValue): void {
    const { field } = value;
    for (const [column, { form }] of Object.entries(this.#view.measures[field]?.plain.columns ?? {})) {
      if (form !== "registers") continue;
      const held = JSON.stringify(served.registers(field, column)?.entries() ?? []);
      if (held !== JSON.stringify(plain.found(field).registers(column).entries()))
        this.#differs("registers differ", value);
    }
  }

  /** Compares an estimate with the exact number. */
  #compareTruth(tally: FieldProof, plain: PlainRow, { row, field, served }: ComparedValue): void {
    const truth = this.#view.measures[field]?.plain.truth?.(plain.found(field));
    if (truth === undefined) return;
    const off = Math.abs(Number(served) - Number(truth));
    const beyond = (errors: number) => off > Math.max(SMALL, errors * REGISTER_ERROR * Number(truth));
    if (truth > 0n) tally.largestError = Math.max(tally.largestError, off / Number(truth));
    if (beyond(TOLD_ERRORS)) tally.beyondThreeErrors = (tally.beyondThreeErrors ?? 0) + 1;
    if (beyond(MOST_ERRORS)) this.#differs("beyond its error", { row, field, served, log: plainPresented(truth) });
  }

  #differs(problem: Difference["problem"], { row, field, served, log }: ComparedValue): void {
    this.#mismatches += 1;
    if (this.#differences.length >= MOST_DIFFERENCES) return;
    const values = this.#hidesValues
      ? { row: {}, served: null, log: null, difference: null }
      : { row: this.#place(row), served, log, difference: less(served, log) };
    this.#differences.push({ problem, field, ...values });
  }

  /** Returns a row of the log in the form of the answer. */
  #present({ bucket, ended, group, found }: PlainRow): Row {
    const { zone, by, measures } = this.#query;
    const iso = (timeMs: EpochMs) => (zone === "UTC" ? new Date(timeMs).toISOString() : isoInZone(timeMs, zone));
    return {
      bucket: iso(bucket),
      ...(ended === null ? {} : { ended: iso(ended), duration_ms: ended - bucket }),
      ...Object.fromEntries(by.map((name, index) => [name, plainDimension(this.#view, name, group[index] ?? null)])),
      ...Object.fromEntries(
        measures.map((name) => [name, this.#view.measures[name]?.plain.present(found(name)) ?? null]),
      ),
    };
  }

  #keyOf(row: Row): string {
    return JSON.stringify(Object.values(this.#place(row)));
  }

  #place(row: Row): Record<string, Presented> {
    // A table's key identifies the row: its bucket is only a number of the hash.
    const start = this.#view.table === null ? ["bucket"] : [];
    return Object.fromEntries([...start, ...this.#query.by].map((name) => [name, (row[name] ?? null) as Presented]));
  }

  #values(row: Row): Row {
    return Object.fromEntries([...this.#tallies.keys()].map((field) => [field, row[field] ?? null]));
  }

  #truths(plain: PlainRow): Record<string, Presented> {
    return Object.fromEntries(
      this.#query.measures.flatMap((name) => {
        const truth = this.#view.measures[name]?.plain.truth?.(plain.found(name));
        return truth === undefined ? [] : [[name, plainPresented(truth)]];
      }),
    );
  }
}

/** Returns a dimension's value, with the point in its place for a decimal. */
function plainDimension(view: View, name: string, value: GroupValue): GroupValue {
  const scale = dimensionScales(view).get(name) ?? 0;
  return scale === 0 || value === null ? value : plainDecimal(BigInt(value), scale);
}

/**
 * Whether a row of a table equals the one computed from its events: each column to the digit, or within the error that
 * its measure states. Columns that are not measures are parts of the key, or fields of the newest record.
 */
export function rowsAgree(view: View, served: Row | null, log: Row | null): boolean {
  if (served === null || log === null) return served === log;
  return Object.entries(log).every(([name, wanted]) => {
    const within = view.measures[name]?.plain.within;
    const given = served[name] ?? null;
    if (within === undefined || wanted === null || given === null) return same(given, wanted);
    return Object.entries(wanted as Record<string, Presented>).every(([part, exact]) => {
      const found = (given as Record<string, Presented>)[part] ?? null;
      return relativeError(found, exact) <= within + 1e-12;
    });
  });
}

/** Whether two values are equal to the digit. Both are JSON, and both sides write its keys in one order. */
function same(a: PresentedField, b: PresentedField): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Returns the relative error: 0 when equal, also for null and zero; infinite where only one is. */
function relativeError(given: Presented, exact: Presented): number {
  if (given === exact) return 0;
  if (given === null || exact === null || Number(exact) === 0) return Number.POSITIVE_INFINITY;
  return Math.abs(Number(given) - Number(exact)) / Math.abs(Number(exact));
}

function less(served: Difference["served"], log: Difference["log"]): Presented {
  if (typeof served === "number" && typeof log === "number") return served - log;
  const [a, b] = [integerOf(served), integerOf(log)];
  return a === null || b === null ? null : plainPresented(a - b);
}
