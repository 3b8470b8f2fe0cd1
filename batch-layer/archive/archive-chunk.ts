import { quoteText } from "../../core/contract/sql.ts";
import { TidelineError } from "../../core/errors.ts";
import type { TimeRange } from "../../core/interval.ts";
import type { ArchiveEntry } from "../../core/log/documents.ts";
import { type Position, position } from "../../core/log/position.ts";
import { Decoder, type ScannedBatch } from "../../store/decode/decoder.ts";
import { eventColumns } from "../../store/decode/events.ts";
import type { SpanSource } from "../../store/decode/span-events.ts";
import { warmDedup } from "../../store/decode/warm-dedup.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import type { FetchedPartition } from "../../store/kafka/read/log.ts";
import { type Reached, requireReached } from "../../store/kafka/read/log-check.ts";
import { type Mark, markAfter, withoutTopic } from "../../store/kafka/read/marks.ts";
import { numbersOf, parquet, withDuck } from "../duck-run.ts";
import { requireArchived } from "../log-checks.ts";
import type { BatchStores, StreamTarget, Watch } from "../stores.ts";
import type { ArchiveChunk } from "./archive-plan.ts";
import { eventTimesOf } from "./event-times.ts";
import { createOriginals, type OriginalTexts, originalTexts } from "./originals-table.ts";

export interface ChunkLimits {
  readonly fetchBytes: number;
  /**
   * The most bytes of keys and values in a file; a chunk that reaches it ends early. This bounds the memory of an
   * archiver.
   */
  readonly fileBytes: number;
}

export const CHUNK_LIMITS: ChunkLimits = { fetchBytes: 4 * 1024 * 1024, fileBytes: 64 * 1024 * 1024 };

export interface ChunkOutcome {
  readonly partition: number;
  readonly from: string;
  /**
   * The position where the archive continues. It is before the chunk's end if the chunk ended early, and may be
   * anywhere if another archiver was first.
   */
  readonly to: string;
  /** Whether this call made the entry. */
  readonly won: boolean;
  readonly records: number;
  readonly duplicates: number;
  readonly rejects: number;
  readonly control: number;
  readonly sizeBytes: number;
}

/**
 * Step 3 of a settlement (docs/internals/settlement.md) for one chunk: writes one Parquet file and its entry. Does
 * nothing unless the archive ends where the chunk begins. Only an entry created under this `from` can move that end, so
 * the process that creates it extends the archive without gap or overlap. Throws LOG_TRUNCATED when the log does not
 * continue the archive.
 */
export async function archiveChunk(
  stores: BatchStores,
  source: SpanSource,
  { chunk, limits = CHUNK_LIMITS }: { readonly chunk: ArchiveChunk; readonly limits?: ChunkLimits },
  watch: Watch,
): Promise<ChunkOutcome> {
  const { archive, data } = stores;
  const { topic, topicId } = source;
  const from = position(chunk.from);
  const reached = await archiveEnd(stores, source, chunk.partition, from);
  if (reached !== from) return outcome(chunk, { ...NOTHING, to: String(reached) }, false);
  const entry = await withDuck(stores, watch, (duck) =>
    new ChunkWriter(stores, source, duck, watch).write(chunk, limits),
  );
  watch.signal.throwIfAborted();
  try {
    // This check comes after the chunk was read. If the log continues the archive now, it also did so during the read.
    await requireArchived(stores, topic, topicId, chunk.partition);
  } catch (error) {
    if (entry.file !== null) await data.remove(entry.file);
    throw error;
  }
  if (await archive.create(topic, chunk.partition, entry))
    return outcome(chunk, { ...entry, to: String(entry.to) }, true);
  const winner = await archiveEnd(stores, source, chunk.partition, from);
  return outcome(chunk, { ...NOTHING, to: String(winner) }, false);
}

const NOTHING = { records: 0, duplicates: 0, rejects: 0, control: 0, sizeBytes: 0 };

