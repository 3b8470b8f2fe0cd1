import { sentencesOf } from "../../core/errors.ts";
import { sentenceOf } from "../../core/failures.ts";
import { seconds } from "../terminal/seconds.ts";
import type { Findings } from "./report.ts";
import type { StatusLine } from "./views.ts";

/** A view that is behind the log and has applied nothing for this long is stuck. */
const STUCK_MS = 60_000;

/** Results of a schedule's last run that are not problems. */
const FINE = new Set(["RUNNING", "COMPLETED", "CONTINUED_AS_NEW", "UNKNOWN"]);

/** Returns a sentence for each problem; none if all is well. */
export function problemsOf({ servers, streams, views, schedules, failures, workers }: Findings): string[] {
  return [
    ...servers
      .filter(({ reachable }) => !reachable)
      .map(({ server, address }) => `${server} does not answer at ${address}`),
    ...(workers === 0 ? ["no worker asks Temporal for work: nothing is archived, and no version is published"] : []),
    ...failures.map((failure) => sentencesOf({ message: sentenceOf(failure), hint: failure.hint })),
    ...streams.flatMap(({ stream, problem }) => (problem === undefined ? [] : [`${stream}: ${problem}`])),
    ...views.flatMap(viewProblems),
    ...schedules
      .filter(({ lastResult }) => lastResult !== null && !FINE.has(lastResult))
      .map(({ schedule, lastResult }) => `schedule ${schedule}: the last run ended ${lastResult}`),
  ];
}

function viewProblems({ view, version, missing, positionsBehind, freshnessMs }: StatusLine): string[] {
  if (missing !== undefined) return [`${view}: ${missing.message}`];
  if (version === null) return [`${view}: nothing is published yet`];
  const stuck = (positionsBehind ?? 0) > 0 && (freshnessMs ?? 0) > STUCK_MS;
  return stuck ? [`${view}: ${positionsBehind} positions behind, and nothing applied for ${seconds(freshnessMs)}`] : [];
}
