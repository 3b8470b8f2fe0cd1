import { murmur2 } from "../client/client.ts";

/**
 * Returns the partition of `key`, the same as Kafka's Java client and all compatible clients: murmur2 without the sign,
 * modulo the number of partitions (org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey). The
 * client library's default takes the hash as unsigned, which gives another partition unless the number of partitions is
 * a power of two.
 */
export function partitionOf(key: string | Buffer, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions;
}
