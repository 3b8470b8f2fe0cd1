import { Client, Connection, type WorkflowHandle } from "@temporalio/client";
import type { SettleStreamResult } from "../../workflows/settle-stream.ts";
import { type Kind, taskQueueOf, workId } from "../../workflows/shared/names.ts";

export interface RefresherOptions {
  readonly temporalAddress: string;
  readonly namespace: string;
  readonly stream: string;
  readonly views: readonly string[];
  /** Pause between two settlements. */
  readonly everyMs: number;
}

const PATIENCE_MS = 90_000;

/**
 * Settles the stream again and again, as workers do while events flow, so that publishes, trims and seams happen all
 * the time. Every third time it settles one view alone, so that the views' spans differ.
 */
export class Refresher {
  readonly #options: RefresherOptions;
  readonly #loop: Promise<void>;
  #rounds = 0;
  readonly #stopping = new AbortController();
  #client: { client: Client; connection: Connection } | null = null;
  #paused = false;
  #published = 0;
  #busy = 0;
  readonly #failures = new Map<string, number>();

  constructor(options: RefresherOptions) {
    this.#options = options;
    this.#loop = this.#follow();
  }

  /** Versions that were published. */
  get published(): number {
    return this.#published;
  }

  /** Why settlements failed, and how often. Absent servers and workers do not count as failures. */
  get failures(): ReadonlyMap<string, number> {
    return this.#failures;
  }

  /** No settlement begins from now on; resolves when those under way have ended, or `limitMs` have passed. */
  async pause(limitMs = 20_000): Promise<void> {
    this.#paused = true;
    const deadlineMs = performance.now() + limitMs;
    while (this.#busy > 0 && performance.now() < deadlineMs) await this.#sleep(50);
  }

  resume(): void {
    this.#paused = false;
  }

  /**
   * Starts or joins a piece of work under the id that names it (`rebuildView`, "rebuild", "totals"). Await `result()`
   * of what it answers.
   */
  async start(workflow: string, kind: Kind, target: string, input: unknown): Promise<WorkflowHandle> {
    const { client } = await this.#connect();
    const { namespace } = this.#options;
    return client.workflow.start(workflow, {
      workflowId: workId(namespace, kind, target),
      workflowIdConflictPolicy: "USE_EXISTING",
      taskQueue: taskQueueOf(namespace),
      args: [input],
    });
  }

  /** `start`, and waits for its result. */
  async run(workflow: string, kind: Kind, target: string, input: unknown): Promise<unknown> {
    return (await this.start(workflow, kind, target, input)).result();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
    await this.#client?.connection.close();
  }

  async #follow(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#sleep(this.#options.everyMs);
      if (this.#paused || this.#stopping.signal.aborted) continue;
      this.#busy += 1;
      try {
        await this.#settle();
      } catch (error) {
        this.#note(error);
        await this.#disconnect();
      } finally {
        this.#busy -= 1;
      }
    }
  }

  async #settle(): Promise<void> {
    const { stream, views } = this.#options;
    const round = this.#rounds++;
    const one = round % 3 === 2 ? views[Math.floor(round / 3) % views.length] : undefined;
    const input = one === undefined ? { stream } : { stream, views: [one] };
    const handle = await this.start("settleStream", "settle", stream, input);
    const patience = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(PATIENCE_MS)]);
    const given = new Promise<null>((resolve) =>
      patience.addEventListener("abort", () => resolve(null), { once: true }),
    );
    const result = handle.result();
    result.catch(() => undefined);
    const outcome = (await Promise.race([result, given])) as SettleStreamResult | null;
    this.#published += outcome?.views.filter(({ published }) => published).length ?? 0;
  }

  /** A workflow that failed says why; everything else is a server that is away. */
  #note(error: unknown): void {
    if ((error as Error).name !== "WorkflowFailedError") return;
    let cause = (error as Error).cause as (Error & { type?: string }) | undefined;
    while (cause?.cause instanceof Error) cause = cause.cause as Error & { type?: string };
    const reason = `${cause?.type ?? cause?.name ?? "unknown"}: ${cause?.message ?? ""}`.slice(0, 300);
    this.#failures.set(reason, (this.#failures.get(reason) ?? 0) + 1);
  }

  async #connect() {
    if (this.#client === null) {
      const { temporalAddress: address } = this.#options;
      // Without the interceptor that sends calls again: its timers outlive the connection, and would end this process.
      const connection = await Connection.connect({ address, connectTimeout: 2_000, interceptors: [] });
      this.#client = { connection, client: new Client({ connection }) };
    }
    return this.#client;
  }

  async #disconnect(): Promise<void> {
    const held = this.#client;
    this.#client = null;
    await held?.connection.close().catch(() => undefined);
  }

  #sleep(durationMs: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.#stopping.signal.aborted ? 0 : durationMs));
  }
}
