import { decodeOne } from "../../core/codec/decode/decode.ts";
import type { DeadLetter } from "../../store/dead-letters/dead-letters.ts";
import { LetterReplay, type Outgoing } from "../../store/dead-letters/letter-replay.ts";
import type { Config } from "../setup/config.ts";
import { print } from "../terminal/sheet.ts";
import {
  fullId,
  lettersOf,
  letterUnknown,
  placeOf,
  type StreamLetters,
  shortId,
  stateOf,
  streamOf,
} from "./dead-letters.ts";

export interface ReplayFlags {
  readonly all: boolean;
  readonly reason?: string;
  readonly dryRun: boolean;
  readonly json: boolean;
}

interface Outcome {
  readonly id: string;
  /** Partition:offset of the new record; null if none was sent. */
  readonly replayedTo: string | null;
  /** Why it was not sent. */
  readonly problem?: string;
}

/** The most dead letters in one transaction. */
const CHUNK = 200;

/**
 * Replays the dead letters in `ids`, or the edited ones with `flags.reason`, or all edited ones. Sets exit code 1 if
 * one of them could not be sent.
 */
export async function replayLetters(config: Config, ids: readonly string[], flags: ReplayFlags): Promise<void> {
  const wanted = new Set(ids.map((id) => fullId(config, id)));
  const streams = ids.length === 0 ? undefined : new Set(ids.map((id) => streamOf(config, id)));
  const outcomes: Outcome[] = [];
  for (const found of await lettersOf(config, streams, wanted)) {
    if (!flags.dryRun && chosen(found, wanted, flags).length > 0)
      outcomes.push(...(await replayStream(config, found, wanted, flags)));
    else outcomes.push(...plan(found, wanted, flags).map(({ outcome }) => outcome));
  }
  const known = new Set(outcomes.map(({ id }) => id));
  const unknown = [...wanted].find((id) => !known.has(id));
  if (unknown !== undefined) throw letterUnknown(shortId(config, unknown));
  const shown = outcomes.map((one) => ({ ...one, id: shortId(config, one.id) }));
  const sheet = {
    head: ["id", flags.dryRun ? "would be sent" : "sent to"],
    right: [],
    rows: shown.map(({ id, replayedTo, problem }) => [id, problem ?? replayedTo ?? "yes"]),
  };
  await print(flags.json, shown, sheet, "no edited dead letter to replay");
  if (outcomes.some(({ problem }) => problem !== undefined)) process.exitCode = 1;
}

/**
 * Opens the replay first, which ends any other replay. Only then reads the dead letters, which say what was already
 * replayed.
 */
async function replayStream(
  config: Config,
  target: StreamLetters,
  wanted: ReadonlySet<string>,
  flags: ReplayFlags,
): Promise<Outcome[]> {
  const replay = await LetterReplay.open(config.kafkaBrokers, target);
  try {
    const [found] = await lettersOf(config, new Set([target.stream.name]), wanted);
    const plans = found === undefined ? [] : plan(found, wanted, flags);
    const outcomes = plans.flatMap(({ outcome, outgoing }) => (outgoing === null ? [outcome] : []));
    const outgoing = plans.flatMap((one) => (one.outgoing === null ? [] : [one.outgoing]));
    for (let start = 0; start < outgoing.length; start += CHUNK) {
      const sent = await replay.send(outgoing.slice(start, start + CHUNK));
      outcomes.push(...sent.map(({ id, partition, offset }) => ({ id, replayedTo: `${partition}:${offset}` })));
    }
    return outcomes;
  } finally {
    await replay.close();
  }
}

/** Returns the dead letters that the command is about. */
function chosen({ letters }: StreamLetters, wanted: ReadonlySet<string>, { reason = "" }: ReplayFlags): DeadLetter[] {
  return [...letters.values()].filter((letter) =>
    wanted.size > 0 ? wanted.has(letter.id) : stateOf(letter) === "edited" && letter.reason.startsWith(reason),
  );
}

function plan(found: StreamLetters, wanted: ReadonlySet<string>, flags: ReplayFlags) {
  return chosen(found, wanted, flags).map((letter): { outcome: Outcome; outgoing: Outgoing | null } => {
    const problem = obstacle(found, letter);
    const { id, edited } = letter;
    if (problem !== null || edited === null)
      return { outcome: { id, replayedTo: null, problem: problem ?? "" }, outgoing: null };
    return {
      outcome: { id, replayedTo: null },
      outgoing: { id, key: letter.key ?? keyOf(found, edited), value: edited },
    };
  });
}

/** Returns why a dead letter must not be sent; null if it may. */
function obstacle({ stream }: StreamLetters, letter: DeadLetter): string | null {
  const { edited, original = null, replayedTo } = letter;
  if (replayedTo !== null) return `was replayed to ${replayedTo} already`;
  const decoded = decodeOne(stream, edited ?? original, undefined, placeOf(letter));
  if (!decoded.ok) return `is refused: ${decoded.reject}${edited === null ? "; edit it first" : ""}`;
  if (edited === null) return "is accepted by today's contract where it lies: a new revision counts it there";
  return null;
}

/** Returns the key that the contract names, from the value. A record without a key is sent under this key. */
function keyOf({ stream }: StreamLetters, value: Buffer): string {
  const decoded = decodeOne(stream, value);
  const event = JSON.parse(decoded.ok ? decoded.canonical : value.toString()) as Record<string, unknown>;
  return String(event[stream.key]);
}
