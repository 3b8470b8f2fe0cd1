import { at, type Cut, partitionsOf } from "../../core/log/position.ts";
import type { ViewOverview } from "../../serving/operations/overview.ts";
import type { Archive } from "../../store/archive/archive.ts";
import type { LiveResets } from "../../store/archive/live-resets.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { RESTORE_HINT } from "../../store/files/intact.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import type { Config } from "../setup/config.ts";
import { seconds } from "../terminal/seconds.ts";
import { type Finding, judged, ok, problem, warning } from "./finding.ts";

/** A view that is behind the log and has applied nothing for this long is not being read. */
const STALE_MS = 60_000;
/** A reset of live state is reported for this long. */
const RESET_SHOWN_MS = 7 * 86_400_000;

/**
 * Checks every view: its version lies within the archive, live state tiles from its cut, and it is fresh. `ends` are
 * the logs' ends by stream name.
 */
export async function checkViews(
  config: Config,
  { archive, resets }: { readonly archive: Archive; readonly resets: LiveResets },
  overviews: readonly ViewOverview[],
  ends: ReadonlyMap<string, Cut>,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const found of overviews) {
    findings.push(...(await checkResets(resets, found.definition)));
    const { name, stream } = found.definition.view;
    const { damage } = found;
    if (damage !== undefined && found.status === null) {
      findings.push(problem("view.version", `${name}: ${damage.message}`, damage.hint));
      continue;
    }
    if (found.status === null) {
      const todo = "Start `tideline speed` or `tideline worker`; the first of them does that.";
      findings.push(problem("view.version", `${name}: nothing is published yet`, todo));
      continue;
    }
    const { manifest, missing, cut } = found.status;
    const archived = await archive.archived(topicOf(config.namespace, stream), manifest.topicId).catch(() => null);
    if (found.definition.frozen) {
      findings.push(checkCut(name, manifest.version, cut, archived), frozen(found.definition, manifest.version));
      continue;
    }
    findings.push(
      checkCut(name, manifest.version, cut, archived),
      judged(missing === null, "view.tiles", `${name}: live state tiles from version ${manifest.version}`, {
        level: "problem",
        message: `${name}: ${missing?.message}`,
        todo: damage?.hint ?? "See that `tideline speed` runs: it begins again at the newest version by itself.",
      }),
      checkFreshness(found, ends.get(stream.name)),
    );
  }
  return findings;
}

function frozen({ view: { name }, generation }: Definition, version: number): Finding {
  const message =
    `${name}: another release computed ${generation}, and this one computes it ` +
    `otherwise: it answers from version ${version}, and does not grow`;
  const todo =
    "The worker builds the generation of this release and then serves it; `tideline views` shows both. Served " +
    "on purpose since `tideline views back`: `tideline views move` serves the other one.";
  return warning("view.frozen", message, todo);
}

/** Checks whether live state was dropped lately because it differed from the archive. */
async function checkResets(resets: LiveResets, { view, generation }: Definition): Promise<Finding[]> {
  const last = await resets.newest(generation);
  if (last === null || Date.now() - last.atMs > RESET_SHOWN_MS) return [];
  const when = new Date(last.atMs).toISOString();
  const message = `${view.name}: its live state was dropped at ${when} and read again from the log: ${last.message}`;
  return [warning("view.reset", message, "Answers are right again. Please report this.")];
}

function checkCut(name: string, version: number, cut: Cut, archived: Cut | null): Finding {
  // Version 0 has no data, so it needs no archive.
  const beyond =
    archived === null ? [] : partitionsOf(cut).filter((partition) => at(cut, partition) > at(archived, partition));
  return judged(
    version === 0 || (archived !== null && beyond.length === 0),
    "view.cut",
    `${name}: version ${version} lies within the archive`,
    {
      level: "problem",
      message: `${name}: version ${version} reaches beyond the archive in partitions ${beyond.join(", ") || "all"}`,
      todo: `${RESTORE_HINT} Part of the archive was lost.`,
    },
  );
}

function checkFreshness({ definition, status }: ViewOverview, end: Cut | undefined): Finding {
  const { name } = definition.view;
  const check = "view.freshness";
  if (status === null || end === undefined) return ok(check, `${name}: not compared with the log`);
  const behind = partitionsOf(end).reduce(
    (sum, partition) => sum + at(end, partition) - at(status.applied, partition),
    0n,
  );
  const stale = behind > 0n && (status.freshnessMs ?? 0) > STALE_MS;
  const message = `${name}: ${behind} positions behind the log, ${seconds(status.freshnessMs)} fresh`;
  return stale ? problem(check, message, "Look into the log and the metrics of `tideline speed`.") : ok(check, message);
}
