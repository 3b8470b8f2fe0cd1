import { isTidelineError, TidelineError } from "../../../core/errors.ts";
import type { Manifest } from "../../../core/log/documents.ts";
import type { Cut, EpochMs } from "../../../core/log/position.ts";
import type { Misfit } from "../../../core/log/spans.ts";
import type { Manifests } from "../../../store/archive/manifests.ts";
import type { Definition } from "../../../store/definitions/definitions.ts";
import { Chain } from "../../../store/redis/chain.ts";
import {
  type ChainState,
  type ClosedSegment,
  closedOf,
  type OpenPart,
  type Segment,
  tilesOf,
} from "../../../store/redis/chain-state.ts";
import type { Missing } from "../../common/missing.ts";
import type { Trouble } from "../../common/trouble.ts";
import { type LiveRead, LiveReads } from "./live-reads.ts";
import { type RedisGate, RedisSilent } from "./redis-gate.ts";

/** The state that a view's answer is made of: a batch version, and the live state after it if the two tile. */
export interface ViewStatus {
  readonly manifest: Manifest;
  readonly cut: Cut;
  /** The answer contains exactly the log below these positions. */
  readonly applied: Cut;
  /**
   * How long ago the applied position was known to be the end of the log. Without live state: the age of the version.
   */
  readonly freshnessMs: number;
  readonly chain: ChainState | null;
  /** Null when batch version and live state tile the log. */
  readonly missing: Missing | null;
  /** The failures that keep the answer from growing. The answer is right anyway. */
  readonly problems: readonly Trouble[];
}

export interface ViewStatusesOptions {
  readonly manifests: Manifests;
  readonly gate: RedisGate;
  readonly namespace: string;
  readonly redisTimeoutMs?: number;
  readonly now?: () => EpochMs;
  /** Returns the failures that keep the answers of a generation from growing; none by default. */
  readonly problemsOf?: (generation: string) => readonly Trouble[];
  /** Called with the first known version, and with each newer one. */
  readonly onNewest?: (manifest: Manifest) => void;
}

const REDIS_TIMEOUT_MS = 1_000;

/** The newest manifest and the chain of every view. Every read begins with them. */
export class ViewStatuses {
  readonly now: () => EpochMs;
  readonly #options: ViewStatusesOptions;
  readonly #chains = new Map<string, Chain>();
  readonly #liveReads = new Map<string, LiveReads>();
  readonly #newest = new Map<string, Manifest>();

  constructor(options: ViewStatusesOptions) {
    this.#options = options;
    this.now = options.now ?? Date.now;
  }

  /** Returns the status of a view's newest answer. Throws NOT_READY before the first manifest. */
  async find(definition: Definition): Promise<ViewStatus> {
    let missing: Missing = NO_CHAIN;
    for (const which of ["cached", "newest"] as const) {
      const manifest = await this.manifest(definition, which);
      const read = await this.readLive(definition, null);
      if (read === null || "code" in read) {
        missing = read ?? NO_CHAIN;
        break;
      }
      const state = read.chain;
      const current = state.pointer > manifest.version ? await this.manifest(definition, "newest") : manifest;
      const joined = join(current, state);
      if (joined.ok) return this.of(current, { chain: state, applied: joined.applied }, null);
      missing = joined.missing;
    }
    return this.of(await this.manifest(definition, "newest"), null, missing);
  }

  /** Returns the status of an answer from `manifest` and, if there is live state, from live state up to `applied`. */
  of(manifest: Manifest, live: { chain: ChainState; applied: Cut } | null, missing: Missing | null): ViewStatus {
    const { cut } = manifest;
    const sinceMs = live?.chain.freshAtMs ?? manifest.createdAtMs;
    return {
      manifest,
      cut,
      applied: live?.applied ?? cut,
      freshnessMs: Math.max(0, this.now() - sinceMs),
      chain: live?.chain ?? null,
      missing,
      problems: this.#options.problemsOf?.(manifest.generation) ?? [],
    };
  }

  /**
   * Returns the newest manifest that this process knows; with "newest" it reads the disk. Never returns an older one
   * than before.
   */
  async manifest({ view, generation }: Definition, which: "cached" | "newest"): Promise<Manifest> {
    const cached = this.#newest.get(generation);
    if (which === "cached" && cached !== undefined) return cached;
    const found = await this.#options.manifests.newest(generation);
    const known = this.#newest.get(generation);
    const newest = found === null || (known !== undefined && known.version > found.version) ? known : found;
    if (newest === undefined) {
      throw new TidelineError(
        "NOT_READY",
        `nothing has been published for view "${view.name}" yet`,
        "The speed layer or a refresh will do so as soon as one runs; ask again.",
      );
    }
    this.#newest.set(generation, newest);
    if (newest.version !== known?.version) this.#options.onNewest?.(newest);
    return newest;
  }

  /** Returns the cut of a version; null if the version is not stored any more. */
  async cutOf({ generation }: Definition, version: number): Promise<Cut | null> {
    const newest = this.#newest.get(generation);
    const manifest = newest?.version === version ? newest : await this.#options.manifests.version(generation, version);
    return manifest?.cut ?? null;
  }

