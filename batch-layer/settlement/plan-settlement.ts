import type { Generation } from "../../core/definition/generation.ts";
import { isTidelineError, mayPass } from "../../core/errors.ts";
import type { Cut } from "../../core/log/position.ts";
import { beginGeneration } from "../../store/archive/generation-start.ts";
import type { Chain } from "../../store/redis/chain.ts";
import { SEAL_PATIENCE, type SealPatience, sealCut } from "../refresh/seal.ts";
import type { BatchStores, ViewTarget, Watch } from "../stores.ts";

/** The span that a settlement adds to one generation, from its newest version's cut to its next one. */
export interface SettlementSpan {
  readonly generation: Generation;
  /** V, the version that the next one is built on. */
  readonly version: number;
  /** C, the cut of V. */
  readonly from: Cut;
  /** B, the next cut. */
  readonly to: Cut;
  /** The source of B: the speed layer, the end of the log, or the end of the archive. */
  readonly by: "speed" | "log" | "archive";
}

/** A generation that the settlement leaves out. The others continue. */
export interface SettlementFailure {
  readonly generation: Generation;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

export interface Settler {
  readonly target: ViewTarget;
  readonly chain: Chain;
  /** Whether it is the served generation of its view. */
  readonly served: boolean;
}

export interface SealedSettlement {
  readonly spans: readonly SettlementSpan[];
  readonly failures: readonly SettlementFailure[];
}

/**
 * Steps 1 and 2 of a settlement (docs/internals/settlement.md) for all generations of a stream. Returns their newest
 * versions and next cuts. Generations that are not served are sealed first, so that two generations of a view can be
 * compared at the cut of the served one. All seals share one deadline. Returns the errors that keep single generations
 * from a cut; throws an error that another attempt may cure.
 */
export async function sealAll(
  stores: BatchStores,
  settlers: readonly Settler[],
  { createdBy, patience = SEAL_PATIENCE }: { readonly createdBy: string; readonly patience?: SealPatience },
  watch: Watch,
): Promise<SealedSettlement> {
  const deadlineMs = performance.now() + patience.waitMs;
  const seal = async ({ target, chain }: Settler): Promise<SettlementSpan | null> => {
    const { version, cut } = await beginGeneration(stores, target.generation, target.topic, createdBy);
    const waitMs = Math.max(0, deadlineMs - performance.now());
    const unsealed = { topic: target.topic, chain, version, cut };
    const sealed = await sealCut(stores, unsealed, watch, { ...patience, waitMs });
    if (sealed === null) return null;
    return { generation: target.generation, version, from: cut, to: sealed.cut, by: sealed.by };
  };
  const outcomes: (SettlementSpan | SettlementFailure | null)[] = [];
  for (const served of [false, true]) {
    const turn = settlers.filter((settler) => settler.served === served);
    const sealed = turn.map((settler) =>
      seal(settler).catch((error: unknown) => {
        if (mayPass(error)) throw error;
        return failureOf(settler.target.generation, error);
      }),
    );
    outcomes.push(...(await Promise.all(sealed)));
  }
  const found = outcomes.filter((outcome) => outcome !== null);
  return { spans: found.filter((one) => "to" in one), failures: found.filter((one) => "code" in one) };
}

/** Returns an error as data. */
export function failureOf(generation: Generation, error: unknown): SettlementFailure {
  if (isTidelineError(error)) {
    const { code, message, hint } = error;
    return { generation, code, message, hint };
  }
  // Errors of clients end with a full stop, and Tideline's do not.
  const message = (error instanceof Error ? error.message : String(error)).replace(/\.$/, "");
  return { generation, code: "UNEXPECTED", message, hint: "Run `tideline doctor`, which checks the servers." };
}
