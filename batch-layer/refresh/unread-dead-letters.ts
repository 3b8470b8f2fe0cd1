import { at, partitionsOf, position } from "../../core/log/position.ts";
import type { DeadLetters } from "../../store/dead-letters/letter-writer.ts";
import type { Rejected } from "../../store/decode/decoded-batch.ts";
import { bytesOf } from "../../store/decode/originals.ts";
import type { StreamSpan } from "../../store/decode/span-events.ts";
import { type Duck, rowsOf } from "../../store/duckdb/duck.ts";
import { parquet, withDuck } from "../duck-run.ts";
import type { BatchStores, Watch } from "../stores.ts";

/** The most bytes that are sent at once, which bounds memory. A larger record is sent alone. */
const PIECE_BYTES = 4 * 1024 * 1024;
const RECORD_BYTES = 200;

/**
 * Writes the dead letters of an archived span (invariant 12). The speed layer writes them as it reads. But if a cut
 * passed records that it has not read, because it was down or Redis was lost, nobody else would write them. A dead
 * letter that exists already is written again under the same id.
 */
export async function sendUnreadDeadLetters(
  stores: BatchStores,
  letters: DeadLetters,
  span: StreamSpan,
  watch: Watch,
): Promise<void> {
  const { topic, topicId, from, to } = span;
  await withDuck(stores, watch, async (duck) => {
    for (const partition of partitionsOf(from, to)) {
      const [first, last] = [at(from, partition), at(to, partition)];
      const entries = await stores.archive.covering(topic, topicId, { partition, from: first, to: last });
      for (const { file, rejects } of entries) {
        if (file === null || rejects === 0) continue;
        const source =
          `${parquet(stores, [file])} WHERE _reject IS NOT NULL AND ` + `_offset >= ${first} AND _offset < ${last}`;
        for await (const rejected of rejectedOf(duck, source, partition)) {
          watch.signal.throwIfAborted();
          await letters.send(span, rejected);
        }
      }
    }
  });
}

/** Yields the rejects among some rows of the archive, in order and in bounded pieces. */
async function* rejectedOf(duck: Duck, source: string, partition: number): AsyncGenerator<Rejected[]> {
  const sizes =
    `SELECT _offset, sum(coalesce(octet_length(_value), 0) + ${RECORD_BYTES}) OVER ` +
    `(ORDER BY _offset) // ${PIECE_BYTES} AS piece FROM ${source}`;
  const pieces = await rowsOf(duck, `SELECT min(_offset), max(_offset) FROM (${sizes}) GROUP BY piece ORDER BY piece`);
  for (const [first, last] of pieces) {
    const rows = await rowsOf(
      duck,
      `SELECT _offset, _reject, _key, _value FROM ${source} AND _offset BETWEEN ${first} AND ${last} ORDER BY _offset`,
    );
    yield rows.map(([offset, reject, key, value]) => ({
      partition,
      offset: position(offset as bigint),
      reject: String(reject) as Rejected["reject"],
      key: bytesOf(key),
      value: bytesOf(value),
    }));
  }
}
