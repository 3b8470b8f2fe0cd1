import { randomUUID } from "node:crypto";
import { userInfo } from "node:os";
import { type AlertEvent, acknowledgedEvent, silencedEvent } from "../../core/alerts/alert.ts";
import { alerts, OWN_RULE } from "../../core/contract/alerts.ts";
import { TidelineError } from "../../core/errors.ts";
import { writeSilence } from "../../store/alerts/silences.ts";
import { topicName } from "../../store/kafka/cluster/topics.ts";
import { openProducer } from "../../store/kafka/produce/producer.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import type { Config } from "../setup/config.ts";
import { printable } from "../terminal/printable.ts";
import { instantText } from "../terminal/sheet.ts";
import { alertNamed, withAlerts } from "./feed.ts";

/** `tideline alerts ack`. Throws ALERT_UNKNOWN, before anything is acknowledged. */
export async function acknowledge(config: Config, ids: readonly string[], by = userInfo().username): Promise<void> {
  const found = await withAlerts(config, async (feed) => ids.map((id) => alertNamed(feed, id)));
  const atMs = Date.now();
  const open = found.filter(({ acknowledged }) => acknowledged === null);
  const events = open.map(({ id, opened }) => acknowledgedEvent({ id, rule: opened.rule }, { atMs, author: by }));
  await append(config, events);
  for (const { id, acknowledged } of found)
    say(
      acknowledged === null ? `${id} acknowledged` : `${id} was acknowledged by ${acknowledged.author ?? "-"} before`,
    );
}

export interface SilenceFlags {
  readonly for?: number;
  readonly end?: boolean;
  readonly by?: string;
}

/** `tideline alerts silence`. Throws RULE_UNKNOWN, and as `writeSilence`. */
export async function silence(config: Config, rule: string, flags: SilenceFlags): Promise<void> {
  const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
  const { rules = new Map<string, unknown>() } = await loadDefinitions(config);
  if (rule !== OWN_RULE && !rules.has(rule)) throw ruleUnknown(rule, [...rules.keys(), OWN_RULE]);
  const atMs = Date.now();
  const untilMs = flags.for === undefined ? 0 : atMs + flags.for;
  const { by: author = userInfo().username } = flags;
  const { kafkaBrokers: brokers, namespace } = config;
  const log = new LogReader({ brokers, clientId: "tideline-alerts" });
  try {
    await writeSilence(
      { brokers, namespace, log },
      silencedEvent(rule, { eventId: randomUUID(), atMs, untilMs, author }),
    );
  } finally {
    await log.close();
  }
  say(untilMs === 0 ? `${rule} is not silenced any more` : `${rule} is silenced until ${instantText(untilMs)}`);
}

export function ruleUnknown(name: string, known: Iterable<string>): TidelineError {
  const names = [...known].join(", ");
  const hint = names === "" ? "There are no rules: set TIDELINE_RULES to folders of rules." : `Take one of: ${names}.`;
  return new TidelineError("RULE_UNKNOWN", `there is no rule "${name}"`, hint);
}

async function append({ kafkaBrokers: brokers, namespace }: Config, events: readonly AlertEvent[]): Promise<void> {
  if (events.length === 0) return;
  const producer = await openProducer({ brokers });
  try {
    const records = events.map((event) => ({ key: event.subject, value: Buffer.from(JSON.stringify(event)) }));
    await producer.send(topicName(namespace, alerts.name), records);
  } finally {
    await producer.close();
  }
}

function say(line: string): void {
  process.stdout.write(`${printable(line)}\n`);
}
