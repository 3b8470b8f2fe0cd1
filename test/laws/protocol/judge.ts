import { at, type Cut, cutReached, cutsEqual, type Position, partitionsOf } from "../../../core/log/position.ts";
import type { ReadAnswer } from "../../../serving/read/reading.ts";
import {
  differenceOf,
  expectedRows,
  type Model,
  type OracleLog,
  type OracleRecord,
  rowKey,
} from "../../fixtures/oracles/oracle.ts";
import { generation, target } from "./environment.ts";
import { memoryFiles } from "./memory-files.ts";
import { PARTITIONS, type Parcel } from "./parcels.ts";
import type { SimulationState } from "./simulation-state.ts";

/** A log that answers may be of. */
interface OracleState {
  readonly records: OracleLog;
  readonly stable: Cut;
}

export type PartitionLog = readonly OracleRecord[];

/** Compares the answers of a simulation with a plain fold of its log at their own positions. */
export class Judge {
  readonly #state: SimulationState;
  /** The logs that an answer at this cut may be of. */
  logs: (cut: Cut) => readonly OracleState[] = () => [this.present()];
  /** Each is right. */
  readonly answers: ReadAnswer[] = [];
  /** Of the second view: right too. */
  readonly secondAnswers: ReadAnswer[] = [];

  constructor(state: SimulationState) {
    this.#state = state;
  }

  /** Is an answer the fold of the log at its own position? */
  check(answer: ReadAnswer, model: Model<Parcel>): void {
    if (answer.missing !== null && !cutsEqual(answer.applied, answer.cut))
      throw new Error(`incomplete and not at its cut: ${this.describe(answer)}`);
    const wrong = this.logs(answer.cut).map((log) => this.#differences(answer, model, log));
    const [first = []] = wrong;
    if (wrong.every(({ length }) => length > 0))
      throw new Error(`wrong: ${this.describe(answer)}\n  ${first.join("\n  ")}`);
  }

  /** The log as it is, but for a partition that is given. */
  present(partition?: number, other?: { readonly records: PartitionLog; readonly stable: Position }): OracleState {
    const [records, stable] = [new Map(this.#state.log.committed()), new Map(this.#state.log.stable)];
    if (partition !== undefined && other !== undefined) {
      records.set(partition, other.records);
      stable.set(partition, other.stable);
    }
    return { records, stable };
  }

  #differences(answer: ReadAnswer, model: Model<Parcel>, { records, stable }: OracleState): string[] {
    if (!cutReached(answer.applied, answer.cut) || !cutReached(stable, answer.applied))
      return ["no position that there is"];
    const expected = expectedRows(model, records, answer.applied);
    const wrong: string[] = [];
    for (const row of answer.rows) {
      const key = rowKey(Date.parse(String(row.bucket)), [String(row.place)]);
      const want = expected.get(key);
      expected.delete(key);
      const differs = want === undefined ? "no such row" : differenceOf(row, want);
      const colours = want?.seen.colours?.size;
      if (differs !== "") wrong.push(`${key}: ${differs}`);
      else if (row.colours !== colours) wrong.push(`${key}: colours: ${row.colours}, not ${colours}`);
    }
    for (const key of expected.keys()) wrong.push(`${key}: missing`);
    return wrong;
  }

  /** The log as it was, and from where it was accepted on as it is. */
  accepted(was: PartitionLog, partition: number): OracleState {
    const folder = `archive/${target.topic}/${partition}/continuations/`;
    const newest = [...this.#state.documents.keys()]
      .filter((name) => name.startsWith(folder))
      .sort()
      .at(-1);
    const { from } = JSON.parse(this.#state.documents.get(newest ?? "") ?? '{"from":"0"}') as { from: string };
    const now = this.#state.log.committed().get(partition) ?? [];
    const records = [
      ...was.filter(({ offset }) => offset < BigInt(from)),
      ...now.filter(({ offset }) => offset >= BigInt(from)),
    ];
    return this.present(partition, { records, stable: at(this.#state.log.stable, partition) });
  }

  /** Versions follow each other without gap or overlap, and a cut never moves back. */
  async checkVersions(): Promise<void> {
    const { protocol } = this.#state.environment;
    const manifests = new protocol.Manifests(memoryFiles(protocol, this.#state.folder, this.#state.documents));
    const newest = await manifests.newest(generation);
    for (let version = 1; version <= (newest?.version ?? 0); version++) {
      const [before, manifest] = [
        await manifests.version(generation, version - 1),
        await manifests.version(generation, version),
      ];
      if (before === null || manifest === null) throw new Error(`version ${version} is not there`);
      if (!cutsEqual(before.cut, manifest.base) || !cutReached(manifest.cut, manifest.base))
        throw new Error(`version ${version} does not follow the one before`);
    }
  }

  describe({ manifest, cut, applied, missing }: ReadAnswer): string {
    const state = missing === null ? "" : `, incomplete: ${missing.code}`;
    return `version ${manifest.version} at ${shownCut(cut)}, applied ${shownCut(applied)}${state}`;
  }
}

export function shownCut(cut: Cut): string {
  return `[${partitionsOf(cut, new Map(PARTITIONS.map((partition) => [partition, at(cut, partition)])))
    .map((partition) => at(cut, partition))
    .join(" ")}]`;
}
