import { z } from "zod";
import { storedCut } from "../log/documents.ts";

/**
 * Which alerts a delivery that groups them is handing over: those from its positions up to `to`, decided before the
 * first message is sent. So a process that begins again sends the same messages. Its key in the topic of positions is
 * `delivery/<name>/group`; the record is deleted in one transaction with the positions behind it.
 */
const GroupSeal = z.strictObject({
  delivery: z.string(),
  topicId: z.string(),
  to: storedCut,
  /** Ids of the groups that were handed over, or could not be. */
  done: z.array(z.string()).readonly(),
});

export type GroupSeal = z.infer<typeof GroupSeal>;

export function sealKey(delivery: string): string {
  return `delivery/${delivery}/group`;
}

export function sealText(seal: GroupSeal): string {
  return JSON.stringify(z.encode(GroupSeal, seal));
}

/** A seal as it was written; null for bytes that are none. */
export function sealFrom(value: Buffer | null): GroupSeal | null {
  if (value === null) return null;
  try {
    return GroupSeal.parse(JSON.parse(value.toString("utf8")));
  } catch {
    return null;
  }
}
