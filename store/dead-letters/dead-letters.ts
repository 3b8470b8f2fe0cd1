import { at } from "../../core/log/position.ts";
import { deadLetterTopic } from "../kafka/cluster/topics.ts";
import type { LogReader } from "../kafka/read/log.ts";
import type { RecordHeaders } from "../kafka/read/records.ts";

/**
 * The dead letters of a stream, as a log of what happened to each. A dead letter's id, which is the record's key, is
 * the position of the record that was refused: `<name>:<partition>:<offset>`, where the name is that of what belongs to
 * the stream (`topicName`), whatever its topic is called.
 *
 *   no `letter` header   the refusal: reason, position, original key, and the original bytes as the value. A crash may
 *                        repeat it. When this topic does not take that many bytes there are none, but
 *                        `original-bytes`: how many, "" for unknown.
 *   letter: edit         the value is what somebody wrote in the original's place; the last edit counts
 *   letter: replay       the edit was sent as a new record, to `replayed-to: <partition>:<offset>`; written in one
 *                        transaction with it
 *
 * The topic must not be compacted: an edit would take the place of the original.
 */
export const LETTER = {
  kind: "letter",
  reason: "reason",
  originalKey: "original-key",
  originalBytes: "original-bytes",
  replayedTo: "replayed-to",
  /** On the record in the stream: the id of the dead letter that it was made of. */
  replayOf: "replay-of",
} as const;

/** One refused record, and what became of it. */
export interface DeadLetter {
  readonly id: string;
  /** Where the refused record lies. */
  readonly partition: number;
  readonly offset: bigint;
  readonly reason: string;
  /** When the refusal was written first, epoch ms. */
  readonly refusedAtMs: number;
  readonly key: Buffer | null;
  /** The original bytes; undefined unless they were asked for. */
  readonly original: Buffer | null | undefined;
  readonly sizeBytes: number;
  /**
   * Whether the original bytes were too many for a dead letter. They are in the log, and in the archive if the log
   * reader read them.
   */
  readonly isBare: boolean;
  /** The last edit. */
  readonly edited: Buffer | null;
  /** `<partition>:<offset>` of the record that the edit became, or null. */
  readonly replayedTo: string | null;
}

const FETCH_BYTES = 4 * 1024 * 1024;

/**
 * Every dead letter of the stream to which `name` belongs, by id, oldest refusal first. Originals are kept for ids that
 * `wants` names: all of them may not fit into memory. Throws TOPIC_MISSING when there is no topic of dead letters.
 */
export async function readLetters(
  log: LogReader,
  name: string,
  wants: (id: string) => boolean = () => false,
): Promise<Map<string, DeadLetter>> {
  const letters = new Map<string, DeadLetter>();
  const source = deadLetterTopic(name);
  const { start, stable } = await log.bounds(source);
  for (const partition of stable.keys()) {
    const [from, to] = [at(start, partition), at(stable, partition)];
    for await (const { records } of log.read(source, { partition, from, to }, { maxBytes: FETCH_BYTES })) {
      const { keys, values, headers, timestampsMs } = records;
      for (const [index, key] of keys.entries()) {
        const id = key?.toString() ?? "";
        const value = values[index] ?? null;
        const written = { id, value, headers: headers[index] ?? [], atMs: timestampsMs[index] ?? 0 };
        const letter = next(letters.get(id), written, wants(id));
        if (letter !== undefined) letters.set(id, letter);
      }
    }
  }
  return letters;
}

/** `<topic>:<partition>:<offset>` in its parts; null when it is not a dead letter's id. */
export function parseLetterId(id: string): { topic: string; partition: number; offset: bigint } | null {
  const found = /^(.+):(\d{1,9}):(\d{1,19})$/.exec(id);
  if (found === null) return null;
  return { topic: found[1] ?? "", partition: Number(found[2]), offset: BigInt(found[3] ?? 0) };
}

interface Written {
  readonly id: string;
  readonly value: Buffer | null;
  readonly headers: RecordHeaders;
  readonly atMs: number;
}

/**
 * What a dead letter is after one more of its records; undefined for what is not a dead letter, or the sequel of one
 * whose refusal was deleted.
 */
function next(
  held: DeadLetter | undefined,
  { id, value, headers, atMs }: Written,
  wanted: boolean,
): DeadLetter | undefined {
  const kind = header(headers, LETTER.kind)?.toString();
  if (kind === "edit") return held && { ...held, edited: value };
  if (kind === "replay") return held && { ...held, replayedTo: header(headers, LETTER.replayedTo)?.toString() ?? "" };
  const place = parseLetterId(id);
  const originalBytes = header(headers, LETTER.originalBytes);
  if (held !== undefined || place === null) return held;
  return {
    id,
    partition: place.partition,
    offset: place.offset,
    reason: header(headers, LETTER.reason)?.toString() ?? "",
    refusedAtMs: atMs,
    key: header(headers, LETTER.originalKey),
    original: wanted ? value : undefined,
    sizeBytes: originalBytes === null ? (value?.length ?? 0) : Number(originalBytes),
    isBare: originalBytes !== null,
    edited: null,
    replayedTo: null,
  };
}

function header(headers: RecordHeaders, name: string): Buffer | null {
  return headers.find(([found]) => found?.toString() === name)?.[1] ?? null;
}
