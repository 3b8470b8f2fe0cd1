import { z } from "zod";
import { type Position, position } from "../log/position.ts";

/**
 * The positions of a stream's rules in one partition: the record that is written in one transaction with the alerts.
 * Its key is `<stream>/<partition>`. A rule that a process does not know keeps its position: another process, or a
 * later release, continues there.
 */
const Document = z.strictObject({
  stream: z.string(),
  partition: z.int().min(0),
  rules: z.record(
    z.string(),
    z.strictObject({ topicId: z.string(), next: z.string().regex(/^\d+$/), began: z.int().min(1) }),
  ),
});

/** The position of a rule in a partition. */
export interface RulePosition {
  /** The id of the topic: a topic that is deleted and created again has another id. */
  readonly topicId: string;
  /** The next offset that the rule reads. */
  readonly next: Position;
  /**
   * The number of partitions that the topic had when the rule was new. The rule reads partitions that were added later
   * from their beginning.
   */
  readonly began: number;
}

export interface RulePositions {
  readonly stream: string;
  readonly partition: number;
  /** By the name of the rule. */
  readonly rules: ReadonlyMap<string, RulePosition>;
}

export function positionsKey({ stream, partition }: Pick<RulePositions, "stream" | "partition">): string {
  return `${stream}/${partition}`;
}

export function positionsText({ stream, partition, rules }: RulePositions): string {
  const held = [...rules].map(([name, { next, ...rest }]) => [name, { ...rest, next: next.toString() }]);
  return JSON.stringify({ stream, partition, rules: Object.fromEntries(held) });
}

/** Returns positions as they were written, or null for bytes that are not positions. */
export function positionsFrom(value: Buffer | null): RulePositions | null {
  if (value === null) return null;
  try {
    const { success, data } = Document.safeParse(JSON.parse(value.toString("utf8")));
    if (!success) return null;
    const held = Object.entries(data.rules).map(([name, one]) => [name, { ...one, next: position(one.next) }] as const);
    return { ...data, rules: new Map(held) };
  } catch {
    return null;
  }
}

/** The facts that decide where a rule continues, or begins, in one partition. */
export interface RulePlace {
  readonly rule: string;
  readonly from: "start" | "end";
  readonly partition: number;
  /** The id of the topic as it is now, and its number of partitions. */
  readonly topicId: string;
  readonly partitions: number;
  /** The stored positions in all partitions of the stream. */
  readonly stored: readonly RulePositions[];
  /** The beginning of the partition, and the end of its committed data. */
  readonly start: Position;
  readonly stable: Position;
}

/**
 * Returns the position of a rule in a partition. `isNew`: it was not stored. A partition that was added after the rule
 * began is read from its beginning.
 */
export function startOf(place: RulePlace): RulePosition & { readonly isNew: boolean } {
  const { rule, from, partition, topicId, partitions, stored, start, stable } = place;
  const held = stored.find((one) => one.partition === partition)?.rules.get(rule);
  if (held !== undefined) return { ...held, isNew: false };
  const elsewhere = stored.flatMap(({ rules }) => rules.get(rule) ?? []).filter((one) => one.topicId === topicId);
  const began = elsewhere.length === 0 ? partitions : Math.max(...elsewhere.map((one) => one.began));
  return { topicId, next: partition >= began || from === "start" ? start : stable, began, isNew: true };
}
