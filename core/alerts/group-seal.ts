import { z } from "zod";
import { type Cut, cutFromJson, cutToJson } from "../log/position.ts";

/**
 * Which alerts a delivery that groups them is handing over: those from its positions up to `to`, decided before the
 * first message is sent. So a process that begins again sends the same messages. Its key in the topic of positions is
 * `delivery/<name>/group`; the record is deleted in one transaction with the positions behind it.
 */
const Document = z.strictObject({
  delivery: z.string(),
  topicId: z.string(),
  to: z.record(z.string(), z.string().regex(/^\d+$/)),
  /** Ids of the groups that were handed over, or could not be. */
  done: z.array(z.string()),
});

export interface GroupSeal {
  readonly delivery: string;
  readonly topicId: string;
  readonly to: Cut;
  readonly done: readonly string[];
}

export function sealKey(delivery: string): string {
  return `delivery/${delivery}/group`;
}

export function sealText({ to, ...rest }: GroupSeal): string {
  return JSON.stringify({ ...rest, to: cutToJson(to) });
}

/** A seal as it was written; null for bytes that are none. */
export function sealFrom(value: Buffer | null): GroupSeal | null {
  if (value === null) return null;
  try {
    const { success, data } = Document.safeParse(JSON.parse(value.toString("utf8")));
    return success ? { ...data, to: cutFromJson(data.to) } : null;
  } catch {
    return null;
  }
}
