import { z } from "zod";
import { type Position, position } from "../log/position.ts";

/**
 * How far the rules of a stream have read one of its partitions: the record that is written in one transaction with the
 * alerts. Its key is `<stream>/<partition>`. A rule that a process does not know keeps its position: another process,
 * or a later release, continues there.
 */
const Document = z.strictObject({
  stream: z.string(),
  partition: z.int().min(0),
  rules: z.record(
    z.string(),
    z.strictObject({ topicId: z.string(), next: z.string().regex(/^\d+$/), began: z.int().min(1) }),
  ),
});

/** How far a rule has read a partition. */
export interface RulePosition {
  /** Of the topic: one that is made again has another. */
  readonly topicId: string;
  /** The next offset that it reads. */
  readonly next: Position;
  /** How many partitions the topic had when the rule was new. It reads those that came later from their beginning. */
  readonly began: number;
}

export interface RulePositions {
  readonly stream: string;
  readonly partition: number;
  /** By the rule's name. */
  readonly rules: ReadonlyMap<string, RulePosition>;
}

export function positionsKey({ stream, partition }: Pick<RulePositions, "stream" | "partition">): string {
  return `${stream}/${partition}`;
}

export function positionsText({ stream, partition, rules }: RulePositions): string {
  const held = [...rules].map(([name, { next, ...rest }]) => [name, { ...rest, next: next.toString() }]);
  return JSON.stringify({ stream, partition, rules: Object.fromEntries(held) });
}

/** Positions as they were written; null for bytes that are none. */
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

/** What decides where a rule continues, or begins, in one partition. */
export interface RulePlace {
  readonly rule: string;
  readonly from: "start" | "end";
  readonly partition: number;
  /** The topic as it is now, and how many partitions it has. */
  readonly topicId: string;
  readonly partitions: number;
  /** What is stored of all partitions of the stream. */
  readonly stored: readonly RulePositions[];
  /** Where the partition begins, and how far committed data goes. */
  readonly start: Position;
  readonly stable: Position;
}

/**
 * Where a rule stands in a partition; `isNew`: it was not stored there. A partition that was added after the rule began
 * is read from its beginning.
 */
export function startOf(place: RulePlace): RulePosition & { readonly isNew: boolean } {
  const { rule, from, partition, topicId, partitions, stored, start, stable } = place;
  const held = stored.find((one) => one.partition === partition)?.rules.get(rule);
  if (held !== undefined) return { ...held, isNew: false };
  const elsewhere = stored.flatMap(({ rules }) => rules.get(rule) ?? []).filter((one) => one.topicId === topicId);
  const began = elsewhere.length === 0 ? partitions : Math.max(...elsewhere.map((one) => one.began));
  return { topicId, next: partition >= began || from === "start" ? start : stable, began, isNew: true };
}
