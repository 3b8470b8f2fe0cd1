import { isTidelineError, TidelineError } from "../../core/errors.ts";
import type { TimeRange } from "../../core/interval.ts";
import type { AsOf } from "../../core/log/as-of.ts";
import type { EpochMs } from "../../core/log/position.ts";
import { plainExtent, plainSample } from "../../core/proof/plain.ts";
import { RowComparison, type ServedRow } from "../../core/proof/proof.ts";
import type { GivenAnswer } from "../../core/proof/proof-answer.ts";
import type { Proof, ProvenAnswer } from "../../core/proof/proof-result.ts";
import type { Query } from "../../core/query/query.ts";
import { bucketOf, LAST_INSTANT } from "../../core/time.ts";
import type { Manifests } from "../../store/archive/manifests.ts";
import { RawEvents, spanRecords } from "../../store/decode/raw-events.ts";
import type { DedupSources } from "../../store/decode/warm-dedup.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { type Duck, rowsOf } from "../../store/duckdb/duck.ts";
import { plainRows } from "../../store/duckdb/plain-rows.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import { answerStatus } from "../answer/answer.ts";
import { askLess } from "../common/refusals.ts";
import { inTurns } from "../common/turns.ts";
import type { ViewStatuses } from "../read/live/view-status.ts";
import type { Reader } from "../read/reader.ts";
import type { Reading } from "../read/reading.ts";
import { PIECE_BYTES, positionGone } from "../read/recomputations.ts";
import { LogWork } from "./log-work.ts";
import { givenAnswers, servedRows, withCsv } from "./proof-answers.ts";

export interface ProofsOptions {
  readonly sources: DedupSources;
  readonly manifests: Manifests;
  readonly statuses: ViewStatuses;
  readonly reader: Reader;
  readonly brokers: string;
  readonly namespace: string;
  readonly threads: number;
  readonly memoryLimitMb: number;
  /** A proof that takes longer is given up. */
  readonly timeoutMs: number;
}

export interface ProofRequest {
  readonly definition: Definition;
  /** Its limit and order are not used: a proof tries limits and orders of its own. */
  readonly query: Query;
  /** The position of an earlier answer; null for the newest. */
  readonly at: AsOf | null;
  /** Prove this many buckets, chosen at random; null: everything between from and to. */
  readonly sample: number | null;
  /** Whether to decode archived records again; null: yes, unless there are too many. */
  readonly deep: boolean | null;
  /** How many rows to show in the result. */
  readonly rows: number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: ProofProgress) => void;
}

/** How many records were read, and about how many there are. */
export interface ProofProgress {
  readonly done: number;
  readonly total: number;
}

/** At most this many records are decoded again by default: this takes seconds. */
const DEEP_RECORDS = 3_000_000;
/** At most this many records are decoded again on request. */
const MAX_DEEP_RECORDS = 50_000_000;
/** At most about this many rows of answers are held until the log is read up to their positions. */
const HELD_ROWS = 50_000;

interface Answered {
  readonly range: TimeRange;
  readonly reading: Reading;
  readonly rows: readonly ServedRow[];
  readonly given: readonly GivenAnswer[];
}

/**
 * Runs proofs, one at a time. A proof compares a served answer with plain SQL over the raw log at the answer's
 * position.
 */
export class Proofs {
  readonly #options: ProofsOptions;
  readonly #work: LogWork;

  constructor(options: ProofsOptions) {
    this.#options = options;
    this.#work = new LogWork({ ...options, called: "proof" });
  }

  /** Throws as `LogWork.run`, and GENERATION_FROZEN for a view that another release computed. */
  prove(request: ProofRequest): Promise<Proof> {
    return this.#work.run(request.signal, (duck, signal) => {
      if (request.definition.frozen) throw frozen(request.definition);
      return new OneProof(this.#options, { ...request, signal }, duck).run();
    });
  }

  /** Ends the running proof. */
  close(): Promise<void> {
    return this.#work.close();
  }
}

