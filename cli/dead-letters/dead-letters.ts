import type { RecordPlace } from "../../core/contract/record/record-part.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import { type DeadLetter, parseLetterId, readLetters } from "../../store/dead-letters/dead-letters.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { topicName, topicOf } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import type { Config } from "../setup/config.ts";
import { streamUnknown } from "../setup/definitions.ts";

/** A stream with its topic, its name within the installation (`topicName`), and its dead letters. */
export interface StreamLetters {
  readonly stream: Stream;
  readonly name: string;
  readonly topic: string;
  readonly letters: ReadonlyMap<string, DeadLetter>;
}

/**
 * Returns every stream's dead letters. `names`: only these streams. `wants`: ids whose original bytes are needed. A
 * stream whose topics do not exist yet has none. Throws STREAM_UNKNOWN.
 */
export async function lettersOf(
  { kafkaBrokers, namespace, schemas, views, rules, deliveries }: Config,
  names?: ReadonlySet<string>,
  wants: ReadonlySet<string> = new Set(),
): Promise<StreamLetters[]> {
  const { streams } = await loadDefinitions({ schemas, views, rules, deliveries, namespace });
  for (const name of names ?? []) if (!streams.has(name)) throw streamUnknown(name, streams.keys());
  const log = new LogReader({ brokers: kafkaBrokers, clientId: "tideline-dead-letters" });
  try {
    const found: StreamLetters[] = [];
    for (const stream of streams.values()) {
      if (names !== undefined && !names.has(stream.name)) continue;
      const name = topicName(namespace, stream.name);
      const letters = await readLetters(log, name, (id) => wants.has(id)).catch((error: unknown) => {
        if (isTidelineError(error, "TOPIC_MISSING")) return new Map<string, DeadLetter>();
        throw error;
      });
      found.push({ stream, name, topic: topicOf(namespace, stream), letters });
    }
    return found;
  } finally {
    await log.close();
  }
}

/** Returns one dead letter with its original bytes. Throws LETTER_UNKNOWN. */
export async function findLetter(
  config: Config,
  text: string,
): Promise<{ stream: Stream; name: string; letter: DeadLetter }> {
  const id = fullId(config, text);
  const [found] = await lettersOf(config, new Set([streamOf(config, text)]), new Set([id]));
  const letter = found?.letters.get(id);
  if (found === undefined || letter === undefined) throw letterUnknown(text);
  return { stream: found.stream, name: found.name, letter };
}

/** Returns the id that is shown for a dead letter: without the installation's namespace. */
export function shortId({ namespace }: Config, id: string): string {
  return namespace !== "" && id.startsWith(`${namespace}.`) ? id.slice(namespace.length + 1) : id;
}

/**
 * Returns the id that a dead letter is stored under. `text` may have the namespace or not. Throws LETTER_UNKNOWN if it
 * is not an id.
 */
export function fullId({ namespace }: Config, text: string): string {
  const place = parseLetterId(text);
  if (place === null) throw letterUnknown(text);
  const topic = place.topic.startsWith(`${namespace}.`) ? place.topic : topicName(namespace, place.topic);
  return `${topic}:${place.partition}:${place.offset}`;
}

/** Returns the stream that a dead letter's id names. */
export function streamOf(config: Config, text: string): string {
  return parseLetterId(shortId(config, fullId(config, text)))?.topic ?? "";
}

/** Returns the known properties of the record in a dead letter; its headers are not known. */
export function placeOf({ partition, offset, refusedAtMs, key }: DeadLetter): RecordPlace {
  return { partition, offset: Number(offset), timestampMs: refusedAtMs, key, header: () => null };
}

export type LetterState = "open" | "edited" | "replayed";

export function stateOf({ edited, replayedTo }: DeadLetter): LetterState {
  return replayedTo !== null ? "replayed" : edited !== null ? "edited" : "open";
}

export function letterUnknown(text: string): TidelineError {
  const hint = "`tideline dead-letters list` shows them with their ids: stream:partition:offset.";
  return new TidelineError("LETTER_UNKNOWN", `there is no dead letter "${text}"`, hint);
}
