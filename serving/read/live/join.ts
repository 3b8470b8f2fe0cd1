import type { Manifest } from "../../../core/log/documents.ts";
import { type Cut, cutFromJson } from "../../../core/log/position.ts";
import type { Misfit } from "../../../core/log/spans.ts";
import {
  type ChainState,
  type ClosedSegment,
  closedOf,
  type Segment,
  tilesOf,
} from "../../../store/redis/chain-state.ts";

/** Why an answer is the batch version's alone. `from` and `to`: the positions of `partition` that do not fit. */
export interface Missing {
  readonly code: "GAP" | "OVERLAP" | "NO_CHAIN" | "REDIS_SILENT" | "VANISHED" | "FROZEN";
  readonly message: string;
  readonly partition?: number;
  readonly from?: string;
  readonly to?: string;
}

/** A closed segment, and how many cells it holds; null where Redis does not say. */
export type SizedSegment = ClosedSegment & Pick<Segment, "cells">;

export type Joined =
  | { readonly ok: true; readonly closed: readonly SizedSegment[]; readonly applied: Cut }
  | { readonly ok: false; readonly missing: Missing };

/** Invariant 1 on a read: do the chain's segments tile the log from the manifest's cut to the applied positions? */
export function join(manifest: Manifest, chain: ChainState): Joined {
  const run = tilesOf(cutFromJson(manifest.cut), chain);
  if (!run.ok) return { ok: false, missing: missingOf(run.misfit) };
  return { ok: true, closed: closedOf(run.tiles.map(({ segment }) => segment)), applied: run.to };
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
        message: `${where}: the batch version and Redis both have them; the speed layer will begin anew at the batch version's cut`,
        ...span,
      };
}

export const NO_CHAIN: Missing = {
  code: "NO_CHAIN",
  message: "Redis has no live state of this view; the speed layer will read it again from the batch version's cut",
};

/** Of a generation that another release computed otherwise: its live state may mean something else to this one. */
export const FROZEN: Missing = {
  code: "FROZEN",
  message:
    "another release computed this generation, and this one computes it otherwise: this is its newest batch version, and does not grow. The worker builds the view anew and serves that, unless this generation was chosen with `tideline views back`",
};
