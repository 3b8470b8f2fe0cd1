import { TidelineError } from "../core/errors.ts";
import { type Proof, proofsIn } from "../core/proof/proof-result.ts";
import { askProof, type ProofReply } from "./ask-proof.ts";
import { attempt } from "./attempt.ts";
import type { ActivityDeps } from "./deps.ts";

/** The result of a nightly proof of one view. */
export interface ViewProof {
  readonly view: string;
  /** Null: it could not be proven, and `problem` says why. */
  readonly equal: boolean | null;
  readonly rows: number;
  readonly mismatches: number;
  /** The fields whose served values differ from the log. */
  readonly fields: readonly string[];
  readonly problem: string | null;
}

export function proofActivities(deps: ActivityDeps) {
  const { definitions, generations, metrics, logger, apiUrl, apiKey = null } = deps;
  return {
    /** Returns every served view, except those that another release computed: this release's SQL cannot prove them. */
    listProvable: (): Promise<string[]> =>
      attempt(deps, async () => {
        const living = await generations.all(definitions);
        const provable = living.filter(({ definition, part }) => part === "served" && !definition.frozen);
        return provable.map(({ definition }) => definition.view.name).sort();
      }),

    /** Has the API prove `sample` buckets of a view, chosen at random. */
    proveView: ({ view, sample }: { view: string; sample: number }): Promise<ViewProof> =>
      attempt(deps, async ({ signal, beat }) => {
        const url = new URL(`${apiUrl.replace(/\/$/, "")}/proof/${encodeURIComponent(view)}`);
        url.searchParams.set("sample", String(sample));
        url.searchParams.set("rows", "0");
        const request = { url, apiKey };
        const reply = await askProof(request, (done, total) => beat({ done, total }), signal).catch(unreachable(url));
        const found = viewProof(view, reply);
        if (found.equal !== null) metrics.proofMismatches.set({ view }, found.mismatches);
        if (found.equal === true) metrics.provenAt.set({ view }, Date.now() / 1_000);
        else logger.error({ ...found }, "a view is not proven");
        return found;
      }),
  };
}

/** Throws NOT_READY if another attempt may succeed. */
function viewProof(view: string, reply: ProofReply): ViewProof {
  if ("proof" in reply) {
    const proofs = proofsIn(reply.proof);
    const fields = proofs.flatMap((one) => Object.entries(one.fields));
    const different = fields.flatMap(([field, { different: count }]) => (count > 0 ? [field] : []));
    const whole = proofs.some(({ differences }) => differences.some(({ field }) => field === "row")) ? ["row"] : [];
    const sum = (of: (one: Proof) => number) => proofs.reduce((all, one) => all + of(one), 0);
    return {
      ...{ view, equal: reply.proof.equal, rows: sum(({ rows }) => rows), mismatches: sum((one) => one.mismatches) },
      ...{ fields: [...different, ...whole], problem: null },
    };
  }
  const { status, problem } = reply.refused;
  if (status === 429 || status === 503) throw new TidelineError("NOT_READY", problem, "It is tried again.");
  return { view, equal: null, rows: 0, mismatches: 0, fields: [], problem: problem.slice(0, 1_000) };
}

function unreachable({ origin }: URL): (cause: unknown) => never {
  return (cause) => {
    const hint = "Start it with `tideline serve`, or set TIDELINE_API_URL for the worker.";
    throw new TidelineError("NOT_READY", `the API at ${origin} does not answer`, hint, { cause });
  };
}
