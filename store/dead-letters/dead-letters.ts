import { at } from "../../core/log/position.ts";
import { deadLetterTopic } from "../kafka/cluster/topics.ts";
import type { LogReader } from "../kafka/read/log.ts";
import type { RecordHeaders } from "../kafka/read/records.ts";

/**
 * The dead letters of a stream, as a log of the events of each. A dead letter's id is the key of its records:
 * `<name>:<partition>:<offset>`, with the position of the refused record. The name is the stream's name in this
 * installation (`topicName`), even if its topic has another name.
 *
 *   no `letter` header   the refusal: reason, position, original key, and the original bytes as the value. A crash may
 *                        repeat it. If the original is too large for this topic, the value is empty, and the header
 *                        `original-bytes` has the number of its bytes, "" if unknown.
 *   letter: edit         the value is the text that somebody wrote to replace the original; the last edit counts
 *   letter: replay       the edit was sent as a new record, to `replayed-to: <partition>:<offset>`; written in one
 *                        transaction with that record
 *
 * The topic must not be compacted: an edit would replace the original.
 */
export const LETTER = {
  kind: "letter",
  reason: "reason",
  originalKey: "original-key",
  originalBytes: "original-bytes",
  replayedTo: "replayed-to",
  /** On the new record in the stream: the id of the dead letter that it was made from. */
  replayOf: "replay-of",
} as const;

/** One refused record, and what happened to it later. */
export interface DeadLetter {
  readonly id: string;
  /** The position of the refused record. */
  readonly partition: number;
  readonly offset: bigint;
  readonly reason: string;
  /** The time when the refusal was first written, in epoch milliseconds. */
  readonly refusedAtMs: number;
  readonly key: Buffer | null;
  /** The original bytes. Undefined unless they were requested. */
  readonly original: Buffer | null | undefined;
  readonly sizeBytes: number;
  /**
   * Whether the original record was too large for a dead letter. Its bytes are in the log, and in the archive if the
   * log reader read them.
   */
  readonly isBare: boolean;
  /** The last edit. */
  readonly edited: Buffer | null;
  /** The position of the record that the edit became, as `<partition>:<offset>`. Null if it was not replayed. */
  readonly replayedTo: string | null;
}

const FETCH_BYTES = 4 * 1024 * 1024;

/**
 * Returns every dead letter of the stream `name`, by id, oldest refusal first. Keeps the original bytes only for ids
 * that `wants` accepts, because all of them may not fit into memory. Throws TOPIC_MISSING when there is no topic of
 * dead letters.
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

/** Splits `<topic>:<partition>:<offset>` into its parts. Null when it is not a dead letter's id. */
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
 * Returns a dead letter after one more of its records. Undefined if the record does not belong to a dead letter, or if
 * the refusal before it was deleted.
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
