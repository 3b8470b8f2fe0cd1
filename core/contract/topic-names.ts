import type { Stream } from "./stream.ts";

/**
 * Returns the name of a stream in an installation. It is the name of its topic, unless the definition names another,
 * and the prefix of its dead letters' topic. Several installations may share a Kafka with different namespaces ("" for
 * none).
 */
export function topicName(namespace: string, stream: string): string {
  return namespace === "" ? stream : `${namespace}.${stream}`;
}

/**
 * Returns the topic that a stream is read from: the one that its definition names, or the one with the stream's name.
 */
export function topicOf(namespace: string, { name, topic }: Pick<Stream, "name" | "topic">): string {
  return topic ?? topicName(namespace, name);
}

/**
 * Returns the compacted topic of rules' and deliveries' positions. `name` is the result of `topicName` for the stream
 * of alerts.
 */
export function rulePositionsTopic(name: string): string {
  return `${name}.positions`;
}

/**
 * Returns the topic of alerts that a delivery could not hand over. It has one partition. `name` as for
 * `rulePositionsTopic`.
 */
export function undeliveredTopic(name: string): string {
  return `${name}.undelivered`;
}

/**
 * Returns the topic of a stream's records that do not decode. It has one partition. `name` is the result of
 * `topicName`.
 */
export function deadLetterTopic(name: string): string {
  return `${name}.dead-letters`;
}
