import type { BatchStores, StreamTarget, ViewTarget } from "../batch-layer/stores.ts";
import { TidelineError } from "../core/errors.ts";
import { Chain } from "../store/chain.ts";
import type { Definitions } from "../store/definitions.ts";
import type { TidelineRedis } from "../store/redis.ts";
import { topicName } from "../store/topics.ts";
import type { AttemptDeps } from "./attempt.ts";

/** What activities work with. */
export interface ActivityDeps extends AttemptDeps {
  readonly stores: BatchStores;
  readonly redis: TidelineRedis;
  readonly definitions: Definitions;
  /** TIDELINE_NAMESPACE. */
  readonly namespace: string;
}

/** Throws STREAM_UNKNOWN. */
export function streamTarget({ definitions, namespace }: ActivityDeps, name: string): StreamTarget {
  const stream = definitions.streams.get(name);
  if (stream === undefined)
    throw new TidelineError(
      "STREAM_UNKNOWN",
      `no view reads a stream "${name}"`,
      `There are: ${[...definitions.streams.keys()].join(", ")}.`,
    );
  return { stream, topic: topicName(namespace, name) };
}

/** Throws VIEW_UNKNOWN. */
export function viewTarget({ definitions, namespace }: ActivityDeps, name: string): ViewTarget {
  const definition = definitions.views.get(name);
  if (definition === undefined)
    throw new TidelineError(
      "VIEW_UNKNOWN",
      `there is no view "${name}"`,
      `There are: ${[...definitions.views.keys()].join(", ")}.`,
    );
  const { view, generation } = definition;
  return { view, generation, stream: view.stream, topic: topicName(namespace, view.stream.name) };
}

export function chainOf({ redis, namespace }: ActivityDeps, { generation }: ViewTarget): Chain {
  return new Chain(redis, namespace, generation);
}
