import type { Logger } from "pino";
import { type Alert, AlertStates, type ShownAlert, shownAlert } from "../../core/alerts/alert-states.ts";
import { alertOfRecord } from "../../core/alerts/own-journal.ts";
import { OwnAlertJournal } from "../../store/alerts/own-alert-journal.ts";
import type { DataDirectory } from "../../store/files/files.ts";
import { pause } from "../../store/pause.ts";

/** An answer about alerts may be so old. */
const FRESH_MS = 500;
/** How often the journal is read beside the answers. */
const EVERY_MS = 1_000;
/** How often own alerts are looked at while somebody follows them. */
const FOLLOW_EVERY_MS = 1_000;
const NO_STATES = new AlertStates(0);

/**
 * Tideline's own alerts as the journal has them, which is there also while Kafka is away. What is told with every
 * answer is read once a second beside the answers: a file system that is slow must not delay them.
 */
export class OwnAlerts {
  readonly #journal: OwnAlertJournal;
  #latest: readonly Alert[] = [];
  #reading: Promise<void> | null = null;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #isUnreadable = false;
  readonly #logger: Logger;

  constructor(data: DataDirectory, logger: Logger) {
    this.#journal = new OwnAlertJournal(data);
    this.#logger = logger;
  }

  /** Reads the journal, then again every second. Never rejects. */
  async start(): Promise<void> {
    await this.#read();
    if (!this.#closed) this.#timer = setTimeout(() => void this.start(), EVERY_MS).unref();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** All that are remembered, the oldest first, as of half a second ago or later. Never rejects. */
  async all(): Promise<readonly Alert[]> {
    if (performance.now() - this.#readAtMs > FRESH_MS) await this.#read();
    return this.#latest;
  }

  /**
   * Those whose problem lasted when the journal was last read, as answers show them; without those about `named`, which
   * the answer names already.
   */
  open(named: ReadonlySet<string> = new Set()): ShownAlert[] {
    return this.#latest
      .filter(({ clearedAtMs, opened }) => clearedAtMs === undefined && !named.has(opened.key ?? ""))
      .map((alert) => shownAlert(NO_STATES, alert, Date.now()));
  }

  /**
   * Calls `onAlert` for each alert whose state is not in `told`, and adds it there, until `signal` is aborted. Once a
   * second it looks at what was read last.
   */
  async follow(told: ToldAlerts, onAlert: (alert: Alert) => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const alert of this.#latest) if (told.add(alert)) onAlert(alert);
      await pause(FOLLOW_EVERY_MS, { signal, ref: false });
    }
  }

  /** Never rejects: what was read last holds until the journal can be read again. The first failure is logged. */
  #read(): Promise<void> {
    this.#reading ??= this.#readJournal()
      .then(
        () => {
          this.#isUnreadable = false;
        },
        (error: unknown) => {
          if (!this.#isUnreadable) this.#logger.warn({ err: error }, "own alerts cannot be read");
          this.#isUnreadable = true;
        },
      )
      .finally(() => {
        this.#reading = null;
      });
    return this.#reading;
  }

  async #readJournal(): Promise<void> {
    const startedMs = performance.now();
    const { journal } = await this.#journal.read();
    this.#latest = journal.alerts.map(alertOfRecord);
    this.#readAtMs = startedMs;
  }
}

/**
 * Which own alerts a client was told of. They come from the journal, and again from the stream of alerts once they are
 * in it.
 */
export class ToldAlerts {
  readonly #told = new Set<string>();

  /**
   * Whether the client was not told of an alert in this state. An alert that is over is not told as open afterwards:
   * the stream may have its beginning later than the journal has its end.
   */
  add({ id, clearedAtMs }: Alert): boolean {
    const [open, over] = [`${id} open`, `${id} over`];
    const isNew = !this.#told.has(clearedAtMs === undefined ? open : over);
    this.#told.add(open);
    if (clearedAtMs !== undefined) this.#told.add(over);
    return isNew;
  }
}
