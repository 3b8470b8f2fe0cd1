import { isDeepStrictEqual } from "node:util";
import { decodingChanges } from "../../core/contract/contract-change.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { streamDocument } from "../../core/contract/stream-document.ts";
import type { Generation } from "../../core/definition/generation.ts";
import { viewChanges } from "../../core/definition/view-change.ts";
import { viewDocument } from "../../core/definition/view-document.ts";
import { TidelineError } from "../../core/errors.ts";
import { at } from "../../core/log/position.ts";
import { Contracts } from "../definitions/contracts.ts";
import type { Definition, Definitions } from "../definitions/definitions.ts";
import { Generations } from "../definitions/generations.ts";
import type { Duck } from "../duckdb/duck.ts";
import { topicOf } from "../kafka/cluster/topics.ts";
import { spanFrom } from "../records/log-start.ts";
import { archivedStart } from "./archived-start.ts";
import { compareReadings, type ReadingKind } from "./compare-readings.ts";
import { compareViews, type ViewDifferences } from "./compare-views.ts";
import type { Finding } from "./findings.ts";
import { type CheckSources, Readings, type ReadRecords } from "./readings.ts";

/** `new`: no generation of it runs. `removed`: it runs, and no file defines it. */
export type CheckStatus = "same" | "changed" | "new" | "removed";

/** The effects of a stream's file on the records of its log. */
export interface StreamCheck {
  readonly stream: string;
  readonly topic: string;
  readonly status: CheckStatus;
  /** The differences between the contracts: one sentence per property. */
  readonly changes: readonly string[];
  /** The reasons why the roles would refuse to start: one sentence per reason. */
  readonly refusals: readonly string[];
  /** Null if no records had to be read. */
  readonly read: ReadRecords | null;
  readonly findings: readonly Finding<ReadingKind>[];
}

/** The effects of a view's file on the same records. */
export interface ViewCheck {
  readonly view: string;
  readonly stream: string;
  readonly status: CheckStatus;
  readonly served: Generation | null;
  readonly file: Generation | null;
  readonly changes: readonly string[];
  /** The dimensions and measures that only one of the two has. */
  readonly notCompared: readonly string[];
  readonly read: ReadRecords | null;
  readonly differences: ViewDifferences | null;
}

/** The comparison of the definitions in files with those that run. */
export interface CheckReport {
  /** True if all records are read and counted as before, no view is gone, and the roles would start. */
  readonly same: boolean;
  readonly last: number;
  readonly streams: readonly StreamCheck[];
  readonly views: readonly ViewCheck[];
}

export interface CheckRequest {
  readonly definitions: Definitions;
  readonly namespace: string;
  /** The number of newest records of each stream to read. */
  readonly last: number;
  /** Only this view and its stream. Null: everything. */
  readonly view: string | null;
  readonly signal: AbortSignal;
  readonly onRecords: (records: number) => void;
}

/** The two definitions of a view. */
interface Pair {
  readonly name: string;
  readonly served: Definition | null;
  readonly file: Definition | null;
}

/**
 * Compares the definitions of files with those that run, over the newest records of the log. Writes nothing. Throws
 * NOT_READY when nothing runs here yet, VIEW_UNKNOWN, GENERATION_UNREADABLE, and the errors of reading log and archive.
 */
export async function checkDefinitions(sources: CheckSources, request: CheckRequest): Promise<CheckReport> {
  const check = new Check(sources, request);
  const pairs = await check.pairs();
  const duck = await sources.pool.connect();
  try {
    const streams: StreamCheck[] = [];
    const views: ViewCheck[] = [];
    for (const stream of check.streamsOf(pairs)) streams.push(await check.stream(duck, stream, pairs));
    for (const pair of pairs) views.push(await check.view(duck, pair));
    const streamsDiffer = streams.some(({ findings, refusals }) => findings.length + refusals.length > 0);
    const differs = streamsDiffer || views.some(isDifferent);
    return { same: !differs, last: request.last, streams, views };
  } finally {
    duck.closeSync();
  }
}

function isDifferent({ status, differences }: ViewCheck): boolean {
  if (differences === null) return status === "removed" || status === "changed";
  return differences.cells.different + differences.records.length > 0;
}

class Check {
  readonly #sources: CheckSources;
  readonly #request: CheckRequest;
  readonly #contracts: Contracts;
  readonly #generations: Generations;
  /** By the stream's name. */
  readonly #readings = new Map<string, Promise<Readings>>();

  constructor(sources: CheckSources, request: CheckRequest) {
    this.#sources = sources;
    this.#request = request;
    this.#contracts = new Contracts(sources.data);
    this.#generations = new Generations(sources.data);
  }

  /** Returns the views that are checked, by name. */
  async pairs(): Promise<Pair[]> {
    const { definitions, view } = this.#request;
    const served = await this.#generations.views();
    const names = [...new Set([...definitions.views.keys(), ...served])].sort();
    if (view !== null && !names.includes(view))
      throw new TidelineError(
        "VIEW_UNKNOWN",
        `there is no view "${view}"`,
        `There are: ${names.join(", ") || "none"}.`,
      );
    const all = await Promise.all(
      names
        .filter((name) => view === null || name === view)
        .map(async (name) => {
          const record = await this.#generations.record(name);
          const running = record === null ? null : await this.#generations.definition(record.generation);
          return { name, served: running, file: definitions.views.get(name) ?? null };
        }),
    );
    const pairs = all.filter(({ served, file }) => served !== null || file !== null);
    if (served.length === 0)
      throw new TidelineError(
        "NOT_READY",
        "nothing runs here yet, so there is nothing to compare with",
        "Start Tideline with the definitions as they were (`tideline up`), or set TIDELINE_HOME to where it runs.",
      );
    return pairs;
  }

