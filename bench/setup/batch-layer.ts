import { archiveChunk } from "../../batch-layer/archive/archive-chunk.ts";
import { planStream } from "../../batch-layer/archive/archive-stream.ts";
import { planFirstVersion, publishFirstVersion } from "../../batch-layer/recompute/first-version.ts";
import {
  type BuiltPart,
  finishRebuild,
  pinVersion,
  planParts,
  type RebuildResult,
  rebuildPart,
} from "../../batch-layer/recompute/rebuild.ts";
import type { RebuildPart } from "../../batch-layer/recompute/rebuild-plan.ts";
import { type BatchStores, type StreamTarget, UNWATCHED, type ViewTarget } from "../../batch-layer/stores.ts";
import { generationOf } from "../../core/definition/generation.ts";
import type { View } from "../../core/definition/view.ts";
import { Archive } from "../../store/archive/archive.ts";
import { beginGeneration } from "../../store/archive/generation-start.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { inParallel } from "../../workflows/shared/parallel.ts";

/** As many chunks or parts side by side as the workflows have. */
const AT_ONCE = 2;

/** The batch layer's steps in this process, without Temporal: what its workflows call, in their order. */
export class BatchLayer {
  readonly stores: BatchStores & { readonly log: LogReader };

  private constructor(stores: BatchLayer["stores"]) {
    this.stores = stores;
  }

  static async open(options: { brokers: string; dataDir: string; now?: () => number }): Promise<BatchLayer> {
    const data = new DataDirectory(options.dataDir);
    const pool = await DuckPool.open({ threads: 2, memoryLimitMb: 2_048, directories: [data.root] });
    const log = new LogReader({ brokers: options.brokers, clientId: "bench" });
    const archive = new Archive(data, options.now ?? Date.now);
    return new BatchLayer({ data, archive, manifests: new Manifests(data), log, pool, schemas: Schemas.inFiles(data) });
  }

  target(view: View): ViewTarget {
    return { view, stream: view.stream, generation: generationOf(view), topic: view.stream.name };
  }

  /** Archives all there is; returns how many records that were. */
  async archive(target: StreamTarget): Promise<number> {
    const plan = await planStream(this.stores, target, null);
    let records = 0;
    const partitions = [...new Set(plan.chunks.map(({ partition }) => partition))];
    await inParallel(AT_ONCE, partitions, async (partition) => {
      for (const chunk of plan.chunks.filter((one) => one.partition === partition)) {
        for (let from = chunk.from; from !== chunk.to; ) {
          const made = await archiveChunk(
            this.stores,
            { ...target, topicId: plan.topicId },
            { chunk: { ...chunk, from } },
            UNWATCHED,
          );
          records += made.records;
          from = made.to;
        }
      }
    });
    return records;
  }

  /** Version 1 of a view from the archive: its states in parts, merged and published. */
  async firstVersion(target: ViewTarget): Promise<void> {
    await beginGeneration(this.stores, target.generation, target.topic, "bench");
    const plan = await planFirstVersion(this.stores, target);
    if (plan === null) throw new Error(`${target.view.name}: nothing to build a first version from`);
    const parts = await this.#build(target, plan.topicId, plan.parts, "bench");
    await publishFirstVersion(this.stores, target, { first: plan, built: parts, createdBy: "bench" }, UNWATCHED);
  }

  /**
   * A rebuild as its workflow does it: what is there is hashed, everything built again, hashed too, merged and
   * published.
   */
  async rebuild(target: ViewTarget, run: string): Promise<RebuildResult> {
    const pinned = await pinVersion(this.stores, target, UNWATCHED);
    const parts = await this.#build(target, pinned.topicId, await planParts(this.stores, target, pinned), run);
    return finishRebuild(this.stores, target, { pinned, parts, run, createdBy: run }, UNWATCHED);
  }

  #build(target: ViewTarget, topicId: string, parts: readonly RebuildPart[], run: string): Promise<BuiltPart[]> {
    return inParallel(AT_ONCE, parts, (part) => rebuildPart(this.stores, target, { topicId, part, run }, UNWATCHED));
  }

  async close(): Promise<void> {
    await this.stores.log.close();
    this.stores.pool.close();
  }
}
