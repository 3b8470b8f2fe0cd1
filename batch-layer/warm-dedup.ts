import { at, type Position, position } from "../core/position.ts";
import type { Decoder } from "../store/decoder.ts";
import { parquet } from "./duck-run.ts";
import type { BatchStores, StreamTarget } from "./stores.ts";

const FETCH_BYTES = 4 * 1024 * 1024;

/**
 * Tells the decoder the ids of the dedup window before `from` (invariant 4): from the archive, which is contiguous up
 * to there, and from the log for what lies before the archive's beginning.
 */
export async function warmDedup(
  stores: BatchStores,
  target: StreamTarget,
  topicId: string,
  decoder: Decoder,
  partition: number,
  from: Position,
): Promise<void> {
  const { archive, log } = stores;
  const { topic, stream } = target;
  const window = BigInt(stream.dedupWindow);
  const begin = position(from > window ? from - window : 0n);
  if (begin === from) return;
  const [oldest] = await archive.entries(topic, topicId, partition);
  const archiveBegins = position(oldest?.from ?? from);
  if (archiveBegins > begin) {
    const logStart = at((await log.bounds(topic)).start, partition);
    for await (const fetched of log.read(
      topic,
      partition,
      logStart > begin ? logStart : begin,
      archiveBegins,
      FETCH_BYTES,
    ))
      await decoder.decode([fetched]);
  }
  const first = archiveBegins > begin ? archiveBegins : begin;
  const files = (await archive.covering(topic, topicId, partition, first, from)).flatMap(({ file }) =>
    file === null ? [] : [file],
  );
  if (files.length > 0)
    await decoder.remember(
      `(SELECT _partition, _offset, _id FROM ${parquet(stores, files)} WHERE _offset >= ${first} AND _offset < ${from})`,
    );
}