function outcome(chunk: ArchiveChunk, made: typeof NOTHING & { to: string }, won: boolean): ChunkOutcome {
  const { to, records, duplicates, rejects, control, sizeBytes } = made;
  return { partition: chunk.partition, from: chunk.from, to, won, records, duplicates, rejects, control, sizeBytes };
}

/** Returns the end of a partition's archive. If the archive has not begun, it begins at `start`. */
async function archiveEnd(
  { archive }: BatchStores,
  { topic, topicId }: SpanSource,
  partition: number,
  start: Position,
): Promise<Position> {
  const last = (await archive.entries(topic, topicId, partition)).at(-1);
  return last === undefined ? archive.begin(topic, topicId, partition, start) : last.to;
}

/**
 * Higher compression levels take longer and hardly make files of records smaller. Bloom filters are for lookups of
 * single values, which the archive does not have.
 */
const PARQUET =
  "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, WRITE_BLOOM_FILTER false, ROW_GROUP_SIZE 100000)";

class ChunkWriter {
  readonly #stores: BatchStores;
  readonly #target: StreamTarget;
  readonly #topicId: string;
  readonly #duck: Duck;
  readonly #watch: Watch;

  constructor(stores: BatchStores, source: SpanSource, duck: Duck, watch: Watch) {
    this.#stores = stores;
    this.#target = source;
    this.#topicId = source.topicId;
    this.#duck = duck;
    this.#watch = watch;
  }

