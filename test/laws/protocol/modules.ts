import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("../../..", import.meta.url)).replace(/\/$/, "");

/** The parts of the program that take part in the protocol, as they are in `folder`: the repository, or a test build. */
export async function loadProtocol(folder: string) {
  const load = <T>(file: string) => import(/* @vite-ignore */ `${folder}/${file}`) as Promise<T>;
  return {
    ...(await load<typeof import("../../../batch-layer/accept-log.ts")>("batch-layer/accept-log.ts")),
    ...(await load<typeof import("../../../batch-layer/archive-chunk.ts")>("batch-layer/archive-chunk.ts")),
    ...(await load<typeof import("../../../batch-layer/archive-stream.ts")>("batch-layer/archive-stream.ts")),
    ...(await load<typeof import("../../../batch-layer/compact.ts")>("batch-layer/compact.ts")),
    ...(await load<typeof import("../../../batch-layer/delta.ts")>("batch-layer/delta.ts")),
    ...(await load<typeof import("../../../batch-layer/publish.ts")>("batch-layer/publish.ts")),
    ...(await load<typeof import("../../../batch-layer/refresh.ts")>("batch-layer/refresh.ts")),
    ...(await load<typeof import("../../../batch-layer/seal.ts")>("batch-layer/seal.ts")),
    ...(await load<typeof import("../../../batch-layer/stores.ts")>("batch-layer/stores.ts")),
    ...(await load<typeof import("../../../serving/batch-states.ts")>("serving/batch-states.ts")),
    ...(await load<typeof import("../../../serving/duck-queue.ts")>("serving/duck-queue.ts")),
    ...(await load<typeof import("../../../serving/reader.ts")>("serving/reader.ts")),
    ...(await load<typeof import("../../../serving/redis-gate.ts")>("serving/redis-gate.ts")),
    ...(await load<typeof import("../../../serving/segment-cache.ts")>("serving/segment-cache.ts")),
    ...(await load<typeof import("../../../serving/standings.ts")>("serving/standings.ts")),
    ...(await load<typeof import("../../../speed-layer/lane.ts")>("speed-layer/lane.ts")),
    ...(await load<typeof import("../../../speed-layer/metrics.ts")>("speed-layer/metrics.ts")),
    ...(await load<typeof import("../../../speed-layer/view-track.ts")>("speed-layer/view-track.ts")),
    ...(await load<typeof import("../../../store/archive.ts")>("store/archive.ts")),
    ...(await load<typeof import("../../../store/chain.ts")>("store/chain.ts")),
    ...(await load<typeof import("../../../store/duck.ts")>("store/duck.ts")),
    ...(await load<typeof import("../../../store/files.ts")>("store/files.ts")),
    ...(await load<typeof import("../../../store/fold.ts")>("store/fold.ts")),
    ...(await load<typeof import("../../../store/generation-start.ts")>("store/generation-start.ts")),
    ...(await load<typeof import("../../../store/log.ts")>("store/log.ts")),
    ...(await load<typeof import("../../../store/manifests.ts")>("store/manifests.ts")),
    ...(await load<typeof import("../../../store/redis.ts")>("store/redis.ts")),
  };
}

export type Protocol = Awaited<ReturnType<typeof loadProtocol>>;
