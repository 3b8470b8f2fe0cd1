import { hostname, userInfo } from "node:os";
import { join } from "node:path";
import {
  acceptLog,
  chainDifferences,
  findDifferences,
  type LogDifference,
} from "../../batch-layer/recompute/accept-log.ts";
import type { BatchStores } from "../../batch-layer/stores.ts";
import { TidelineError } from "../../core/errors.ts";
import { Archive } from "../../store/archive/archive.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Chain } from "../../store/redis/chain.ts";
import { openRedis } from "../../store/redis/redis.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import type { Config } from "../setup/config.ts";
import { findStream, streamUnknown } from "../setup/definitions.ts";
import { requireRedis } from "../setup/redis-answers.ts";
import { draw } from "../terminal/sheet.ts";

export interface AcceptFlags {
  readonly partition?: number;
  readonly yes: boolean;
  readonly json: boolean;
}

/** A view whose live state counts records after the archive's end that the log has lost. Positions are decimal text. */
interface LiveDifference {
  readonly view: string;
  readonly generation: string;
  readonly partition: number;
  readonly applied: string;
}

/** The command's result; positions are decimal text. */
interface Found {
  readonly stream: string;
  readonly accepted: boolean;
  readonly partitions: readonly {
    readonly partition: number;
    readonly archivedTo: string;
    readonly logEnd: string;
    readonly differsAt: string | null;
    readonly passedOver: number;
  }[];
  readonly live: readonly LiveDifference[];
}

/**
 * Shows how the log of a stream differs from what was read of it before. With `yes` accepts the log as it is now. Sets
 * exit code 1 if there is a difference that was not accepted. Throws STREAM_UNKNOWN, NOT_READY when Redis does not
 * answer, LOG_TRUNCATED when a log has not yet grown beyond its archive.
 */
export async function acceptStreamLog(config: Config, name: string, flags: AcceptFlags): Promise<void> {
  const stream = await findStream(config, name);
  const topic = topicOf(config.namespace, stream);
  const data = new DataDirectory(join(config.home, "data"));
  const log = new LogReader({ brokers: config.kafkaBrokers, clientId: "tideline-accept-log" });
  const redis = openRedis(config.redisUrl, () => undefined);
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512, directories: [data.root] });
  try {
    await requireRedis(redis, "Nothing was accepted.");
    const schemas = new Schemas(data, openRegistry(data, config.schemaRegistry));
    const stores = { data, archive: new Archive(data), manifests: new Manifests(data), log, schemas, pool };
    const chains = await chainsOf(
      config,
      data,
      stream.name,
      (generation) => new Chain(redis, config.namespace, generation),
    );
    const partitions = (await findDifferences(stores, topic)).filter(
      ({ partition }) => (flags.partition ?? partition) === partition,
    );
    if (flags.partition !== undefined && partitions.length === 0) throw unknownPartition(name, flags.partition);
    const live = await liveDifferences(stores, topic, chains);
    const differs = live.length > 0 || partitions.some(({ differsAt }) => differsAt !== null);
    if (differs && flags.yes) {
      const options = { by: `${userName()}@${hostname()}`, partition: flags.partition };
      await acceptLog(
        stores,
        topic,
        chains.map(({ chain }) => chain),
        options,
      );
    }
    const found = { stream: name, accepted: differs && flags.yes, partitions: partitions.map(asText), live };
    process.stdout.write(flags.json ? `${JSON.stringify(found, null, 1)}\n` : await textOf(found, differs));
    if (differs && !flags.yes) process.exitCode = 1;
  } finally {
    redis.disconnect();
    await log.close();
    pool.close();
  }
}

/** Returns the name of the user who runs this; a container's user may have none. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return "unknown";
  }
}

interface ViewChain {
  readonly view: string;
  readonly generation: string;
  readonly chain: Chain;
}

/** Returns the live state of every generation that reads a stream. */
async function chainsOf(
  config: Config,
  data: DataDirectory,
  stream: string,
  open: (generation: string) => Chain,
): Promise<ViewChain[]> {
  const definitions = await loadDefinitions(config);
  if (!definitions.streams.has(stream)) throw streamUnknown(stream, definitions.streams.keys());
  const living = await new Generations(data).all(definitions);
  return living
    .filter(({ definition }) => definition.view.stream.name === stream)
    .map(({ definition: { view, generation } }) => ({ view: view.name, generation, chain: open(generation) }));
}

async function liveDifferences(
  { log }: BatchStores,
  topic: string,
  chains: readonly ViewChain[],
): Promise<LiveDifference[]> {
  const compared = { log, topic, topicId: (await log.topic(topic)).id, bounds: await log.bounds(topic) };
  const live: LiveDifference[] = [];
  for (const { view, generation, chain } of chains)
    for (const [partition, applied] of await chainDifferences(compared, chain))
      live.push({ view, generation, partition, applied: applied.toString() });
  return live;
}

function asText({ partition, archivedTo, logEnd, differsAt, passedOver }: LogDifference): Found["partitions"][number] {
  return {
    partition,
    archivedTo: archivedTo.toString(),
    logEnd: logEnd.toString(),
    differsAt: differsAt?.toString() ?? null,
    passedOver,
  };
}

async function textOf({ stream, accepted, partitions, live }: Found, differs: boolean): Promise<string> {
  if (!differs) return `${stream}: the log is the one that was read\n`;
  const head = ["partition", "archived to", "log ends at", "differs from", "lost, still counted", "not counted"];
  const rows = partitions.map(({ partition, archivedTo, logEnd, differsAt, passedOver }) => [
    `${partition}`,
    archivedTo,
    logEnd,
    differsAt ?? "-",
    differsAt === null ? "-" : `${BigInt(archivedTo) - BigInt(differsAt)} offsets`,
    differsAt === null ? "-" : `${passedOver} records`,
  ]);
  const lines = [await draw({ head, right: head, rows })];
  for (const { view, partition, applied } of live)
    lines.push(`${view}: its live state up to ${partition}:${applied} holds records that Kafka lost`);
  lines.push(
    accepted
      ? "accepted: the next settlement continues where the archive ends, and the views follow within half a minute"
      : "with --yes, what is archived stays counted and the log as it is now is read from where the archive ends",
  );
  return `${lines.join("\n")}\n`;
}

function unknownPartition(stream: string, partition: number): TidelineError {
  return new TidelineError(
    "BAD_REQUEST",
    `nothing is archived of partition ${partition} of ${stream}`,
    `\`tideline streams accept-log ${stream}\` lists the partitions.`,
  );
}
