import { LogTail, type TailRecord } from "./log-tail.ts";
import type { TableFold } from "./table-fold.ts";
import type { Positions, ViewFold } from "./view-fold.ts";
import { contract, openFolds, openTableFolds, type Tick } from "./view-models.ts";

/** What became of one record, by the contract alone. `counted` has a bit for each view or table that counts it. */
interface Fate {
  readonly offset: bigint;
  readonly kind: "valid" | "duplicate" | "reject";
  readonly counted: number;
}

export interface Ledger {
  records: number;
  duplicates: number;
  rejects: number;
  counted: number;
  filtered: number;
}

/**
 * What every view and table must answer at any position: a plain fold of the log, which another client reads.
 * Nothing of the engine is in it.
 */
export class Oracle {
  readonly tail: LogTail;
  readonly #folds = new Map<string, ViewFold<Tick>>();
  readonly #tables = new Map<string, TableFold<Tick>>();
  readonly #fates = new Map<number, Fate[]>();
  readonly #lastSeen = new Map<number, Map<string, bigint>>();
  readonly #rejects = new Map<string, Buffer | null>();

  constructor(brokers: string, topic: string) {
    for (const fold of openFolds()) this.#folds.set(fold.view, fold);
    for (const fold of openTableFolds()) this.#tables.set(fold.table, fold);
    this.tail = new LogTail(brokers, topic, (record) => this.#take(record));
  }

  /** All views; a table is one too. */
  get views(): readonly string[] {
    return [...this.#folds.keys(), ...this.#tables.keys()];
  }

  isTable(name: string): boolean {
    return this.#tables.has(name);
  }

  table(name: string): TableFold<Tick> {
    const found = this.#tables.get(name);
    if (found === undefined) throw new Error(`the oracle has no table ${name}`);
    return found;
  }

  fold(view: string): ViewFold<Tick> {
    const found = this.#folds.get(view);
    if (found === undefined) throw new Error(`the oracle has no view ${view}`);
    return found;
  }

  /** The end of the log, as far as the oracle has read it. */
  get ends(): Positions {
    return this.tail.ends;
  }

  /** All committed records, whether they were counted or not. */
  get read(): number {
    return [...this.#fates.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /** Records that do not decode, by `partition:offset`. */
  get rejects(): ReadonlyMap<string, Buffer | null> {
    return this.#rejects;
  }

  /** What became of the records of `[from, to)` in a partition, for one view. */
  ledger(view: string, from: Positions, to: Positions): Ledger {
    const bit = 1 << this.views.indexOf(view);
    const ledger: Ledger = { records: 0, duplicates: 0, rejects: 0, counted: 0, filtered: 0 };
    for (const [partition, fates] of this.#fates) {
      for (const { offset, kind, counted } of fates) {
        if (offset < (from.get(partition) ?? 0n) || offset >= (to.get(partition) ?? 0n)) continue;
        ledger.records += 1;
        if (kind === "duplicate") ledger.duplicates += 1;
        else if (kind === "reject") ledger.rejects += 1;
        else if ((counted & bit) !== 0) ledger.counted += 1;
        else ledger.filtered += 1;
      }
    }
    return ledger;
  }

  async close(): Promise<void> {
    await this.tail.close();
  }

  #take({ partition, offset, key, value }: TailRecord): void {
    const fates = this.#fates.get(partition) ?? [];
    this.#fates.set(partition, fates);
    const tombstone = value === null ? contract.tombstoneKey(key) : null;
    if (tombstone !== null) {
      const place = { timeMs: 0, partition, offset };
      fates.push({ offset, kind: "valid", counted: this.#counted((table) => table.add({ tombstone }, place)) });
      return;
    }
    const event = contract.decode(value);
    if (event === null) {
      this.#rejects.set(`${partition}:${offset}`, value);
      fates.push({ offset, kind: "reject", counted: 0 });
      return;
    }
    const lastSeen = this.#lastSeen.get(partition) ?? new Map<string, bigint>();
    this.#lastSeen.set(partition, lastSeen);
    const before = lastSeen.get(event.id);
    lastSeen.set(event.id, offset);
    if (before !== undefined && offset - before <= BigInt(contract.dedupWindow)) {
      fates.push({ offset, kind: "duplicate", counted: 0 });
      return;
    }
    const place = { timeMs: event.at, partition, offset };
    const counted = this.#counted(
      (table) => table.add({ event }, place),
      (view) => view.add(event, partition, offset),
    );
    fates.push({ offset, kind: "valid", counted });
  }

  /** A bit for each view and table that counts a record, in the order of `views`. */
  #counted(
    byTable: (fold: TableFold<Tick>) => boolean,
    byView: (fold: ViewFold<Tick>) => boolean = () => false,
  ): number {
    const all = [...[...this.#folds.values()].map(byView), ...[...this.#tables.values()].map(byTable)];
    return all.reduce((bits, isCounted, index) => (isCounted ? bits | (1 << index) : bits), 0);
  }
}
