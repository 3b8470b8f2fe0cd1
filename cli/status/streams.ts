import { join } from "node:path";
import { isTidelineError } from "../../core/errors.ts";
import { at, type Cut, partitionsOf } from "../../core/log/position.ts";
import type { Archive } from "../../store/archive/archive.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import { noLeader } from "../../store/kafka/cluster/log-errors.ts";
import type { LogReader } from "../../store/kafka/read/log.ts";
import type { Config } from "../setup/config.ts";
import { inTime } from "../setup/patience.ts";

interface PartitionStatus {
  readonly partition: number;
  /** Last stable offset. */
  readonly logEnd: string;
  readonly archived: string;
  /** How many positions the archive is behind. This is not a count of records, because offsets are not dense. */
  readonly positionsBehind: number;
}

export interface StreamStatus {
  readonly stream: string;
  readonly topic: string;
  readonly partitions: readonly PartitionStatus[];
  readonly problem?: string;
}

interface StreamsFound {
  readonly reachable: boolean;
  readonly streams: readonly StreamStatus[];
  /** The log's end by stream name, for every stream whose log could be read. */
  readonly ends: ReadonlyMap<string, Cut>;
}

/** Returns the log's end and the archive of every stream. */
export async function streamsOf(
  { kafkaBrokers: brokers, namespace, home }: Config,
  { streams }: Definitions,
): Promise<StreamsFound> {
  const [{ LogReader }, { Archive }, { DataDirectory }, { topicOf }] = await Promise.all([
    import("../../store/kafka/read/log.ts"),
    import("../../store/archive/archive.ts"),
    import("../../store/files/files.ts"),
    import("../../store/kafka/cluster/topics.ts"),
  ]);
  const log = new LogReader({ brokers, clientId: "tideline-status" });
  const archive = new Archive(new DataDirectory(join(home, "data")));
  const found = await Promise.all(
    [...streams.values()].map((stream) => findStream({ log, archive }, stream.name, topicOf(namespace, stream))),
  );
  await inTime(log.close()).catch(() => {});
  return {
    reachable: found.every(({ reachable }) => reachable),
    streams: found.map(({ status }) => status),
    ends: new Map(found.flatMap(({ status, end }) => (end === undefined ? [] : [[status.stream, end] as const]))),
  };
}

interface StreamFound {
  readonly status: StreamStatus;
  readonly end: Cut | undefined;
  readonly reachable: boolean;
}

async function findStream(
  { log, archive }: { readonly log: LogReader; readonly archive: Archive },
  stream: string,
  topic: string,
): Promise<StreamFound> {
  // Outside of the try block, so that views are compared with the log's end even if the archive cannot be read.
  let end: Cut | undefined;
  try {
    const [{ id }, { stable, leaderless }] = await inTime(Promise.all([log.topic(topic), log.readableBounds(topic)]));
    end = stable;
    const partitions = partitionStatuses(stable, await archive.archived(topic, id));
    const [first] = leaderless;
    const problem = first === undefined ? {} : { problem: noLeader(topic, first).message };
    return { status: { stream, topic, partitions, ...problem }, end, reachable: true };
  } catch (error) {
    const known = isTidelineError(error);
    const problem = known ? error.message : "the log cannot be read";
    return { status: { stream, topic, partitions: [], problem }, end, reachable: known };
  }
}

function partitionStatuses(stable: Cut, archived: Cut): PartitionStatus[] {
  return partitionsOf(stable).map((partition) => ({
    partition,
    logEnd: at(stable, partition).toString(),
    archived: at(archived, partition).toString(),
    positionsBehind: Number(at(stable, partition) - at(archived, partition)),
  }));
}
