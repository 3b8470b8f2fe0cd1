import { z } from "zod";
import { storedCut } from "../log/documents.ts";

/**
 * The alerts that a grouping delivery is handing over: those from its positions up to `to`. The seal is written before
 * the first message is sent, so that a process that begins again sends the same messages. Its key in the topic of
 * positions is `delivery/<name>/group`. The record is deleted in the transaction that moves the positions to `to`.
 */
const GroupSeal = z.strictObject({
  delivery: z.string(),
  topicId: z.string(),
  to: storedCut,
  /** Ids of the groups that were handed over or given up. */
  done: z.array(z.string()).readonly(),
});

export type GroupSeal = z.infer<typeof GroupSeal>;

export function sealKey(delivery: string): string {
  return `delivery/${delivery}/group`;
}

export function sealText(seal: GroupSeal): string {
  return JSON.stringify(z.encode(GroupSeal, seal));
}

/** Returns a seal as it was written, or null for bytes that are not one. */
export function sealFrom(value: Buffer | null): GroupSeal | null {
  if (value === null) return null;
  try {
    return GroupSeal.parse(JSON.parse(value.toString("utf8")));
  } catch {
    return null;
  }
}
