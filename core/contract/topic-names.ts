import type { Stream } from "./stream.ts";

/**
 * The name of what belongs to `stream` in an installation: its topic, unless the definition names another, and its dead
 * letters. Several installations may share a Kafka, told apart by their namespace ("" for none).
 */
export function topicName(namespace: string, stream: string): string {
  return namespace === "" ? stream : `${namespace}.${stream}`;
}

/**
 * The topic that a stream is read from: the one that its definition names, as it is, or the one that is called like the
 * stream.
 */
export function topicOf(namespace: string, { name, topic }: Pick<Stream, "name" | "topic">): string {
  return topic ?? topicName(namespace, name);
}

/**
 * Where rules keep how far they have read; it is compacted. `name` is what `topicName` returns for the stream of
 * alerts.
 */
export function rulePositionsTopic(name: string): string {
  return `${name}.positions`;
}

/** Where alerts go that a delivery could not hand over; it has one partition. `name` as of `rulePositionsTopic`. */
export function undeliveredTopic(name: string): string {
  return `${name}.undelivered`;
}

/** Where the records of a stream go that do not decode; it has one partition. `name` is what `topicName` returns. */
export function deadLetterTopic(name: string): string {
  return `${name}.dead-letters`;
}
