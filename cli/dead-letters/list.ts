import type { Config } from "../setup/config.ts";
import { printable } from "../terminal/printable.ts";
import { instantText, print } from "../terminal/sheet.ts";
import { type LetterState, lettersOf, shortId, stateOf } from "./dead-letters.ts";

export interface ListFlags {
  readonly reason?: string;
  readonly state?: LetterState;
  /** Epoch ms. */
  readonly since?: number;
  readonly limit: number;
  readonly json: boolean;
}

/** Prints the newest dead letters that the flags select. */
export async function listLetters(config: Config, stream: string | undefined, flags: ListFlags): Promise<void> {
  const { reason = "", state, since = 0, limit } = flags;
  const found = await lettersOf(config, stream === undefined ? undefined : new Set([stream]));
  const wanted = found
    .flatMap(({ letters }) => [...letters.values()])
    .filter((letter) => letter.reason.startsWith(reason) && letter.refusedAtMs >= since)
    .filter((letter) => state === undefined || stateOf(letter) === state)
    .sort((a, b) => b.refusedAtMs - a.refusedAtMs);
  const shown = wanted.slice(0, limit);
  const rows = shown.map((letter) => ({
    id: shortId(config, letter.id),
    refusedAt: instantText(letter.refusedAtMs),
    reason: letter.reason,
    sizeBytes: letter.sizeBytes,
    state: stateOf(letter),
    replayedTo: letter.replayedTo,
  }));
  const sheet = {
    head: ["id", "refused", "bytes", "state", "reason"],
    right: ["bytes"],
    rows: rows.map((row) =>
      [row.id, row.refusedAt, `${row.sizeBytes}`, stateText(row), row.reason].map((cell) => printable(cell)),
    ),
  };
  await print(flags.json, rows, sheet, "no dead letters");
  if (wanted.length > shown.length)
    process.stderr.write(`the newest ${shown.length} of ${wanted.length}; --limit shows more\n`);
}

function stateText({ state, replayedTo }: { state: LetterState; replayedTo: string | null }): string {
  return replayedTo === null ? state : `replayed to ${replayedTo}`;
}