class OneProof {
  readonly #options: ProofsOptions;
  readonly #request: ProofRequest;
  readonly #duck: Duck;
  readonly #comparison: RowComparison;
  readonly #answers: ProvenAnswer[] = [];
  #done = 0;

  constructor(options: ProofsOptions, request: ProofRequest, duck: Duck) {
    this.#options = options;
    this.#request = request;
    this.#duck = duck;
    this.#comparison = new RowComparison(request.definition.view, request.query, request.rows);
  }

  /**
   * Reads the log first, because that takes long, and the answers second. So the answers are those that are served now,
   * and few records are left to read up to their positions.
   */
  async run(): Promise<Proof> {
    const { statuses, manifests, sources, namespace } = this.#options;
    const { definition, at, deep, signal, onProgress } = this.#request;
    const { view, generation } = definition;
    const genesis = await manifests.version(generation, 0);
    const { applied } = at ?? (await statuses.find(definition));
    if (genesis === null) throw positionGone("where this generation of the view begins is not known any more");
    const source = { stream: view.stream, topic: topicOf(namespace, view.stream), topicId: genesis.topicId };
    const start = genesis.cut;
    const total = await spanRecords(sources, source, start, applied);
    const decodeAgain = deep ?? total <= DEEP_RECORDS;
    if (decodeAgain && total > MAX_DEEP_RECORDS) throw tooDeep(total);
    const onRecords = (records: number) => {
      this.#done += records;
      onProgress({ done: this.#done, total: Math.max(total, this.#done) });
    };
    const reading = { signal, decodeAgain, onRecords, pieceBytes: PIECE_BYTES };
    const events = await RawEvents.open(sources, this.#duck, { ...source, start }, reading);
    await events.reach(applied);
    await this.#compareAll(events, events.below(applied));
    const compared = this.#comparison.result();
    const equal = compared.mismatches === 0;
    const records = decodeAgain ? this.#done : Math.max(this.#done, total);
    return {
      view: view.name,
      equal,
      answers: this.#answers,
      records,
      decoded: decodeAgain ? "anew" : "archived",
      ...compared,
    };
  }

  async #compareAll(events: RawEvents, known: string): Promise<void> {
    const left = await this.#ranges(known);
    let held: Answered[] = [];
    for (let range = left.shift(); range !== undefined; range = left.shift()) {
      const answered = await this.#answer(range);
      if (answered === null) left.unshift(...(await this.#halves(range, known)));
      else held.push(answered);
      if (left.length > 0 && held.reduce((sum, { rows }) => sum + rows.length, 0) < HELD_ROWS) continue;
      for (const { reading } of held) await events.reach(reading.applied);
      for (const one of held) await this.#compare(one, events.below(one.reading.applied));
      held = [];
    }
  }

  async #compare({ range, reading, rows, given }: Answered, events: string): Promise<void> {
    const { definition, query, at } = this.#request;
    this.#request.signal.throwIfAborted();
    const logged = await plainRows(this.#duck, { view: definition.view, query, range, events });
    this.#comparison.add(rows, logged, given, reading);
    const { asOf, position, complete } = answerStatus(definition, reading, at);
    const iso = (timeMs: EpochMs) => (Math.abs(timeMs) >= LAST_INSTANT ? null : new Date(timeMs).toISOString());
    this.#answers.push({ asOf, position, complete, rows: rows.length, from: iso(range.fromMs), to: iso(range.toMs) });
  }

  /** Returns null if the answer for the range is too large. */
  async #answer(range: TimeRange): Promise<Answered | null> {
    const { reader } = this.#options;
    const { definition, query, at } = this.#request;
    try {
      const reading = await reader.read(definition, { ...query, ...range }, { at: at?.applied ?? null });
      const rows = await inTurns(servedRows(definition.view, query, reading), reading.budget);
      const given = await inTurns(givenAnswers(definition.view, query, reading, rows.length), null);
      return { range, reading, rows, given: await withCsv(definition.view, query, given) };
    } catch (error) {
      if (isTidelineError(error, "TOO_LARGE") && canBeHalved(query)) return null;
      throw error;
    }
  }

  /** Returns the ranges to prove: everything between from and to, or a random sample. */
  async #ranges(known: string): Promise<TimeRange[]> {
    const { definition, query, sample } = this.#request;
    const { view } = definition;
    const range = { fromMs: query.fromMs ?? bucketOf(-LAST_INSTANT, view.grainMs), toMs: query.toMs ?? LAST_INSTANT };
    const widthMs = view.sessions === null && query.calendar === null ? query.everyMs : view.grainMs;
    if (sample !== null) {
      const grains = await rowsOf(this.#duck, plainSample(view, range, known, sample));
      return slices(
        grains.map(([grain]) => bucketOf(Number(grain), widthMs)),
        widthMs,
        range,
      );
    }
    if (query.calendar === null || (query.fromMs !== null && query.toMs !== null)) return [range];
    // A calendar cannot be computed for all time, so the range goes from the first event to the last.
    const { first, last } = await this.#extent(range, known);
    return first === null || last === null
      ? []
      : [{ fromMs: query.fromMs ?? first, toMs: query.toMs ?? last + view.grainMs }];
  }

  /** Cuts a range between two rows, so that about half of the events lie on either side. */
  async #halves(range: TimeRange, known: string): Promise<TimeRange[]> {
    const { everyMs } = this.#request.query;
    const { first, middle, last } = await this.#extent(range, known);
    const cut = bucketOf(middle ?? 0, everyMs);
    const found = cut > (first ?? 0) && cut > range.fromMs ? cut : cut + everyMs;
    if (first === null || last === null || found > last || found >= range.toMs) throw tooMuchInOneRow();
    return [
      { fromMs: range.fromMs, toMs: found },
      { fromMs: found, toMs: range.toMs },
    ];
  }

  async #extent(range: TimeRange, known: string) {
    const [row = []] = await rowsOf(this.#duck, plainExtent(this.#request.definition.view, range, known));
    const [first = null, middle = null, last = null] = row.map((grain) => (grain === null ? null : Number(grain)));
    return { first, middle, last };
  }
}

/** Returns the ranges of `widthMs` that begin at these starts, cut to `range`. Adjacent ranges become one. */
function slices(starts: readonly EpochMs[], widthMs: number, range: TimeRange): TimeRange[] {
  const found: TimeRange[] = [];
  for (const start of [...new Set(starts)].sort((a, b) => a - b)) {
    const last = found.at(-1);
    const slice = { fromMs: Math.max(range.fromMs, start), toMs: Math.min(range.toMs, start + widthMs) };
    if (last?.toMs === slice.fromMs) found[found.length - 1] = { ...last, toMs: slice.toMs };
    else found.push(slice);
  }
  return found;
}

/** A calendar's first and last rows depend on the range, so its range cannot be halved. */
function canBeHalved({ calendar }: Query): boolean {
  return calendar === null;
}

function tooMuchInOneRow(): TidelineError {
  const wrong = { parameter: "every", problem: "too much in one row of time", allowed: "where[dimension], measures" };
  return new TidelineError("TOO_LARGE", "a single row of time is too large to be compared", "", {
    parameters: [wrong],
  });
}

function tooDeep(records: number): TidelineError {
  const [needed, most] = [records, MAX_DEEP_RECORDS].map((count) => count.toLocaleString("en-US"));
  const problem = `the log has ${needed} records; at most ${most} are decoded again for one proof`;
  const allowed = "deep=false, which takes what was read when they were archived";
  return askLess({ parameter: "deep", problem, allowed });
}

function frozen({ generation }: Definition): TidelineError {
  const message = `${generation} was computed by another release: what this one computes proves nothing of it`;
  return new TidelineError("GENERATION_FROZEN", message, "");
}
