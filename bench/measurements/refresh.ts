import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { archiveChunk } from "../../batch-layer/archive/archive-chunk.ts";
import { mergeEntries, planCompaction } from "../../batch-layer/archive/archive-compact.ts";
import { planStream } from "../../batch-layer/archive/archive-stream.ts";
import { sweepArchive } from "../../batch-layer/archive/archive-sweep.ts";
import { writeDelta } from "../../batch-layer/refresh/delta.ts";
import { checkDelta, finishPublish, publishDelta } from "../../batch-layer/refresh/refresh.ts";
import { sealCut } from "../../batch-layer/refresh/seal.ts";
import { type BatchStores, UNWATCHED, type ViewTarget } from "../../batch-layer/stores.ts";
import { compact } from "../../batch-layer/versions/compact.ts";
import { versionPrefix } from "../../batch-layer/versions/publish.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { addLedgers, EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { freePorts } from "../../stack/servers/ports.ts";
import { startServers } from "../../stack/servers/servers.ts";
import { Archive } from "../../store/archive/archive.ts";
import { beginGeneration } from "../../store/archive/generation-start.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { type EventProducer, openProducer } from "../../store/kafka/produce/producer.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Chain } from "../../store/redis/chain.ts";
import { openRedis } from "../../store/redis/redis.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";
import { revenue } from "../../systems/shop/views/revenue.ts";
import { type Figure, figure, median } from "../setup/figure.ts";

/** Events of one refresh; the shortest history is of as many refreshes as `ONCE`. */
const DELTA = 1_000;
const ONCE = 5;
const TIMES = [1, 10, 100] as const;
const MEASURED = 15;
/** One partition is enough, and the shortest history is longer than what is looked back for duplicates. */
const orders = { ...orderCompleted, partitions: 1, dedupWindow: 4_000 };

/** Refreshes between two compactions of the archive: an hour of them. */
const COMPACT_EVERY = 60;

/**
 * What a refresh of the same delta costs after a history that is 1, 10 and 100 times as long, each made by refreshes
 * like those that are measured, with the compactions that go with them. The ceiling is the shortest history: a ratio
 * near 1 says that cost grows with the delta and not with history.
 */
export async function benchRefresh(report: (line: string) => void): Promise<Figure[]> {
  const home = await mkdtemp(join(tmpdir(), "tideline-bench-"));
  const servers = await startServers({ home, ports: await freePorts() });
  const brokers = servers.kafka.brokers;
  const redis = openRedis(servers.redis.url, () => undefined);
  const log = new LogReader({ brokers, clientId: "bench" });
  const producer = await openProducer({ brokers });
  const data = new DataDirectory(join(home, "data"));
  const pool = await DuckPool.open({ threads: 2, memoryLimitMb: 1_024, directories: [data.root] });
  // A refresh a minute: so the archive's files of an hour ago are deleted as they would be.
  let minute = 0;
  const archive = new Archive(data, () => minute * 60_000);
  const stores: BatchStores = {
    data,
    archive,
    manifests: new Manifests(data),
    log,
    pool,
    schemas: Schemas.inFiles(data),
  };
  const generation = generationOf(revenue);
  const target: ViewTarget = { view: revenue, stream: orders, generation, topic: orders.name };
  const work = {
    stores,
    target,
    chain: new Chain(redis, "", generation),
    producer,
    source: sender(producer, () => minute++),
  };
  const measured: number[][] = [];
  try {
    await ensureTopics(brokers, [{ name: target.topic, partitions: orders.partitions }]);
    for (const times of TIMES) {
      report(`a history of ${(ONCE * times * DELTA).toLocaleString("en-US")} events in ${ONCE * times} refreshes`);
      while (work.source.rounds() < ONCE * times) await refresh(work);
      const rounds: number[] = [];
      for (let round = 0; round < MEASURED; round++) rounds.push(await refresh(work));
      measured.push(rounds);
      const files = (await stores.manifests.newest(generation))?.files.length;
      const entries = (await stores.archive.entries(target.topic, (await log.topic(target.topic)).id, 0)).length;
      report(`${Math.round(median(rounds))} ms a refresh; ${entries} entries in a partition, ${files} state files`);
    }
  } finally {
    await Promise.all([log.close(), redis.quit(), producer.close()]);
    pool.close();
    await servers.stop();
    await rm(home, { recursive: true, force: true });
  }
  // As rates, so that more is better: what is divided is the longer history's by the shortest one's.
  return TIMES.slice(1).map((times, index) =>
    figure(
      `refresh of ${DELTA} events after ${times} times the history`,
      "refreshes/min",
      0.7,
      (measured[index + 1] ?? []).map((ms, round) => ({
        ours: 60_000 / ms,
        ceiling: 60_000 / (measured[0]?.[round] ?? Number.NaN),
      })),
    ),
  );
}

interface Work {
  readonly stores: BatchStores;
  readonly target: ViewTarget;
  readonly chain: Chain;
  readonly producer: EventProducer;
  readonly source: ReturnType<typeof sender>;
}

/** Sends the next delta: orders of a day, minute by minute, again and again, so that states do not grow without end. */
function sender(producer: EventProducer, tick: () => void) {
  const make = ordersOf(1);
  let sent = 0;
  return {
    rounds: () => sent / DELTA,
    send: async (topic: string) => {
      const records = Array.from({ length: DELTA }, (_, index) => {
        const order = make(sent + index, 1_760_000_000_000 + ((sent + index) % 86_400) * 1_000);
        return { key: order.order_id, value: JSON.stringify(order) };
      });
      await producer.send(topic, records);
      sent += DELTA;
      tick();
    },
  };
}

/** One refresh as the workflow does it, with the compactions that are due; how long it took, in milliseconds. */
async function refresh({ stores, target, chain, source }: Work): Promise<number> {
  await source.send(target.topic);
  const startMs = performance.now();
  const { version, cut: from, topicId } = await beginGeneration(stores, target.generation, target.topic, "bench");
  const sealed = await sealCut(stores, { topic: target.topic, chain, version, cut: from }, UNWATCHED);
  if (sealed === null) throw new Error("nothing to refresh");
  const plan = await planStream(stores, target, sealed.cut);
  for (const chunk of plan.chunks) await archiveChunk(stores, { ...target, topicId }, { chunk }, UNWATCHED);
  await sweepArchive(stores, target, topicId);
  const folder = stores.manifests.stateFolder(target.generation);
  const span = { topicId, from, to: sealed.cut };
  const delta = await writeDelta(stores, target, { ...span, folder, prefix: versionPrefix(version + 1) }, UNWATCHED);
  await checkDelta(stores, target, chain, { from, to: sealed.cut, ...delta });
  const ledger = [...delta.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
  await publishDelta(stores, target, { version, from, to: sealed.cut, file: delta.file, ledger, createdBy: "bench" });
  await finishPublish(stores, target, chain, version + 1);
  const compacted = await compact(stores, target, { createdBy: `bench-${version}` }, UNWATCHED);
  if (compacted !== null) await finishPublish(stores, target, chain, compacted.version);
  const spentMs = performance.now() - startMs;
  if (source.rounds() % COMPACT_EVERY === 0) await compactArchive(stores, target);
  return spentMs;
}

async function compactArchive(stores: BatchStores, target: ViewTarget): Promise<void> {
  const { topicId, merges } = await planCompaction(stores, target);
  for (const merge of merges) await mergeEntries(stores, { ...target, topicId }, merge, UNWATCHED);
}
