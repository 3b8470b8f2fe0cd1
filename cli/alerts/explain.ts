import { join } from "node:path";
import { shownAlert } from "../../core/alerts/alert-states.ts";
import { OWN_RULE } from "../../core/contract/alerts.ts";
import { TidelineError } from "../../core/errors.ts";
import { type Explanation, explain } from "../../store/alerts/explain.ts";
import { Archive } from "../../store/archive/archive.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import type { Config } from "../setup/config.ts";
import { streamUnknown } from "../setup/definitions.ts";
import { printable, printableLines } from "../terminal/printable.ts";
import { alertNamed, withAlerts } from "./feed.ts";

/** `tideline alerts explain`. Throws ALERT_UNKNOWN, STREAM_UNKNOWN, and as `explain`. */
export async function explainAlert(config: Config, id: string, json: boolean): Promise<void> {
  await withAlerts(config, async (feed) => {
    const alert = alertNamed(feed, id);
    if (feed === null) return;
    if (alert.opened.rule === OWN_RULE)
      throw new TidelineError(
        "BAD_REQUEST",
        `${id} cannot be explained: no record opened it, it is about this installation`,
        "`tideline doctor` says what is wrong now.",
      );
    const { streams, rules } = await loadDefinitions(config);
    const name = alert.opened.source_stream ?? "";
    const stream = streams.get(name);
    if (stream === undefined) throw streamUnknown(name, streams.keys());
    const topic = topicOf(config.namespace, stream);
    const log = new LogReader({ brokers: config.kafkaBrokers, clientId: "tideline-alerts" });
    const data = new DataDirectory(join(config.home, "data"));
    const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [data.path("archive")] });
    const duck = await pool.connect();
    try {
      const schemas = new Schemas(data, openRegistry(data, config.schemaRegistry));
      const source = { stream, topic, topicId: (await log.topic(topic)).id };
      const rule = rules?.get(alert.opened.rule) ?? null;
      const found = await explain({ archive: new Archive(data), data, log, schemas }, duck, { alert, source, rule });
      const shown = shownAlert(feed.states, alert, Date.now());
      const text = json
        ? JSON.stringify({ alert: shown, explanation: found }, null, 1)
        : textOf([
            ["alert", `${shown.id}, ${shown.severity ?? "-"}, ${shown.state}`],
            ["event time", shown.at],
            ["quiet", shown.quiet === null ? "-" : `${shown.quiet.from} to ${shown.quiet.to}`],
            ["about", shown.key ?? "-"],
            ["says", shown.says ?? "-"],
            ...linesOf(name, found, id),
          ]);
      process.stdout.write(`${printableLines(text)}\n`);
    } finally {
      duck.closeSync();
      pool.close();
      await log.close();
    }
  });
}

function linesOf(stream: string, found: Explanation, id: string): (readonly [string, string])[] {
  const { partition, offset, event, reject, isDuplicate, isSame, condition, now } = found;
  const state = [
    isSame ? "the one that the alert names" : "NOT the one that the alert names: was the topic made again?",
    ...(isDuplicate ? ["a duplicate"] : []),
    ...(reject === null ? [] : [`does not decode: ${reject}`]),
  ];
  const today =
    now === null
      ? "there is no such rule any more"
      : now.id === id
        ? `opens the same alert: ${now.sql}`
        : `${now.id === null ? "opens no alert" : `opens ${now.id}`}: ${now.sql}`;
  return [
    ["record", `${stream}, partition ${partition}, offset ${offset}: ${state.join(", ")}`],
    ...Object.entries(event ?? {}).map(([field, value]) => [`  ${field}`, JSON.stringify(value)] as const),
    ["condition", `${condition.holds ? "true" : "FALSE"} for this record: ${condition.sql}`],
    ["rule now", today],
  ];
}

function textOf(lines: readonly (readonly [string, string])[]): string {
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, value]) => `${printable(name).padEnd(width)}  ${printable(value)}`).join("\n");
}
