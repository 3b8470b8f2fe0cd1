import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("../../..", import.meta.url)).replace(/\/$/, "");

/**
 * The parts of the program that take part in the protocol, as they are in `folder`: the repository, or a test build.
 */
export async function loadProtocol(folder: string) {
  const load = <T>(file: string) => import(/* @vite-ignore */ `${folder}/${file}`) as Promise<T>;
  return {
    ...(await load<typeof import("../../../batch-layer/recompute/accept-log.ts")>(
      "batch-layer/recompute/accept-log.ts",
    )),
    ...(await load<typeof import("../../../batch-layer/archive/archive-chunk.ts")>(
      "batch-layer/archive/archive-chunk.ts",
    )),
    ...(await load<typeof import("../../../batch-layer/archive/archive-stream.ts")>(
      "batch-layer/archive/archive-stream.ts",
    )),
    ...(await load<typeof import("../../../batch-layer/versions/compact.ts")>("batch-layer/versions/compact.ts")),
    ...(await load<typeof import("../../../batch-layer/refresh/delta.ts")>("batch-layer/refresh/delta.ts")),
    ...(await load<typeof import("../../../batch-layer/versions/publish.ts")>("batch-layer/versions/publish.ts")),
    ...(await load<typeof import("../../../batch-layer/refresh/refresh.ts")>("batch-layer/refresh/refresh.ts")),
    ...(await load<typeof import("../../../batch-layer/refresh/seal.ts")>("batch-layer/refresh/seal.ts")),
    ...(await load<typeof import("../../../batch-layer/stores.ts")>("batch-layer/stores.ts")),
    ...(await load<typeof import("../../../serving/read/batch/batch-states.ts")>("serving/read/batch/batch-states.ts")),
    ...(await load<typeof import("../../../serving/read/batch/duck-queue.ts")>("serving/read/batch/duck-queue.ts")),
    ...(await load<typeof import("../../../serving/read/reader.ts")>("serving/read/reader.ts")),
    ...(await load<typeof import("../../../serving/read/live/redis-gate.ts")>("serving/read/live/redis-gate.ts")),
    ...(await load<typeof import("../../../serving/read/live/segment-cache.ts")>("serving/read/live/segment-cache.ts")),
    ...(await load<typeof import("../../../serving/read/live/view-status.ts")>("serving/read/live/view-status.ts")),
    ...(await load<typeof import("../../../speed-layer/fetches.ts")>("speed-layer/fetches.ts")),
    ...(await load<typeof import("../../../speed-layer/lane.ts")>("speed-layer/lane.ts")),
    ...(await load<typeof import("../../../speed-layer/metrics.ts")>("speed-layer/metrics.ts")),
    ...(await load<typeof import("../../../speed-layer/view-track.ts")>("speed-layer/view-track.ts")),
    ...(await load<typeof import("../../../store/archive/archive.ts")>("store/archive/archive.ts")),
    ...(await load<typeof import("../../../store/redis/chain.ts")>("store/redis/chain.ts")),
    ...(await load<typeof import("../../../store/duckdb/duck.ts")>("store/duckdb/duck.ts")),
    ...(await load<typeof import("../../../store/files/files.ts")>("store/files/files.ts")),
    ...(await load<typeof import("../../../store/redis/compact-segments.ts")>("store/redis/compact-segments.ts")),
    ...(await load<typeof import("../../../store/archive/generation-start.ts")>("store/archive/generation-start.ts")),
    ...(await load<typeof import("../../../store/kafka/read/log.ts")>("store/kafka/read/log.ts")),
    ...(await load<typeof import("../../../store/archive/manifests.ts")>("store/archive/manifests.ts")),
    ...(await load<typeof import("../../../store/redis/redis.ts")>("store/redis/redis.ts")),
  };
}

export type Protocol = Awaited<ReturnType<typeof loadProtocol>>;
