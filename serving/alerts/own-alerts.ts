import type { Logger } from "pino";
import { type Alert, AlertStates, type ShownAlert, shownAlert } from "../../core/alerts/alert-states.ts";
import { alertOfRecord } from "../../core/alerts/own-journal.ts";
import { OwnAlertJournal } from "../../store/alerts/own-alert-journal.ts";
import type { DataDirectory } from "../../store/files/files.ts";
import { pause } from "../../store/pause.ts";

/** The greatest age of the journal's contents in an answer about alerts. */
const FRESH_MS = 500;
/** How often the journal is read in the background. */
const EVERY_MS = 1_000;
/** How often a client that follows alerts is sent new own alerts. */
const FOLLOW_EVERY_MS = 1_000;
const NO_STATES = new AlertStates(0);

/**
 * Tideline's own alerts, from the journal, which can be read while Kafka is away. `open` returns what was read last,
 * because every answer needs it and a slow file system must not delay answers. The journal is read once a second for
 * that.
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

  /** Returns all remembered own alerts, the oldest first, at most half a second old. Never rejects. */
  async all(): Promise<readonly Alert[]> {
    if (performance.now() - this.#readAtMs > FRESH_MS) await this.#read();
    return this.#latest;
  }

  /**
   * Returns the alerts whose problem lasted when the journal was last read, in the form of answers. Leaves out those
   * about `named`, which the answer names already.
   */
  open(named: ReadonlySet<string> = new Set()): ShownAlert[] {
    return this.#latest
      .filter(({ clearedAtMs, opened }) => clearedAtMs === undefined && !named.has(opened.key ?? ""))
      .map((alert) => shownAlert(NO_STATES, alert, Date.now()));
  }

  /**
   * Calls `onAlert` for each alert whose state is not in `told`, and adds the state to `told`, until `signal` is
   * aborted. Looks once a second at what was read last.
   */
  async follow(told: ToldAlerts, onAlert: (alert: Alert) => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const alert of this.#latest) if (told.add(alert)) onAlert(alert);
      await pause(FOLLOW_EVERY_MS, { signal, ref: false });
    }
  }

  /** Never rejects: while the journal cannot be read, the last contents are used. The first failure is logged. */
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
 * The own alerts that a client was sent. An own alert comes from the journal first, and a second time from the stream
 * of alerts.
 */
export class ToldAlerts {
  readonly #told = new Set<string>();

  /**
   * Adds the alert's state. Returns whether the client has not been sent it. An alert that is over is not sent as open
   * again: the journal may have its end before the stream has its beginning.
   */
  add({ id, clearedAtMs }: Alert): boolean {
    const [open, over] = [`${id} open`, `${id} over`];
    const isNew = !this.#told.has(clearedAtMs === undefined ? open : over);
    this.#told.add(open);
    if (clearedAtMs !== undefined) this.#told.add(over);
    return isNew;
  }
}
