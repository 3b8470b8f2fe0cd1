import { type AlertState, alertsAsked, type ShownAlert, shownAlert } from "../../core/alerts/alert-states.ts";
import type { Config } from "../setup/config.ts";
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

/** `tideline alerts list`. */
export async function listAlerts(config: Config, { since, limit, json, ...question }: ListFlags): Promise<void> {
  await withAlerts(config, async (feed) => {
    const nowMs = Date.now();
    const asked = { ...question, ...(since === undefined ? {} : { fromMs: since }) };
    const found = feed === null ? [] : alertsAsked(feed.states, asked, nowMs);
    const rows = feed === null ? [] : found.slice(0, limit).map((alert) => shownAlert(feed.states, alert, nowMs));
    const head = ["event", "severity", "state", "rule", "about", "says", "id"];
    await print(json, rows, { head, right: [], rows: rows.map(cellsOf) }, "no alerts");
    if (found.length > rows.length)
      process.stderr.write(`the newest ${rows.length} of ${found.length}; --limit shows more\n`);
  });
}

function cellsOf({ at, severity, state, rule, key, says, id }: ShownAlert): string[] {
  const cells = [instantText(Date.parse(at)), severity ?? "-", state, rule, key ?? "-", says ?? "-", id];
  return cells.map(printable);
}

/** An alert in one line. */
export function lineOf(alert: ShownAlert): string {
  const about = alert.key === null ? alert.rule : `${alert.rule} ${alert.key}`;
  const words = [alert.at, alert.severity ?? "-", alert.state, about, ...(alert.says === null ? [] : [alert.says])];
  return printable(`${words.join("  ")}  ${alert.id}`);
}
