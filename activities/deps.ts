import type { MailSettings } from "../batch-layer/report/deliver.ts";
import type { Report } from "../batch-layer/report/report.ts";
import type { BatchStores, StreamTarget, ViewTarget } from "../batch-layer/stores.ts";
import { TidelineError } from "../core/errors.ts";
import type { DeadLetters } from "../store/dead-letters/letter-writer.ts";
import type { Definitions } from "../store/definitions/definitions.ts";
import type { Generations } from "../store/definitions/generations.ts";
import { topicOf } from "../store/kafka/cluster/topics.ts";
import { Chain } from "../store/redis/chain.ts";
import type { TidelineRedis } from "../store/redis/redis.ts";
import type { AttemptDeps } from "./attempt.ts";

/** The objects that activities use. */
export interface ActivityDeps extends AttemptDeps {
  readonly stores: BatchStores;
  readonly redis: TidelineRedis;
  readonly deadLetters: DeadLetters;
  /** For settings that only an administrative client of Kafka can read. */
  readonly brokers: string;
  /** Warn if Kafka is going to delete data that is still needed within this many hours. */
  readonly retentionWarnHours: number;
  /** The definitions in the files. */
  readonly definitions: Definitions;
  readonly generations: Generations;
  /** How long a generation is kept up to date after it was last served, milliseconds. */
  readonly keepGenerationsMs: number;
  /** The system's daily report; null if it has none. */
  readonly report: Report | null;
  /** Where reports are mailed. */
  readonly mail: MailSettings;
  /** TIDELINE_NAMESPACE. */
  readonly namespace: string;
  /** The address of the HTTP API. Proofs compare what it serves. */
  readonly apiUrl: string;
  /** TIDELINE_API_KEY. */
  readonly apiKey?: string | null;
}

/** Returns the stream with this name, and its topic. Throws STREAM_UNKNOWN. */
export function streamTarget({ definitions, namespace }: ActivityDeps, name: string): StreamTarget {
  const stream = definitions.streams.get(name);
  if (stream === undefined)
    throw new TidelineError(
      "STREAM_UNKNOWN",
      `no view reads a stream "${name}"`,
      `There are: ${[...definitions.streams.keys()].join(", ")}.`,
    );
  return { stream, topic: topicOf(namespace, stream) };
}

/**
 * Returns the target of a step. `name` is a view, which stands for its served generation, or a generation. Throws
 * VIEW_UNKNOWN, GENERATION_UNREADABLE, and GENERATION_FROZEN for a generation that this release does not continue.
 */
export async function viewTarget(
  { definitions, generations, namespace }: ActivityDeps,
  name: string,
): Promise<ViewTarget> {
  const { view, generation, frozen } = await generations.find(name, definitions);
  if (frozen)
    throw new TidelineError(
      "GENERATION_FROZEN",
      `${generation} was computed by another release, and this one computes it otherwise`,
      "It answers from its newest version. Wait until the worker has built the generation of this release.",
    );
  return { view, generation, stream: view.stream, topic: topicOf(namespace, view.stream) };
}

/** Returns the name to show for a generation: its view's name if it is served, else its own. */
export async function shownName({ generations }: ActivityDeps, { view, generation }: ViewTarget): Promise<string> {
  return (await generations.record(view.name))?.generation === generation ? view.name : generation;
}

export function chainOf({ redis, namespace }: ActivityDeps, { generation }: Pick<ViewTarget, "generation">): Chain {
  return new Chain(redis, namespace, generation);
}
