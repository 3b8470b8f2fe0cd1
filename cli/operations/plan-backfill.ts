import { join } from "node:path";
import {
  type Backfill,
  type BackfillSurvey,
  foreseeBackfill,
  surveyBackfill,
} from "../../batch-layer/recompute/backfill.ts";
import { UNWATCHED } from "../../batch-layer/stores.ts";
import type { TimeRange } from "../../core/interval.ts";
import { Archive } from "../../store/archive/archive.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import type { Config } from "../setup/config.ts";

/** Returns what a backfill would do, from the data directory alone. Throws NOT_READY before the first publish. */
export async function planOfBackfill(
  { home, namespace }: Config,
  { view, generation }: Definition,
  interval: TimeRange,
): Promise<{ readonly backfill: Backfill; readonly plan: BackfillSurvey }> {
  const root = join(home, "data");
  const data = new DataDirectory(root);
  const pool = await DuckPool.open({ threads: 2, memoryLimitMb: 512, directories: [root] });
  try {
    const stores = { data, archive: new Archive(data), manifests: new Manifests(data), pool };
    const target = { view, generation, stream: view.stream, topic: topicOf(namespace, view.stream) };
    const backfill = await foreseeBackfill(stores, target, interval);
    return { backfill, plan: await surveyBackfill(stores, target, backfill, UNWATCHED) };
  } finally {
    pool.close();
  }
}