  streamsOf(pairs: readonly Pair[]): Stream[] {
    const { definitions, view } = this.#request;
    const read = new Set(pairs.flatMap(({ file, served }) => [file?.view.stream.name, served?.view.stream.name]));
    return [...definitions.streams.values()].filter(({ name }) => view === null || read.has(name));
  }

  async stream(duck: Duck, stream: Stream, pairs: readonly Pair[]): Promise<StreamCheck> {
    const { name } = stream;
    const plain = { stream: name, topic: topicOf(this.#request.namespace, stream), findings: [], read: null };
    const running = await this.#runningOf(name, pairs);
    if (running === null) return { ...plain, status: "new", changes: [], refusals: [] };
    const changes = contractChanges(running, stream);
    const moves = await this.#contracts.moves([stream]);
    const refusals = [...moves, ...(await this.#contracts.changes([stream]))];
    if (changes.length === 0 || moves.length > 0)
      return { ...plain, status: changes.length + moves.length === 0 ? "same" : "changed", changes, refusals };
    const readings = await this.#readingsOf(stream);
    const found = await compareReadings(
      duck,
      { stream: running, table: await readings.by(running) },
      { stream, table: await readings.by(await this.#raised(stream)) },
    );
    return { ...plain, status: "changed", changes, refusals, read: readings.read, findings: found };
  }

  async view(duck: Duck, { name, served, file }: Pair): Promise<ViewCheck> {
    const plain = {
      view: name,
      stream: (file ?? served)?.view.stream.name ?? "",
      served: served?.generation ?? null,
      file: file?.generation ?? null,
      ...{ changes: [], notCompared: [], read: null, differences: null },
    };
    if (served === null) return { ...plain, status: "new" };
    if (file === null) return { ...plain, status: "removed" };
    const [before, after] = [viewDocument(served.view), viewDocument(file.view)];
    const changes = viewChanges(before, after);
    const readsAlike = contractChanges(served.view.stream, file.view.stream).length === 0;
    const other = incomparable(served, file);
    if (other !== null) return { ...plain, status: "changed", changes: [other, ...changes] };
    if (changes.length === 0 && readsAlike) return { ...plain, status: "same" };
    const readings = await this.#readingsOf(file.view.stream);
    const differences = await compareViews(
      duck,
      { view: served.view, table: await readings.by(served.view.stream) },
      { view: file.view, table: await readings.by(await this.#raised(file.view.stream)) },
    );
    return { ...plain, status: "changed", changes, notCompared: apart(served, file), read: readings.read, differences };
  }

  /**
   * Returns the contract by which a stream's records are read at present: that of its served views, else the newest
   * stored one.
   */
  async #runningOf(name: string, pairs: readonly Pair[]): Promise<Stream | null> {
    const served = pairs.flatMap(({ served }) => (served?.view.stream.name === name ? [served.view.stream] : []));
    const [newest] = served.sort((a, b) => b.revision - a.revision);
    return newest ?? this.#contracts.newest(name);
  }

  /**
   * Returns a contract with the next revision if it decodes otherwise under the same revision, because records archived
   * under that revision were decoded by the other contract.
   */
  async #raised(stream: Stream): Promise<Stream> {
    const isTaken = (await this.#contracts.changes([stream])).length > 0;
    return isTaken ? { ...stream, revision: stream.revision + 1 } : stream;
  }

  #readingsOf(stream: Stream): Promise<Readings> {
    const known = this.#readings.get(stream.name) ?? this.#open(stream);
    this.#readings.set(stream.name, known);
    return known;
  }

  async #open(stream: Stream): Promise<Readings> {
    const { namespace, last, signal, onRecords } = this.#request;
    const topic = topicOf(namespace, stream);
    const { log, pool } = this.#sources;
    const { id: topicId } = await log.topic(topic);
    const { start } = await log.readableBounds(topic);
    const span = await spanFrom(log, topic, { kind: "last", records: last });
    const missing = [...span.to].reduce((left, [partition, to]) => left - Number(to - at(start, partition)), last);
    const duck = await pool.connect();
    try {
      const archived =
        missing > 0 ? await archivedStart(this.#sources, duck, { topic, topicId, start }, missing) : new Map();
      const from = new Map([...span.from, ...archived]);
      return new Readings(this.#sources, { topic, topicId, start, span: { from, to: span.to } }, { signal, onRecords });
    } finally {
      duck.closeSync();
    }
  }
}

function contractChanges(before: Stream, after: Stream): string[] {
  const [was, is] = [streamDocument(before), streamDocument(after)];
  return isDeepStrictEqual(was, is) ? [] : decodingChanges(was, is);
}

/** Returns why the rows of two definitions cannot be compared. Null if they can. */
function incomparable({ view: a }: Definition, { view: b }: Definition): string | null {
  const kind = (view: typeof a) => (view.table === null ? "a view" : "a table");
  if (a.stream.name !== b.stream.name) return `its stream was ${a.stream.name} and is now ${b.stream.name}`;
  return kind(a) === kind(b) ? null : `it was ${kind(a)} and is now ${kind(b)}`;
}

/** Returns the names that only one of two views has. */
function apart({ view: a }: Definition, { view: b }: Definition): string[] {
  const only = (one: object, other: object) => Object.keys(one).filter((name) => !Object.hasOwn(other, name));
  return [...only(a.by, b.by), ...only(b.by, a.by), ...only(a.measures, b.measures), ...only(b.measures, a.measures)];
}
