import type { RulePositions } from "../../core/alerts/rule-positions.ts";
import { alerts } from "../../core/contract/alerts.ts";
import type { Rule } from "../../core/definition/rule.ts";
import { isTidelineError } from "../../core/errors.ts";
import { at } from "../../core/log/position.ts";
import { restartRule } from "../../rules/restart.ts";
import { readRulePositions } from "../../store/alerts/read-positions.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { rulePositionsTopic, topicName, topicOf } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import type { Config } from "../setup/config.ts";
import { printable } from "../terminal/printable.ts";
import { print } from "../terminal/sheet.ts";
import { ruleUnknown } from "./respond.ts";

const READ_LIMIT_MS = 60_000;

/** `tideline rules list`. */
export async function listRules(config: Config, json: boolean): Promise<void> {
  const { rules = new Map<string, Rule>() } = await loadDefinitions(config);
  const log = new LogReader({ brokers: config.kafkaBrokers, clientId: "tideline-rules" });
  try {
    const stored = rules.size === 0 ? [] : await storedPositions(log, config);
    const rows = await Promise.all(
      [...rules.values()].map(async (rule) => ({
        rule: rule.name,
        stream: rule.on.name,
        severity: rule.severity,
        quiet: rule.quiet,
        when: rule.when.text,
        key: rule.key?.text ?? null,
        behind: await behind(log, config, rule, stored),
      })),
    );
    const head = ["rule", "stream", "severity", "quiet", "behind", "key", "when"];
    const cells = rows.map(({ rule, stream, severity, quiet, behind, key, when }) =>
      [rule, stream, severity, quiet, behind === null ? "has not begun" : `${behind}`, key ?? "-", when].map(printable),
    );
    await print(json, rows, { head, right: ["behind"], rows: cells }, "no rules");
  } finally {
    await log.close();
  }
}

/** `tideline rules restart`. Throws RULE_UNKNOWN, and as `restartRule`. */
export async function restart(config: Config, name: string, where: "start" | "end"): Promise<void> {
  const { rules = new Map<string, Rule>() } = await loadDefinitions(config);
  const rule = rules.get(name);
  if (rule === undefined) throw ruleUnknown(name, rules.keys());
  const { kafkaBrokers: brokers, namespace } = config;
  const log = new LogReader({ brokers, clientId: "tideline-rules" });
  try {
    await restartRule({ brokers, namespace, log }, rule, where);
    process.stdout.write(`${name} begins again at the log's ${where}\n`);
  } finally {
    await log.close();
  }
}

async function storedPositions(log: LogReader, { namespace }: Config): Promise<RulePositions[]> {
  const topic = rulePositionsTopic(topicName(namespace, alerts.name));
  try {
    return [...(await readRulePositions(log, topic, AbortSignal.timeout(READ_LIMIT_MS))).values()];
  } catch (error) {
    if (isTidelineError(error, "TOPIC_MISSING")) return [];
    throw error;
  }
}

/**
 * Returns the number of offsets between the position that a rule last wrote and the log's end; null before the rule has
 * begun.
 */
async function behind(
  log: LogReader,
  { namespace }: Config,
  { name, on }: Rule,
  stored: readonly RulePositions[],
): Promise<number | null> {
  const held = stored.filter(({ stream, rules }) => stream === on.name && rules.has(name));
  if (held.length === 0) return null;
  const { stable } = await log.bounds(topicOf(namespace, on));
  const offsets = held.map(({ partition, rules }) => at(stable, partition) - (rules.get(name)?.next ?? 0n));
  return Number(offsets.reduce((sum, one) => (one > 0n ? sum + one : sum), 0n));
}
