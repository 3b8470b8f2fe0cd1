import { z } from "zod";

/**
 * The end of a rule's silence, which the topic of positions keeps under the key `silence/<rule>`. It is kept there
 * because the stream of alerts may have many events after the one that silenced the rule. No stream's positions have
 * this key.
 */
const Document = z.strictObject({
  silence: z.string(),
  /** Epoch milliseconds. 0: the rule is no longer silenced. */
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

/** Returns a silence as it was written, or null for bytes that are not one. */
export function silenceFrom(value: Buffer | null): KeptSilence | null {
  if (value === null) return null;
  try {
    const { success, data } = Document.safeParse(JSON.parse(value.toString("utf8")));
    return success ? { rule: data.silence, untilMs: data.untilMs } : null;
  } catch {
    return null;
  }
}
