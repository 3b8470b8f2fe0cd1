import type { FastifyInstance, FastifyReply } from "fastify";
import type { JoinedProof, Proof } from "../../core/proof/proof-result.ts";
import { type Fail, wholeNumber } from "../../core/query/parameters.ts";
import { planWholeTable } from "../../core/query/tables/table-query.ts";
import { closedSignal } from "../common/closed-signal.ts";
import { refusalOf } from "../common/problem.ts";
import { badRequest } from "../common/refusals.ts";
import type { ProofProgress } from "../proof/proofs.ts";
import { readConsistency } from "../request/consistency.ts";
import type { Parameters } from "../request/parameters.ts";
import { type One, readingOf, readRequest } from "../request/request.ts";
import type { Serving } from "../request/serving.ts";
import { readPosition } from "../tables/joined-request.ts";
import type { DescribedJoin } from "../views/described-join.ts";

export const PROOF_SAMPLE = { least: 1, most: 1_000, byDefault: 0 } as const;
export const PROOF_ROWS = { least: 0, most: 1_000, byDefault: 10 } as const;
const PROGRESS_MS = 500;
const OF_TABLE = "/proof/:view of a table";

/** GET /proof/:view. Answers with JSON, or with server-sent events that report progress. */
export function proofRoutes(app: FastifyInstance, serving: Serving): void {
  const { proofs, joins } = serving;
  app.addHook("preClose", () => proofs.close());

  app.get<{ Params: { view: string } }>("/proof/:view", { sse: "manual" }, async (request, reply) => {
    const { view: name } = request.params;
    const parameters = request.query as Parameters;
    const join = await joins.find(name);
    const prove = join === null ? proofOf(serving, name, parameters) : proofsOf(serving, join, parameters);
    const closed = closedSignal(reply);
    void reply.header("cache-control", "no-store");
    if (request.headers.accept?.includes("text/event-stream") !== true) return prove(closed, () => {});
    await stream(reply, (onProgress) => prove(closed, onProgress));
    return undefined;
  });
}

type OnProgress = (progress: ProofProgress) => void;

/** Reads the parameters that do not choose rows. */
function proofOptions(one: One, fail: Fail) {
  return {
    sample: one("sample") === undefined ? null : wholeNumber("sample", one("sample"), PROOF_SAMPLE, fail),
    deep: deepOf(one, fail),
    rows: wholeNumber("rows", one("rows"), PROOF_ROWS, fail),
  };
}

/**
 * Reads a request about a view or table, and returns the function that proves it. Throws VIEW_UNKNOWN, GENERATION_GONE
 * and BAD_REQUEST.
 */
function proofOf(serving: Serving, name: string, parameters: Parameters) {
  const isOfTable = (serving.views.get(name)?.definition.view.table ?? null) !== null;
  const route = isOfTable ? OF_TABLE : "/proof/:view";
  const asked = readRequest(
    serving.views,
    name,
    { route, parameters, of: "view or table" },
    (one, fail, described) => ({
      at: readConsistency(serving, one, fail, described).at,
      ...proofOptions(one, fail),
    }),
  );
  const { query, options, described } = asked;
  return (signal: AbortSignal, onProgress: OnProgress): Promise<Proof> =>
    serving.proofs.prove({ definition: described.definition, query, ...options, signal, onProgress });
}

/**
 * Reads a request about a joined table, and returns the function that proves each of its tables: at the positions of
 * the answer in `at`, or each at its newest position. Throws GENERATION_GONE and BAD_REQUEST.
 */
function proofsOf(serving: Serving, join: DescribedJoin, parameters: Parameters) {
  const reading = readingOf(OF_TABLE, parameters);
  const { one, fail, problems } = reading;
  const { at } = readPosition(serving, join, reading);
  const options = proofOptions(one, fail);
  if (problems.length > 0) throw badRequest(problems);
  return async (signal: AbortSignal, onProgress: OnProgress): Promise<JoinedProof> => {
    const tables: Record<string, Proof> = {};
    let before = 0;
    for (const [part, { definition }] of join.tables) {
      const plan = planWholeTable(definition.view, {});
      if (!plan.ok) throw badRequest(plan.problems);
      tables[part] = await serving.proofs.prove({
        ...{ definition, query: plan.query, at: at?.get(part) ?? null, ...options, signal },
        onProgress: ({ done, total }) => onProgress({ done: before + done, total: before + total }),
      });
      before += tables[part]?.records ?? 0;
    }
    return { view: join.definition.name, equal: Object.values(tables).every(({ equal }) => equal), tables };
  };
}

/** Sends progress, the proof, and the end. An error is sent as an event too, because the headers are already sent. */
async function stream(
  reply: FastifyReply,
  prove: (onProgress: OnProgress) => Promise<Proof | JoinedProof>,
): Promise<void> {
  let progress: ProofProgress = { done: 0, total: 0 };
  const send = async (event: string, data: unknown) => {
    if (reply.sse.isConnected) await reply.sse.send({ event, data: JSON.stringify(data) });
  };
  reply.sse.sendHeaders();
  reply.raw.flushHeaders();
  const timer = setInterval(() => void send("progress", progress).catch(() => {}), PROGRESS_MS);
  try {
    const proof = await prove((now) => {
      progress = now;
    });
    await send("proof", proof);
  } catch (error) {
    const { problem } = refusalOf(error);
    // The client's problem says that the server's log has the reason.
    if (problem.code === "INTERNAL") reply.log.error({ err: error }, "proof failed");
    await send("problem", problem);
  } finally {
    clearInterval(timer);
    reply.sse.close();
  }
}

function deepOf(one: One, fail: Fail): boolean | null {
  const text = one("deep");
  if (text === undefined) return null;
  if (text !== "true" && text !== "false") fail("deep", `"${text.slice(0, 60)}" is neither`, "true, false");
  return text === "true";
}
