import { z } from "zod";

/**
 * Until when a rule is silenced, as the topic of positions keeps it under the key `silence/<rule>`: the stream of
 * alerts may have many events behind the one that silenced the rule. No stream's positions have this key.
 */
const Document = z.strictObject({
  silence: z.string(),
  /** Epoch milliseconds; 0: not any more. */
  untilMs: z.int().min(0),
});

export interface KeptSilence {
  readonly rule: string;
  readonly untilMs: number;
}

export function silenceKey(rule: string): string {
  return `silence/${rule}`;
}

export function silenceText({ rule, untilMs }: KeptSilence): string {
  return JSON.stringify({ silence: rule, untilMs });
}

/** A silence as it was written; null for bytes that are none. */
export function silenceFrom(value: Buffer | null): KeptSilence | null {
  if (value === null) return null;
  try {
    const { success, data } = Document.safeParse(JSON.parse(value.toString("utf8")));
    return success ? { rule: data.silence, untilMs: data.untilMs } : null;
  } catch {
    return null;
  }
}
