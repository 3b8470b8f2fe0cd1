import { stat } from "node:fs/promises";
import { isTidelineError } from "../../core/errors.ts";
import { at } from "../../core/log/position.ts";
import type { Archive } from "../../store/archive/archive.ts";
import type { Manifests } from "../../store/archive/manifests.ts";
import { retentionOf } from "../../store/archive/retention.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import { Generations } from "../../store/definitions/generations.ts";
import type { DataDirectory } from "../../store/files/files.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import type { LogReader } from "../../store/kafka/read/log.ts";
import type { Config } from "../setup/config.ts";
import { type Finding, judged, ok, problem, warning } from "./finding.ts";
import { checkKeys } from "./keys.ts";

export interface StreamStores {
  readonly log: LogReader;
  readonly archive: Archive;
  readonly data: DataDirectory;
  readonly manifests: Manifests;
}

/** A producer's clock that is further ahead makes events that are after the end of all windows. */
const AHEAD_MS = 5_000;
const DAY_S = 86_400;

/**
 * Checks every stream: its archive tiles, its files exist, Kafka keeps the records that are needed, producers' clocks
 * are right, and producers use the same partition for a key.
 */
export async function checkStreams(config: Config, stores: StreamStores, definitions: Definitions): Promise<Finding[]> {
  const findings: Finding[] = [];
  const generations = new Generations(stores.data);
  for (const stream of definitions.streams.values()) {
    const { name } = stream;
    const topic = topicOf(config.namespace, stream);
    try {
      const { id } = await stores.log.topic(topic);
      findings.push(await checkArchive(stores, topic, id), await checkClock(stores.log, topic));
      findings.push(await checkKeys(stores.log, topic));
      findings.push(await checkRetention(config, stores, topic, await generations.reading(name, definitions)));
    } catch (error) {
      if (isTidelineError(error, "TOPIC_MISSING")) continue; // said already
      if (!isTidelineError(error)) throw error;
      findings.push(problem("archive.tiles", `${error.code}: ${error.message}`, error.hint));
    }
  }
  return findings;
}

async function checkArchive({ archive, data }: StreamStores, topic: string, topicId: string): Promise<Finding> {
  let files = 0;
  for (const partition of await archive.partitions(topic)) {
    for (const { file, sizeBytes } of await archive.entries(topic, topicId, partition)) {
      if (file === null) continue;
      files += 1;
      const found = await stat(data.path(file)).catch(() => null);
      if (found?.size === sizeBytes) continue;
      const what = found === null ? "is missing" : `has ${found.size} bytes instead of ${sizeBytes}`;
      return problem(
        "archive.files",
        `${file} ${what}`,
        "Put it back from a backup: `tideline restore <folder> --file <path>`.",
      );
    }
  }
  return ok("archive.tiles", `${topic}: ${files} archive files tile the log, and all are there`);
}

async function checkClock(log: LogReader, topic: string): Promise<Finding> {
  const { start, stable } = await log.readableBounds(topic);
  let newestMs = 0;
  for (const [partition, end] of stable) {
    const from = at(start, partition);
    if (end === from) continue;
    const [fetched] = await log.fetch(topic, new Map([[partition, (end - 1n) as typeof end]]), {
      maxWaitMs: 100,
      maxBytes: 65_536,
    });
    newestMs = Math.max(newestMs, fetched?.records.timestampsMs.at(-1) ?? 0);
  }
  const aheadMs = newestMs - Date.now();
  return judged(aheadMs <= AHEAD_MS, "clock.producers", `${topic}: no record is from the future`, {
    level: "warning",
    message: `${topic}: the newest record's time is ${Math.round(aheadMs / 1_000)} s ahead of this clock`,
    todo: "Let a time service keep the clocks of producers, brokers and this machine.",
  });
}

async function checkRetention(
  { kafkaBrokers: brokers }: Config,
  { log, archive, manifests }: StreamStores,
  topic: string,
  views: readonly { name: string; generation: string }[],
): Promise<Finding> {
  const { risk } = await retentionOf({ brokers, log, archive, manifests }, topic, views);
  if (risk === null) return ok("topic.retention", `${topic}: Kafka deletes nothing that is still needed`);
  const message = `${topic}: Kafka may delete ${risk.purpose} in ${(risk.secondsLeft / 3_600).toFixed(1)} h`;
  const todo =
    `Raise retention.ms of ${topic} (docs/operating.md, "Retention ends soon", has the command), and see that ` +
    "`tideline worker` archives.";
  if (risk.secondsLeft < DAY_S / 4) return problem("topic.retention", message, todo);
  return risk.secondsLeft < DAY_S ? warning("topic.retention", message, todo) : ok("topic.retention", message);
}
