import { isTidelineError, sentencesOf, TidelineError } from "../../core/errors.ts";
import { at, type Cut, type CutJson, cutFromJson, partitionsOf } from "../../core/log/position.ts";
import { separated } from "../../core/secrets.ts";
import { formatDuration } from "../../core/time.ts";
import type { Trouble } from "../../serving/common/trouble.ts";
import { pause } from "../../store/pause.ts";
import { apiSilent } from "../query/answer-text.ts";
import type { Config } from "../setup/config.ts";
import { interruptible, showProgress } from "../terminal/progress.ts";

const POLL_MS = 300;
const ASK_TIMEOUT_MS = 10_000;

/** The fields of a view in `GET /views` that matter here. */
interface ViewAt {
  readonly name: string;
  readonly applied: CutJson | null;
  readonly problems?: readonly Trouble[];
}

/**
 * Returns `topic:partition:offset` of the last records below `reached`, separated by commas, for `query --min` and the
 * parameter `min`.
 */
export function positionText(topic: string, reached: Cut): string {
  return partitionsOf(reached)
    .map((partition) => `${topic}:${partition}:${at(reached, partition) - 1n}`)
    .join(",");
}

/** The progress of a view towards `reached`. */
export type Arrival =
  | { readonly state: "there" }
  | { readonly state: "underway"; readonly records: bigint }
  | { readonly state: "stopped"; readonly problem: Trouble };

/**
 * Returns the progress of a view from its entry in `GET /views`; `view` is undefined if the API does not know the view.
 */
export function arrivalOf(reached: Cut, view: ViewAt | undefined): Arrival {
  const applied = cutFromJson(view?.applied ?? {});
  const missing = partitionsOf(reached).map((partition) => at(reached, partition) - at(applied, partition));
  const records = missing.reduce((sum, one) => (one > 0n ? sum + one : sum), 0n);
  if (view !== undefined && records === 0n) return { state: "there" };
  const problem = view?.problems?.find(({ kind }) => kind === "view");
  return problem === undefined ? { state: "underway", records } : { state: "stopped", problem };
}

/**
 * Waits until each of the views has the log below `reached`, and shows how many positions are missing. Does not wait
 * for a view that is stopped. Throws NOT_READY when the API does not answer, when a view is stopped, and after
 * `timeoutMs`, naming the views.
 */
export async function waitForViews(
  config: Config,
  views: readonly string[],
  reached: Cut,
  timeoutMs: number,
): Promise<void> {
  const line = showProgress("positions");
  const asked = separated(`${config.apiUrl.replace(/\/$/, "")}/views`, config.apiKey);
  const endsMs = performance.now() + timeoutMs;
  const arrivals = await interruptible(async (stop) => {
    let most = 0n;
    for (;;) {
      const found = await arrivalsOf(asked, views, reached, stop);
      const left = found.reduce((sum, [, one]) => (one.state === "underway" ? sum + one.records : sum), 0n);
      most = left > most ? left : most;
      line.update(Number(most - left), Number(most));
      const isOver = found.every(([, { state }]) => state !== "underway") || performance.now() > endsMs;
      if (isOver || stop.aborted) return found;
      await pause(POLL_MS, { signal: stop });
    }
  }).finally(() => line.stop());
  if (process.exitCode === 130) return;
  const late = arrivals.filter(([, { state }]) => state !== "there");
  if (late.length === 0) process.stdout.write(`${views.join(", ") || "no view reads it; nothing"} has all of it\n`);
  else throw notReached(late, timeoutMs);
}

type Asked = ReturnType<typeof separated>;

async function arrivalsOf(
  asked: Asked,
  views: readonly string[],
  reached: Cut,
  stop: AbortSignal,
): Promise<[string, Arrival][]> {
  const known = await askViews(asked, stop).catch((cause: unknown) => {
    if (stop.aborted) return [];
    throw isTidelineError(cause) ? cause : apiSilent(asked.url, cause);
  });
  return views.map((name) => [
    name,
    arrivalOf(
      reached,
      known.find((one) => one.name === name),
    ),
  ]);
}

async function askViews({ url, headers }: Asked, stop: AbortSignal): Promise<readonly ViewAt[]> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(ASK_TIMEOUT_MS)]);
  const response = await fetch(url, { headers, signal });
  if (response.status === 401 || response.status === 403) {
    const hint =
      "Set TIDELINE_API_KEY to a key for `read`. The events were sent: sending the file again is not needed.";
    throw new TidelineError("NOT_READY", `${url.origin} refuses to say what the views have (${response.status})`, hint);
  }
  if (!response.ok) throw new Error(`${url.href} answered ${response.status}`);
  return ((await response.json()) as { views: readonly ViewAt[] }).views;
}

function notReached(late: readonly (readonly [string, Arrival])[], timeoutMs: number): TidelineError {
  const sentences = late.map(([name, one]) =>
    one.state === "stopped"
      ? `${name} is stopped: ${one.problem.code}: ${sentencesOf(one.problem)}`
      : `after ${formatDuration(timeoutMs)} ${name} lacks ${one.state === "underway" ? one.records : 0} positions`,
  );
  return new TidelineError(
    "NOT_READY",
    `the events were sent, and not every view has them: ${sentences.join("; ")}`,
    "`tideline status` shows what the views do; --timeout 1h waits longer. Sending the file again is not needed.",
  );
}
