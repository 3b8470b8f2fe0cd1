import { murmur2 } from "../client/client.ts";

/**
 * The partition of `key` among `partitions`, as Kafka's Java client chooses it and all that agree with it: murmur2
 * without the sign, modulo the number of partitions
 * (org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey). The client library's default takes
 * the hash as unsigned, which is another partition unless their number is a power of two.
 */
export function partitionOf(key: string | Buffer, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions;
}
