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
import type { Missing } from "../../common/missing.ts";

/** A closed segment, and how many cells it holds; null where Redis does not say. */
export type SizedSegment = ClosedSegment & Pick<Segment, "cells">;

export type Joined =
  | { readonly ok: true; readonly closed: readonly SizedSegment[]; readonly applied: Cut }
  | { readonly ok: false; readonly missing: Missing };

/** Invariant 1 on a read: do the chain's segments tile the log from the manifest's cut to the applied positions? */
export function join(manifest: Manifest, chain: ChainState): Joined {
  const known = joins.get(chain);
  if (known?.manifest === manifest) return known.joined;
  const joined = joinOf(manifest, chain);
  joins.set(chain, { manifest, joined });
  return joined;
}

/** Many questions share what one look at a chain found. */
const joins = new WeakMap<ChainState, { readonly manifest: Manifest; readonly joined: Joined }>();

function joinOf(manifest: Manifest, chain: ChainState): Joined {
  if (isOtherTopic(manifest, chain)) return { ok: false, missing: otherTopic(manifest, chain) };
  const run = tilesOf(cutFromJson(manifest.cut), chain);
  if (!run.ok) return { ok: false, missing: missingOf(run.misfit) };
  return { ok: true, closed: closedOf(run.tiles.map(({ segment }) => segment)), applied: run.to };
}

/** Positions of a topic say nothing about another one, which may have the same name. */
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
