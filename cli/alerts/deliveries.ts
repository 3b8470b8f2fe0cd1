import { join } from "node:path";
import { AlertStates, shownAlert } from "../../core/alerts/alert-states.ts";
import { failedMessages } from "../../core/alerts/own-journal.ts";
import { positionsOf, UNDELIVERED, undeliveredKey } from "../../core/alerts/undelivered.ts";
import { alerts } from "../../core/contract/alerts.ts";
import { type Channel, type Delivery, withEscalation } from "../../core/definition/delivery.ts";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import { at } from "../../core/log/position.ts";
import { formatDuration } from "../../core/time.ts";
import { senderOf } from "../../deliveries/senders.ts";
import { OwnAlertJournal } from "../../store/alerts/own-alert-journal.ts";
import { readRulePositions } from "../../store/alerts/read-positions.ts";
import { readUndelivered, type UndeliveredAlert } from "../../store/alerts/undelivered.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { rulePositionsTopic, topicName, undeliveredTopic } from "../../store/kafka/cluster/topics.ts";
import { openProducer } from "../../store/kafka/produce/producer.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import type { Config } from "../setup/config.ts";
import { printable } from "../terminal/printable.ts";
import { interruptible } from "../terminal/progress.ts";
import { instantText, print } from "../terminal/sheet.ts";

const READ_LIMIT_MS = 60_000;

/** `tideline deliveries list`. */
export async function listDeliveries(config: Config, json: boolean): Promise<void> {
  const deliveries = await loadDeliveries(config);
  await withLog(config, async (log) => {
    const failed = deliveries.size === 0 ? new Map<string, UndeliveredAlert>() : await undelivered(log, config);
    const behind = deliveries.size === 0 ? () => null : await behindOf(log, config);
    const rows = [...deliveries.values()].map(({ name, to, rules, severities, during, group, delayMs }) => ({
      ...{ delivery: name, to: shownChannel(to), rules, severities, during, group, delayMs, behind: behind(name) },
      failed: [...failed.values()].filter(({ delivery, isReplayed }) => delivery === name && !isReplayed).length,
    }));
    const cells = rows.map((row) => {
      const { delivery, to, rules, severities, behind, failed } = row;
      const which = [rules?.join(", ") ?? "all", severities?.join(", ") ?? "all"];
      return [delivery, to, ...which, whenText(row), `${behind ?? "-"}`, `${failed}`].map(printable);
    });
    const head = ["delivery", "to", "rules", "severities", "when", "behind", "failed"];
    await print(json, rows, { head, right: ["behind", "failed"], rows: cells }, "no deliveries");
  });
}

interface FailedRow {
  readonly id: string;
  readonly delivery: string;
  readonly alert: string;
  readonly reason: string;
  readonly failedAtMs: number;
  readonly state: "open" | "replayed" | "given up";
}

/**
 * `tideline deliveries failed`: prints the alerts in the topic of undelivered alerts, and Tideline's own alerts that
 * were given up.
 */
export async function listFailed(config: Config, only: string | undefined, json: boolean): Promise<void> {
  await withLog(config, async (log) => {
    const inTopic = [...(await undelivered(log, config))].map(
      ([id, { delivery, event, reason, failedAtMs, isReplayed }]): FailedRow => ({
        ...{ id, delivery, alert: event.subject, reason, failedAtMs },
        state: isReplayed ? "replayed" : "open",
      }),
    );
    const rows = [...inTopic, ...(await givenUp(config))]
      .filter(({ delivery }) => only === undefined || delivery === only)
      .sort((a, b) => b.failedAtMs - a.failedAtMs)
      .map(({ failedAtMs, ...row }) => ({ ...row, failedAt: instantText(failedAtMs) }));
    const cells = rows.map(({ id, failedAt, state, reason }) => [id, failedAt, state, reason].map(printable));
    await print(json, rows, { head: ["id", "failed", "state", "reason"], right: [], rows: cells }, "none failed");
  });
}

/**
 * `tideline deliveries replay`: delivers the alerts in `ids`, or all. Throws ALERT_UNKNOWN before anything is sent,
 * NOT_DELIVERED after the last alert if some failed again.
 */
export async function replay(config: Config, ids: readonly string[] | null): Promise<void> {
  const deliveries = await loadDeliveries(config);
  await withLog(config, async (log) => {
    const all = await undelivered(log, config);
    const own = new Set((await givenUp(config)).map(({ id }) => id));
    for (const id of ids ?? []) if (!all.has(id)) throw notReplayable(id, own.has(id));
    const open = [...all].filter(([id, { isReplayed }]) => !isReplayed && (ids === null || ids.includes(id)));
    const producer = await openProducer({ brokers: config.kafkaBrokers });
    const topic = undeliveredTopic(topicName(config.namespace, alerts.name));
    let failed = 0;
    try {
      await interruptible(async (stop) => {
        for (const [id, one] of open) {
          if (stop.aborted) return;
          const reason = await handOver(config, deliveries.get(one.delivery), one, stop);
          // A delivered alert is noted, even after Ctrl+C, so that it is not delivered again.
          if (reason !== null && stop.aborted) return;
          if (reason === null) {
            const headers = { [UNDELIVERED.kind]: "replayed" };
            await producer.send(topic, [{ key: id, value: null, headers, partition: 0 }]);
          } else failed += 1;
          process.stdout.write(`${printable(`${id} ${reason === null ? "handed over" : `failed: ${reason}`}`)}\n`);
        }
      });
    } finally {
      await producer.close();
    }
    if (failed > 0)
      throw new TidelineError("NOT_DELIVERED", `${failed} of ${open.length} failed again`, "See the reasons above.");
  });
}