  /** Reads the chunk and writes its file; the entry is not published yet. */
  async write(chunk: ArchiveChunk, { fetchBytes, fileBytes }: ChunkLimits): Promise<ArchiveEntry> {
    const { stream } = this.#target;
    const { partition } = chunk;
    const from = position(chunk.from);
    const decoder = await Decoder.open(this.#duck, stream, this.#stores.schemas);
    const { topic } = this.#target;
    const window = {
      topic,
      topicId: this.#topicId,
      partition,
      stream,
      before: from,
    };
    await warmDedup(this.#stores, decoder, window);
    await this.#duck.run(
      `CREATE OR REPLACE TEMP TABLE chunk (${eventColumns(stream)}, _timestamp BIGINT, ` +
        "_key BLOB, _value BLOB, _headers BLOB, _contract INTEGER)",
    );
    let next = from;
    let sizeBytes = 0;
    let control = 0;
    let leaderEpoch = -1;
    let mark: Mark | null = null;
    const { log } = this.#stores;
    const { signal } = this.#watch;
    const source = log.read(topic, { partition, from: next, to: position(chunk.to) }, { maxBytes: fetchBytes, signal });
    for await (const { fetched, prepared } of oneAhead(prepare(decoder, source))) {
      // A later leader epoch may mean that the end of the log was lost and replaced. Then the records that were read
      // before may no longer be in the log.
      if (mark !== null && fetched.leaderEpoch > mark.leaderEpoch)
        await this.#requireRead(partition, { position: next, mark });
      if (prepared !== null) await this.#keep(decoder, fetched, prepared);
      next = fetched.to;
      sizeBytes += fetched.records.sizeBytes;
      control += fetched.control.length;
      leaderEpoch = fetched.leaderEpoch;
      mark = markAfter(fetched, this.#topicId, mark);
      this.#watch.beat({ partition, position: String(next), sizeBytes });
      if (sizeBytes >= fileBytes) break;
    }
    const { times, ...counts } = await this.#counts();
    const identity = {
      from,
      to: next,
      control,
      topicId: this.#topicId,
      leaderEpoch,
      contract: stream.revision,
      ...(mark === null ? {} : { mark: withoutTopic(mark) }),
    };
    if (counts.records === 0) return { ...identity, ...counts, file: null, checksum: null, sizeBytes: 0 };
    return { ...identity, ...counts, times, ...(await this.#file(partition, identity, counts.records)) };
  }

  async #requireRead(partition: number, reached: Reached): Promise<void> {
    const { log } = this.#stores;
    const { topic } = this.#target;
    const compared = { log, topic, topicId: this.#topicId, bounds: await log.bounds(topic, [partition]) };
    await requireReached(compared, [[partition, reached]]);
  }

  /** Adds a fetch to the table `chunk`, in the order of offsets. */
  async #keep(decoder: Decoder, fetched: FetchedPartition, { scanned, originals }: Prepared): Promise<void> {
    const { relation } = await decoder.decode([fetched], scanned);
    await createOriginals(this.#duck, originals);
    // Records that had to be decoded again come after the other rows.
    const [disordered = 0] = await numbersOf(this.#duck, `SELECT ${disorderedSql(relation)}`);
    const events = disordered === 0 ? relation : `(SELECT * FROM ${relation} ORDER BY _offset)`;
    await this.#duck.run(
      `INSERT INTO chunk BY NAME SELECT e.*, o.*, ${this.#target.stream.revision} AS ` +
        `_contract FROM ${events} e POSITIONAL JOIN originals o`,
    );
  }

  async #counts(): Promise<Pick<ArchiveEntry, "records" | "duplicates" | "rejects"> & { times: TimeRange | null }> {
    const [records = 0, duplicates = 0, rejects = 0] = await numbersOf(
      this.#duck,
      "SELECT count(*), count(*) FILTER (_duplicate), count(*) FILTER (_reject IS NOT NULL) FROM chunk",
    );
    return { records, duplicates, rejects, times: await eventTimesOf(this.#duck, this.#target.stream, "chunk") };
  }

  async #file(
    partition: number,
    { from, to }: { readonly from: Position; readonly to: Position },
    records: number,
  ): Promise<{ file: string; checksum: string; sizeBytes: number }> {
    const { data, archive } = this.#stores;
    const file = await data.attempt(
      archive.fileFolder(this.#target.topic, partition),
      `${String(from).padStart(19, "0")}-${to}`,
      "parquet",
    );
    try {
      await this.#duck.run(`COPY chunk TO ${quoteText(data.path(file))} ${PARQUET}`);
      const written = parquet(this.#stores, [file]);
      const [count, lowest, highest, disordered] = await numbersOf(
        this.#duck,
        "SELECT least(count(_offset), count(_timestamp)), min(_offset), " +
          `max(_offset), ${disorderedSql(written)} FROM ${written}`,
      );
      if (
        count !== records ||
        disordered !== 0 ||
        lowest === undefined ||
        BigInt(lowest) < from ||
        highest === undefined ||
        BigInt(highest) >= to
      ) {
        throw new TidelineError(
          "ARCHIVE_DAMAGED",
          `${file} holds ${count} records of [${lowest}, ${highest}], ${disordered} ` +
            `out of order, not ${records} of [${from}, ${to})`,
          "It was not published; see whether the disk is full or failing.",
        );
      }
      return { file, ...(await data.settle(file)) };
    } catch (error) {
      await data.remove(file);
      throw error;
    }
  }
}

/** The work on a fetch that can be done before its turn comes. */
interface Prepared {
  readonly scanned: ScannedBatch;
  readonly originals: OriginalTexts;
}

async function* prepare(
  decoder: Decoder,
  source: AsyncIterable<FetchedPartition>,
): AsyncGenerator<{ fetched: FetchedPartition; prepared: Prepared | null }> {
  for await (const fetched of source) {
    const { records } = fetched;
    const prepared =
      records.length === 0 ? null : { scanned: await decoder.scan([fetched]), originals: originalTexts(records) };
    yield { fetched, prepared };
  }
}

/** SQL: how many rows of a relation do not have a greater offset than the row before. */
function disorderedSql(relation: string): string {
  return (
    "(SELECT count(*) FILTER (_offset <= before) FROM (SELECT _offset, " +
    `lag(_offset) OVER () AS before FROM ${relation}))`
  );
}

/** Yields the values of a source. The next value is requested while the current one is being used. */
async function* oneAhead<T>(source: AsyncGenerator<T>): AsyncGenerator<T> {
  let next = source.next();
  try {
    for (;;) {
      const { done, value } = await next;
      if (done === true) return;
      next = source.next();
      // The caller that awaits it sees the error.
      next.catch(() => undefined);
      yield value;
    }
  } finally {
    await next.catch(() => undefined);
    await source.return(undefined);
  }
}
