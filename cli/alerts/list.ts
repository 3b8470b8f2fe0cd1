import { join } from "node:path";
import {
  type AlertState,
  AlertStates,
  alertsAsked,
  type ShownAlert,
  shownAlert,
} from "../../core/alerts/alert-states.ts";
import { alertOfRecord } from "../../core/alerts/own-journal.ts";
import { OWN_RULE } from "../../core/contract/alerts.ts";
import { OwnAlertJournal } from "../../store/alerts/own-alert-journal.ts";
import { DataDirectory } from "../../store/files/files.ts";
import type { Config } from "../setup/config.ts";
import { inTime } from "../setup/patience.ts";
import { printable } from "../terminal/printable.ts";
import { instantText, print } from "../terminal/sheet.ts";
import { withAlerts } from "./feed.ts";

export interface ListFlags {
  readonly rule?: string;
  readonly key?: string;
  readonly state?: AlertState;
  readonly severity?: string;
  readonly since?: number;
  readonly limit: number;
  readonly json: boolean;
}

/** `tideline alerts list`. Tideline's own alerts come from the journal, which can be read while Kafka is away. */
export async function listAlerts(config: Config, { since, limit, json, ...question }: ListFlags): Promise<void> {
  const { journal } = await new OwnAlertJournal(new DataDirectory(join(config.home, "data"))).read();
  const states = await inStream(config, question.rule === OWN_RULE);
  const nowMs = Date.now();
  const asked = { ...question, ...(since === undefined ? {} : { fromMs: since }) };
  const found = alertsAsked(states, asked, nowMs, journal.alerts.map(alertOfRecord));
  const rows = found.slice(0, limit).map((alert) => shownAlert(states, alert, nowMs));
  const head = ["event", "severity", "state", "rule", "about", "says", "id"];
  await print(json, rows, { head, right: [], rows: rows.map(cellsOf) }, "no alerts");
  if (found.length > rows.length)
    process.stderr.write(`the newest ${rows.length} of ${found.length}; --limit shows more\n`);
}

/** Returns the alerts of the stream; none if there is no rule, or if Kafka is away and that is allowed (`optional`). */
async function inStream(config: Config, optional: boolean): Promise<AlertStates> {
  const read = () => withAlerts(config, async (feed) => feed?.states ?? new AlertStates(0));
  if (!optional) return read();
  return inTime(read()).catch(() => {
    process.stderr.write("Kafka does not answer: who silenced or acknowledged these alerts is not known\n");
    return new AlertStates(0);
  });
}

function cellsOf({ at, severity, state, rule, key, says, id }: ShownAlert): string[] {
  const cells = [instantText(Date.parse(at)), severity ?? "-", state, rule, key ?? "-", says ?? "-", id];
  return cells.map(printable);
}

/** Returns an alert as one line. */
export function lineOf(alert: ShownAlert): string {
  const about = alert.key === null ? alert.rule : `${alert.rule} ${alert.key}`;
  const words = [alert.at, alert.severity ?? "-", alert.state, about, ...(alert.says === null ? [] : [alert.says])];
  return printable(`${words.join("  ")}  ${alert.id}`);
}
