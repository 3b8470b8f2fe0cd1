import { once } from "node:events";
import { join } from "node:path";
import type { ErrorCode } from "../../core/errors.ts";
import { type Cut, positionsBetween } from "../../core/log/position.ts";
import type { Missing } from "../../serving/common/missing.ts";
import type { ViewOverview } from "../../serving/operations/overview.ts";
import { type ShownStatus, shownStatus } from "../../serving/read/live/shown-status.ts";
import type { Definition, Definitions } from "../../store/definitions/definitions.ts";
import type { Unreadable } from "../../store/definitions/generations.ts";
import type { Config } from "../setup/config.ts";
import { PATIENCE_MS } from "../setup/patience.ts";

export interface StatusLine extends ShownStatus {
  readonly view: string;
  readonly generation: string;
  /** How many positions the answer is behind the log; null if the log cannot be read. */
  readonly positionsBehind: number | null;
  readonly missing?: Missing | { readonly code: "UNREADABLE" | ErrorCode; readonly message: string };
}

/** Returns the status of every view, compared with the `ends` of the log by stream name. */
export async function viewsOf(
  config: Config,
  definitions: Definitions,
  ends: ReadonlyMap<string, Cut>,
): Promise<{ reachable: boolean; views: StatusLine[] }> {
  const { livingGenerations } = await import("../operations/generations.ts");
  const { living, unreadable } = await livingGenerations(config, definitions);
  const served = living.filter(({ part }) => part === "served");
  const { reachable, overviews } = await overviewsOf(
    config,
    served.map(({ definition }) => definition),
  );
  const lost = unreadable.filter(({ part }) => part === "served").map(unreadableStatus);
  return { reachable, views: [...overviews.map((one) => statusLine(one, ends)), ...lost] };
}

function unreadableStatus({ view, generation, error }: Unreadable): StatusLine {
  const missing = { code: "UNREADABLE", message: error.message } as const;
  return { view, generation, ...shownStatus(null), positionsBehind: null, missing };
}

/** Returns the newest version and chain of each view. `reachable`: whether Redis answered. */
export async function overviewsOf(
  config: Config,
  definitions: readonly Definition[],
): Promise<{ reachable: boolean; overviews: ViewOverview[] }> {
  const [{ openRedis }, { RedisGate }, { ViewStatuses }, { viewOverviews }, { Manifests }, { DataDirectory }] =
    await Promise.all([
      import("../../store/redis/redis.ts"),
      import("../../serving/read/live/redis-gate.ts"),
      import("../../serving/read/live/view-status.ts"),
      import("../../serving/operations/overview.ts"),
      import("../../store/archive/manifests.ts"),
      import("../../store/files/files.ts"),
    ]);
  const redis = openRedis(config.redisUrl, () => {});
  try {
    await once(redis, "ready", { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => {});
    const manifests = new Manifests(new DataDirectory(join(config.home, "data")));
    const statuses = new ViewStatuses({ manifests, gate: new RedisGate(redis), namespace: config.namespace });
    const found = await viewOverviews(statuses, definitions);
    return { reachable: redis.status === "ready", overviews: found };
  } finally {
    redis.disconnect();
  }
}

function statusLine({ definition, status, damage }: ViewOverview, ends: ReadonlyMap<string, Cut>): StatusLine {
  const { view, generation } = definition;
  const { version, cut, applied, freshnessMs, complete } = shownStatus(status);
  const end = ends.get(view.stream.name);
  // The log's end was read first, so the view may be beyond it by now.
  const behind = end === undefined || status === null ? null : Number(positionsBetween(status.applied, end));
  return {
    view: view.name,
    generation,
    version,
    cut,
    applied,
    positionsBehind: behind,
    freshnessMs,
    complete,
    ...(damage === undefined ? {} : { missing: { code: damage.code, message: damage.message } }),
    ...(status === null || status.missing === null ? {} : { missing: status.missing }),
  };
}
