import type { FastifyInstance, FastifyReply } from "fastify";
import type { Proof } from "../../core/proof/proof.ts";
import { refusalOf } from "../common/problem.ts";
import type { ProofProgress } from "../proof/proofs.ts";
import { readConsistency } from "../request/consistency.ts";
import type { Parameters } from "../request/parameters.ts";
import { type Fail, type One, readRequest, wholeNumber } from "../request/request.ts";
import type { Serving } from "../request/serving.ts";

const OWN = ["at", "sample", "deep", "rows"] as const;
const MEANINGLESS = ["order", "limit"] as const;

export const PROOF_SAMPLE = { least: 1, most: 1_000, byDefault: 0 } as const;
export const PROOF_ROWS = { least: 0, most: 1_000, byDefault: 10 } as const;
const PROGRESS_MS = 500;

/** GET /proof/:view: JSON, or as server-sent events with how far it is. */
export function proofRoutes(app: FastifyInstance, serving: Serving): void {
  const { views, proofs } = serving;
  app.addHook("preClose", () => proofs.close());

  app.get<{ Params: { view: string } }>("/proof/:view", { sse: "manual" }, async (request, reply) => {
    const asked = readRequest(
      views,
      request.params.view,
      request.query as Parameters,
      [...OWN, ...MEANINGLESS],
      (one, fail, described) => {
        for (const name of MEANINGLESS)
          if (one(name) !== undefined) fail(name, "means nothing here", "from, to, every, zone, window, by, measures");
        return {
          at: readConsistency(serving, one, fail, described).at,
          sample: one("sample") === undefined ? null : wholeNumber(one, fail, "sample", PROOF_SAMPLE),
          deep: deepOf(one, fail),
          rows: wholeNumber(one, fail, "rows", PROOF_ROWS),
        };
      },
      "view or table",
    );
    const gone = new AbortController();
    reply.raw.once("close", () => gone.abort());
    const { query, options, described } = asked;
    const prove = (onProgress: (progress: ProofProgress) => void) =>
      proofs.prove({ definition: described.definition, query, ...options, signal: gone.signal, onProgress });
    void reply.header("cache-control", "no-store");
    if (request.headers.accept?.includes("text/event-stream") !== true) return prove(() => {});
    await stream(reply, prove);
    return undefined;
  });
}

/** Progress, the proof, and the end; what goes wrong is an event too, because the headers are gone by then. */
async function stream(
  reply: FastifyReply,
  prove: (onProgress: (progress: ProofProgress) => void) => Promise<Proof>,
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
    await send("problem", refusalOf(error).problem);
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
