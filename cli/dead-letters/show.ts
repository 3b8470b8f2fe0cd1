import { decodeOne } from "../../core/decode.ts";
import type { Stream } from "../../core/stream.ts";
import type { DeadLetter } from "../../store/dead-letters.ts";
import type { Config } from "../config.ts";
import { instantText } from "../sheet.ts";
import { readable } from "./bytes.ts";
import { findLetter, shortId, stateOf } from "./letters.ts";

/** Prints everything that is known of one letter. */
export async function showLetter(config: Config, text: string, json: boolean): Promise<void> {
  const { stream, letter } = await findLetter(config, text);
  const shown = json ? JSON.stringify(letterJson(config, stream, letter), null, 1) : letterText(config, stream, letter);
  process.stdout.write(`${shown}\n`);
}

function letterJson(config: Config, stream: Stream, letter: DeadLetter) {
  const { partition, offset, reason, key, original = null, edited, replayedTo } = letter;
  const base64 = (bytes: Buffer | null) => bytes?.toString("base64") ?? null;
  return {
    id: shortId(config, letter.id),
    stream: stream.name,
    partition,
    offset: offset.toString(),
    refusedAt: instantText(letter.refusedAtMs),
    reason,
    contract: verdict(stream, original),
    state: stateOf(letter),
    keyBase64: base64(key),
    originalBase64: base64(original),
    editedBase64: base64(edited),
    replayedTo,
  };
}

function letterText(config: Config, stream: Stream, letter: DeadLetter): string {
  const { partition, offset, reason, key, original = null, edited, replayedTo } = letter;
  const facts = [
    ["letter", shortId(config, letter.id)],
    ["lies in", `${stream.name}, partition ${partition}, offset ${offset}`],
    ["refused", `${instantText(letter.refusedAtMs)}: ${reason}`],
    ["contract", `revision ${stream.revision}: ${verdict(stream, original)}`],
    ["state", replayedTo === null ? stateOf(letter) : `replayed to partition:offset ${replayedTo}`],
    ["key", key === null ? "none" : readable(key)],
  ];
  const bytes = [["original", original], ...(edited === null ? [] : ([["edited", edited]] as const))] as const;
  return [
    ...facts.map(([name, value]) => `${name?.padEnd(10)}${value}`),
    ...bytes.map(
      ([name, value]) => `${name}, ${value === null ? "no value" : `${value.length} bytes`}:\n${readable(value)}`,
    ),
  ].join("\n");
}

/** What the contract says of these bytes now. */
function verdict(stream: Stream, bytes: Buffer | null): string {
  const decoded = decodeOne(stream, bytes);
  return decoded.ok ? "accepts it now" : `still refuses it: ${decoded.reject}`;
}
