import { type Alert, AlertStates, type ShownAlert, shownAlert } from "../../core/alerts/alert-states.ts";
import { alertOfRecord, type OwnJournal } from "../../core/alerts/own-journal.ts";
import { OwnAlertJournal } from "../../store/alerts/own-alert-journal.ts";
import type { DataDirectory } from "../../store/files/files.ts";

/** An answer may be so old: many ask for the list of views every two seconds. */
const FRESH_MS = 500;
const NO_STATES = new AlertStates(0);

/** Tideline's own alerts as the journal has them, which is there also while Kafka is away. */
export class OwnAlerts {
  readonly #journal: OwnAlertJournal;
  #read: Promise<OwnJournal> | null = null;
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(data: DataDirectory) {
    this.#journal = new OwnAlertJournal(data);
  }

  /** All that are remembered, the oldest first. */
  async all(): Promise<Alert[]> {
    const nowMs = performance.now();
    if (this.#read === null || nowMs - this.#readAtMs > FRESH_MS) {
      this.#readAtMs = nowMs;
      this.#read = this.#journal.read().then(({ journal }) => journal);
      this.#read.catch(() => {
        this.#read = null;
      });
    }
    return (await this.#read).alerts.map(alertOfRecord);
  }

  /** Those whose problem lasts, as answers show them; without those about `named`, which the answer names already. */
  async open(named: ReadonlySet<string> = new Set()): Promise<ShownAlert[]> {
    const all = await this.all();
    return all
      .filter(({ clearedAtMs, opened }) => clearedAtMs === undefined && !named.has(opened.key ?? ""))
      .map((alert) => shownAlert(NO_STATES, alert, Date.now()));
  }
}
