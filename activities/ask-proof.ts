import { eventData } from "../core/event-stream.ts";
import type { JoinedProof, Proof } from "../core/proof/proof-result.ts";
import { separated } from "../core/secrets.ts";

/** The API's answer to a request for a proof: the proof, or problem details as text. */
export type ProofReply =
  | { readonly proof: Proof | JoinedProof }
  | { readonly refused: { readonly status: number; readonly problem: string } };

/**
 * Requests `GET /proof/:view` as a stream of events and reports its progress, so that a proof may take longer than a
 * connection may be silent. Throws the errors of `fetch` when nothing answers or the connection breaks.
 */
export async function askProof(
  { url, apiKey }: { readonly url: URL; readonly apiKey: string | null },
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<ProofReply> {
  const { url: plain, headers } = separated(url, apiKey);
  const response = await fetch(plain, { headers: { ...headers, accept: "text/event-stream" }, signal });
  if (!response.ok || response.body === null)
    return { refused: { status: response.status, problem: await response.text() } };
  for await (const { event, data } of eventData(response.body)) {
    const said = JSON.parse(data) as unknown;
    if (event === "progress") {
      const { done, total } = said as { done: number; total: number };
      onProgress(done, total);
    } else if (event === "proof") return { proof: said as Proof | JoinedProof };
    else if (event === "problem") return { refused: { status: (said as { status: number }).status, problem: data } };
  }
  throw new TypeError("the server ended without a proof");
}