/** Delivers one alert. Returns why that failed; null if it succeeded. */
async function handOver(
  { smtpUrl, reportFrom, kafkaBrokers: brokers }: Config,
  delivery: Delivery | undefined,
  { event, failedAtMs }: UndeliveredAlert,
  stop: AbortSignal,
): Promise<string | null> {
  if (delivery === undefined) return "there is no such delivery any more";
  const mail = { url: smtpUrl, from: reportFrom };
  const alert = { id: event.subject, opened: event, writtenAtMs: failedAtMs, acknowledged: null };
  const send = senderOf(delivery.to, { delivery: delivery.name, mail, brokers, nowMs: Date.now });
  try {
    await send(shownAlert(new AlertStates(0), alert, Date.now()), stop);
    return null;
  } catch (error) {
    return (error as Error).message;
  } finally {
    await send.close?.();
  }
}

/** Returns the messages of Tideline's own alerts that deliveries have given up, from the journal. */
async function givenUp({ home }: Config): Promise<FailedRow[]> {
  const { journal } = await new OwnAlertJournal(new DataDirectory(join(home, "data"))).read();
  return failedMessages(journal).map(({ alert: { id: alert }, kind, atMs, delivery }) => {
    const message = kind === "opened" ? alert : `${alert}.cleared`;
    const reason = "the log of the process that watched says why";
    return { id: undeliveredKey(delivery, message), delivery, alert, reason, failedAtMs: atMs, state: "given up" };
  });
}

function notReplayable(id: string, isOwn: boolean): TidelineError {
  if (!isOwn)
    return new TidelineError("ALERT_UNKNOWN", `"${id}" has not failed`, "`tideline deliveries failed` lists them.");
  const why = `"${id}" is one of Tideline's own alerts, which are not sent again`;
  return new TidelineError(
    "BAD_REQUEST",
    why,
    "`tideline alerts list --rule tideline` says whether its problem lasts.",
  );
}

/** Returns every delivery and every escalation, by name. */
async function loadDeliveries(config: Config): Promise<Map<string, Delivery>> {
  const { deliveries = new Map<string, Delivery>() } = await loadDefinitions(config);
  return new Map([...deliveries.values()].flatMap(withEscalation).map((one) => [one.name, one]));
}

function whenText({ during, group, delayMs }: Pick<Delivery, "during" | "group" | "delayMs">): string {
  const days = during?.days === undefined ? "" : `${during.days.join(" ")} `;
  const parts = [
    ...(during === null ? [] : [`${days}${during.from}-${during.to} ${during.zone}`]),
    ...(group === null ? [] : [`each ${group.by} once in ${group.within}`]),
    ...(delayMs === 0 ? [] : [`after ${formatDuration(delayMs)} without acknowledgement`]),
  ];
  return parts.length === 0 ? "at once" : parts.join(", ");
}

async function withLog<T>({ kafkaBrokers: brokers }: Config, work: (log: LogReader) => Promise<T>): Promise<T> {
  const log = new LogReader({ brokers, clientId: "tideline-deliveries" });
  try {
    return await work(log);
  } finally {
    await log.close();
  }
}

async function undelivered(log: LogReader, { namespace }: Config): Promise<Map<string, UndeliveredAlert>> {
  try {
    return await readUndelivered(log, undeliveredTopic(topicName(namespace, alerts.name)));
  } catch (error) {
    if (isTidelineError(error, "TOPIC_MISSING")) return new Map();
    throw error;
  }
}

/**
 * Returns for each delivery how many offsets of the alerts it had not read when it last wrote its position; null before
 * it has begun.
 */
async function behindOf(log: LogReader, { namespace }: Config): Promise<(delivery: string) => number | null> {
  const name = topicName(namespace, alerts.name);
  try {
    const { stable } = await log.bounds(name);
    const signal = AbortSignal.timeout(READ_LIMIT_MS);
    const stored = [...(await readRulePositions(log, rulePositionsTopic(name), signal)).values()];
    return (delivery) => {
      const held = stored.filter(({ stream }) => stream === positionsOf(delivery));
      const behind = held.map(({ partition, rules }) => at(stable, partition) - (rules.get(delivery)?.next ?? 0n));
      return held.length === 0 ? null : Number(behind.reduce((sum, one) => (one > 0n ? sum + one : sum), 0n));
    };
  } catch (error) {
    if (isTidelineError(error, "TOPIC_MISSING")) return () => null;
    throw error;
  }
}

/** Returns a channel without the path of its URL: for Slack, and many others, whoever has the path can write there. */
function shownChannel(to: Channel): string {
  switch (to.type) {
    case "mail":
      return `mail to ${to.to}`;
    case "topic":
      return `topic ${to.name}`;
    case "function":
      return "function";
    default:
      return `${to.type} ${new URL(to.url).origin}/…`;
  }
}
