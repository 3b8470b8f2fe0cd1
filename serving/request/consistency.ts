import { TidelineError } from "../../core/errors.ts";
import { type AsOf, decodeAsOf } from "../../core/log/as-of.ts";
import { type Cut, farthest, position } from "../../core/log/position.ts";
import type { Fail } from "../../core/query/parameters.ts";
import { parseDuration } from "../../core/time.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import type { DescribedView } from "../views/served-views.ts";
import type { One } from "./request.ts";
import type { Serving } from "./serving.ts";

/** The requested position of an answer. */
export interface Consistency {
  /** Exactly this position: the `asOf` of an earlier answer. */
  readonly at: AsOf | null;
  /** This position or a later one, so that clients can read their own writes. */
  readonly min: Cut | null;
  /** How long to wait for `min`. */
  readonly waitMs: number;
}

const DEFAULT_WAIT_MS = 5_000;
const MAX_WAIT_MS = 30_000;

/** The most positions in `min`. */
export const MOST_PIECES = 64;

/** Splits `min` into its positions. Returns none, and reports that, if there are too many. */
export function piecesOf(text: string, fail: Fail): string[] {
  const pieces = text.split(",", MOST_PIECES + 1);
  if (pieces.length <= MOST_PIECES) return pieces;
  fail("min", "names too many positions", `at most ${MOST_PIECES}`);
  return [];
}

const TOKEN = "the asOf of an earlier answer";

/** Reads `at`, `min` and `wait`. Throws GENERATION_GONE for a token of a definition that is no longer served. */
export function readConsistency(
  { views, namespace }: Serving,
  one: One,
  fail: Fail,
  asked: DescribedView,
): Consistency {
  const { view, generation } = asked.definition;
  const topic = topicOf(namespace, view.stream);
  const atText = one("at");
  const minText = one("min");
  const token = (parameter: string, text: string): AsOf | null => {
    const asOf = decodeAsOf(text);
    if (asOf === null) fail(parameter, `"${text.slice(0, 60)}" is not a position`, allowedFor(parameter, topic));
    return asOf;
  };
  const asOf = atText === undefined ? null : token("at", atText);
  if (asOf !== null && asOf.generation !== generation) throw generationGone(view.name);
  let min: Cut | null = null;
  for (const part of minText === undefined ? [] : piecesOf(minText, fail)) {
    const wanted = part.includes(":") ? recordAt(part, topic, fail) : token("min", part);
    if (wanted === null) continue;
    if ("generation" in wanted && !sameLog(views, view.stream.name, wanted.generation)) throw generationGone(view.name);
    min = farthest(min ?? new Map(), "generation" in wanted ? wanted.applied : wanted);
  }
  if (atText !== undefined && minText !== undefined)
    fail("min", "cannot be used together with at", "one of at and min");
  return { at: asOf, min, waitMs: waitOf(one, fail) };
}

function allowedFor(parameter: string, topic: string): string {
  return parameter === "at" ? TOKEN : `${TOKEN}, or ${topic}:partition:offset; several separated by commas`;
}

/**
 * Reads `topic:partition:offset`, which names a record. Returns the position behind the record, so that the answer
 * includes it. The topic may have more partitions by now than its contract says.
 */
export function recordAt(text: string, topic: string, fail: Fail): Cut | null {
  const [, named, partition, offset] = /^(.*):(\d{1,6}):(\d{1,18})$/.exec(text) ?? [];
  if (named === topic) return new Map([[Number(partition), position(BigInt(offset ?? 0) + 1n)]]);
  const what = named === undefined ? "is not a position" : "names another topic than this view reads";
  fail("min", `"${text.slice(0, 120)}" ${what}`, allowedFor("min", topic));
  return null;
}

/** Whether a generation's view reads this stream. Then its positions can be used for other views of the stream. */
export function sameLog(views: Serving["views"], stream: string, generation: string): boolean {
  return [...views.values()].some(
    ({ definition }) => definition.generation === generation && definition.view.stream.name === stream,
  );
}

/** Reads `wait`: how long to wait for `min`, in milliseconds. */
export function waitOf(one: One, fail: Fail): number {
  const text = one("wait");
  if (text === undefined) return DEFAULT_WAIT_MS;
  const waitMs = /^\d{1,6}$/.test(text) ? Number(text) : parseDuration(text);
  if (waitMs !== null && waitMs <= MAX_WAIT_MS) return waitMs;
  fail("wait", `"${text.slice(0, 60)}" is not a duration in the range`, "milliseconds, or 1s to 30s");
  return DEFAULT_WAIT_MS;
}

/** Returns the error for a position of a definition that is not served. */
export function generationGone(view: string): TidelineError {
  return new TidelineError(
    "GENERATION_GONE",
    `the position belongs to a definition of "${view}" that is not served, or to another stream: ask again without it`,
    "",
  );
}