  /** Returns the chain; null if there is none that can be read, or if the definition is frozen. */
  async loadChain(definition: Definition): Promise<ChainState | null> {
    const read = await this.readLive(definition, null);
    return read === null || "code" in read ? null : read.chain;
  }

  /**
   * Reads the chain and a part of its open segment in one atomic step, with a time limit. Returns null if there is no
   * chain. Returns Missing when Redis does not answer, when live state cannot be read, or when the definition is
   * frozen.
   */
  async readLive(definition: Definition, part: OpenPart | null): Promise<LiveRead | Missing | null> {
    if (definition.frozen) return FROZEN;
    try {
      return await this.#reads(definition).read(part);
    } catch (error) {
      return this.missingBy(error);
    }
  }

  /** Returns the Missing for an error of reading live state, and reports the error. Throws any other error. */
  missingBy(error: unknown): Missing {
    const isUnreadable = isTidelineError(error, "LIVE_STATE_UNREADABLE");
    if (!isUnreadable && !(error instanceof RedisSilent)) throw error;
    // The gate itself reports that Redis did not answer.
    if (isUnreadable) this.#options.gate.report(error);
    const code = isUnreadable ? "LIVE_STATE_UNREADABLE" : "REDIS_SILENT";
    return { code, message: `${error.message}: this is the batch version alone` };
  }

  #reads(definition: Definition): LiveReads {
    const held = this.#liveReads.get(definition.generation);
    if (held !== undefined) return held;
    const { gate, redisTimeoutMs = REDIS_TIMEOUT_MS } = this.#options;
    const chain = this.chain(definition);
    const reads = new LiveReads(definition, (known, parts) => gate.ask(redisTimeoutMs, () => chain.read(known, parts)));
    this.#liveReads.set(definition.generation, reads);
    return reads;
  }

  chain({ generation }: Definition): Chain {
    const held =
      this.#chains.get(generation) ?? new Chain(this.#options.gate.redis, this.#options.namespace, generation);
    this.#chains.set(generation, held);
    return held;
  }
}

export const NO_CHAIN: Missing = {
  code: "NO_CHAIN",
  message: "Redis has no live state of this view; the speed layer will read it again from the batch version's cut",
};

/** For a generation that another release computed otherwise: its live state may mean something else in this release. */
export const FROZEN: Missing = {
  code: "FROZEN",
  message:
    "another release computed this generation, and this one computes it otherwise: this is its " +
    "newest batch version, and does not grow. The worker builds the view again and serves that, " +
    "unless this generation was chosen with `tideline views back`",
};

/** A closed segment with its number of cells; null if Redis does not know the number. */
export type SizedSegment = ClosedSegment & Pick<Segment, "cells">;

export type Joined =
  | { readonly ok: true; readonly closed: readonly SizedSegment[]; readonly applied: Cut }
  | { readonly ok: false; readonly missing: Missing };

/**
 * Checks invariant 1 on a read: do the chain's segments tile the log from the manifest's cut to the applied positions?
 */
export function join(manifest: Manifest, chain: ChainState): Joined {
  const known = joins.get(chain);
  if (known?.manifest === manifest) return known.joined;
  const joined = joinOf(manifest, chain);
  joins.set(chain, { manifest, joined });
  return joined;
}

/** Many requests share the result for one state of a chain. */
const joins = new WeakMap<ChainState, { readonly manifest: Manifest; readonly joined: Joined }>();

function joinOf(manifest: Manifest, chain: ChainState): Joined {
  if (isOtherTopic(manifest, chain)) return { ok: false, missing: otherTopic(manifest, chain) };
  const run = tilesOf(manifest.cut, chain);
  if (!run.ok) return { ok: false, missing: missingOf(run.misfit) };
  return { ok: true, closed: closedOf(run.tiles.map(({ segment }) => segment)), applied: run.to };
}

/** Positions of a topic mean nothing in another topic, even if that has the same name. */
function isOtherTopic({ topicId }: Manifest, chain: ChainState): boolean {
  return topicId !== "" && chain.topicId !== "" && topicId !== chain.topicId;
}

function otherTopic({ topicId }: Manifest, chain: ChainState): Missing {
  return {
    code: "NO_CHAIN",
    message:
      `Redis has live state of another topic (id ${chain.topicId}) than the batch version (id ${topicId}); where the ` +
      "topic was made again, the speed layer says so",
  };
}

function missingOf({ kind, partition, expected, found }: Misfit): Missing {
  const [from, to] = expected < found ? [expected, found] : [found, expected];
  const span = { partition, from: from.toString(), to: to.toString() };
  const where = `partition ${partition}, positions ${from} to ${to}`;
  return kind === "gap"
    ? {
        code: "GAP",
        message: `${where}: neither the batch version nor Redis has them; the speed layer will read them again`,
        ...span,
      }
    : {
        code: "OVERLAP",
        message:
          `${where}: the batch version and Redis both have them; the speed ` +
          "layer will begin again at the batch version's cut",
        ...span,
      };
}
