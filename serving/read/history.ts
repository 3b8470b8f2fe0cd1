import type { Manifest } from "../../core/log/documents.ts";
import { type Cut, cutReached, cutsEqual, cutText } from "../../core/log/position.ts";
import { tilesFrom } from "../../core/log/spans.ts";
import type { Manifests } from "../../store/archive/manifests.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import type { DataDirectory } from "../../store/files/files.ts";
import { type ChainState, type ClosedSegment, closedOf } from "../../store/redis/chain-state.ts";
import type { SegmentCache, SegmentTile } from "./live/segment-cache.ts";
import type { ViewStatuses } from "./live/view-status.ts";
import { NEWER, positionGone, type Recomputations } from "./recomputations.ts";

export interface HistoryOptions {
  readonly data: DataDirectory;
  readonly manifests: Manifests;
  readonly statuses: ViewStatuses;
  readonly segments: SegmentCache;
  readonly recomputations: Recomputations;
}

/** Immutable state that covers the log exactly up to the requested position. */
export interface PastTiles {
  readonly manifest: Manifest;
  readonly closed: readonly SegmentTile[];
}

/**
 * Finds the state of a view at an earlier position:
 *
 *   a version with this cut                                  -> that version
 *   a version, and closed segments that end exactly there    -> both
 *   else the newest version below it whose files are still there (version 0 has no files, so there is one)
 *        and the span from its cut, recomputed from archive and log
 */
export class History {
  readonly #options: HistoryOptions;

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  /**
   * Returns the state at `applied`. Throws POSITION_GONE for a position that is not stored any more, Vanished when a
   * segment has gone (ask again). Without `segments` it uses no live state, so that no segment can go. `left` is
   * aborted when the client has left.
   */
  async at(
    definition: Definition,
    applied: Cut,
    { segments, left }: { readonly segments: boolean; readonly left: AbortSignal | null },
  ): Promise<PastTiles> {
    const versions = await this.#readable(definition);
    const held = await this.#held(definition, versions, applied, segments);
    if (held !== null) return held;
    if (definition.frozen)
      throw positionGone("another release computed this definition: only whole versions of it can be answered", NEWER);
    const base = versions.find(({ cut }) => cutReached(applied, cut));
    if (base === undefined) throw positionGone("this position lies before the beginning of what is stored", NEWER);
    const span = { topicId: base.topicId, from: base.cut, to: applied };
    const file = await this.#options.recomputations.states(definition, span, left);
    // The state below a position is the same however it was put together, so its cache key needs only the position.
    const generation = `${definition.generation}@${cutText(applied)}`;
    return {
      manifest: { ...base, generation, cut: applied, files: file === null ? base.files : [...base.files, file] },
      closed: [],
    };
  }

  /**
   * Returns the versions whose files are there, newest first. If a version has lost its files, so have all earlier ones
   * except version 0.
   */
  async #readable(definition: Definition): Promise<Manifest[]> {
    const { manifests, statuses } = this.#options;
    const readable: Manifest[] = [];
    const newest = await statuses.manifest(definition, "newest");
    for (let { version } = newest; version >= 0; version--) {
      const manifest = await manifests.version(definition.generation, version);
      if (manifest !== null && (await this.#hasFiles(manifest))) readable.push(manifest);
      else version = Math.min(version, 1);
    }
    return readable;
  }

  async #hasFiles({ files }: Manifest): Promise<boolean> {
    const there = await Promise.all(
      files.filter(({ rows }) => rows > 0).map(({ file }) => this.#options.data.has(file)),
    );
    return there.every((found) => found);
  }

  async #held(
    definition: Definition,
    versions: readonly Manifest[],
    applied: Cut,
    segments: boolean,
  ): Promise<PastTiles | null> {
    const whole = versions.find(({ cut }) => cutsEqual(cut, applied));
    if (whole !== undefined) return { manifest: whole, closed: [] };
    const chain = segments ? await this.#options.statuses.loadChain(definition) : null;
    if (chain === null) return null;
    for (const manifest of versions) {
      const run = closedRun(manifest.cut, applied, chain);
      if (run !== null) return this.#closed(definition, manifest, run);
    }
    return null;
  }

  async #closed(definition: Definition, manifest: Manifest, run: readonly ClosedSegment[]): Promise<PastTiles | null> {
    const { segments, statuses } = this.#options;
    try {
      const closed = await segments.all(statuses.chain(definition), definition, run);
      return { manifest, closed };
    } catch (error) {
      statuses.missingBy(error);
      return null;
    }
  }
}

/** Returns the closed segments that tile `[cut, applied)`; null if they do not. */
function closedRun(cut: Cut, applied: Cut, chain: ChainState): readonly ClosedSegment[] | null {
  const closed = closedOf(chain.segments);
  const end = closed.findIndex(({ to }) => cutsEqual(to, applied));
  if (end < 0) return null;
  const run = tilesFrom(cut, closed.slice(0, end + 1));
  return run.ok ? run.tiles : null;
}
