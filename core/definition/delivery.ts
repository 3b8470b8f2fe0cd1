import { OWN_RULE, SEVERITIES, type Severity } from "../contract/alerts.ts";
import { parseDuration } from "../time.ts";
import { type During, duringProblems } from "./during.ts";
import type { SendAlert } from "./shown-alert.ts";

/** The receivers of a delivery. */
export type Channel =
  | { readonly type: "webhook"; readonly url: string; readonly secret: string | null }
  | { readonly type: "slack"; readonly url: string }
  | { readonly type: "mail"; readonly to: string }
  | { readonly type: "topic"; readonly name: string }
  | { readonly type: "function"; readonly send: SendAlert };

/** A channel, or in its place a function in the definition's file. */
type Target = { readonly to: Channel; readonly send?: never } | { readonly to?: never; readonly send: SendAlert };

export type DeliveryDefinition = Target & {
  /** Only alerts of these rules. Absent: of all rules. "tideline" is the rule of Tideline's own alerts. */
  readonly rules?: readonly string[];
  /** Only alerts of these severities. Absent: of all. */
  readonly severities?: readonly Severity[];
  /** Only alerts that were written at these times of the week. Absent: at any time. */
  readonly during?: During;
  /** One message for the alerts of a rule, or of a severity, within this time. Absent: one message for each alert. */
  readonly group?: { readonly by?: "rule" | "severity"; readonly within: string };
  /** The receiver of an alert that nobody has acknowledged within this time after it was written. */
  readonly escalate?: { readonly after: string } & Target;
  /**
   * The position in the stream of alerts where a new delivery begins: its "end", which is the default, or its "start".
   */
  readonly from?: "start" | "end";
};

/** A delivery: it sends selected alerts to a receiver. */
export interface Delivery {
  readonly kind: "delivery";
  readonly name: string;
  readonly to: Channel;
  readonly rules: readonly string[] | null;
  readonly severities: readonly Severity[] | null;
  readonly during: During | null;
  readonly group: { readonly by: "rule" | "severity"; readonly within: string; readonly withinMs: number } | null;
  /** The time between the writing of an alert and its delivery, in milliseconds. */
  readonly delayMs: number;
  readonly escalate: { readonly after: string; readonly afterMs: number; readonly to: Channel } | null;
  readonly from: "start" | "end";
}

/** Defines a delivery. Problems of a definition are found at start-up, with file and field. */
export function delivery(name: string, definition: DeliveryDefinition): Delivery {
  const { rules = null, severities = null, during = null, group, escalate, from = "end" } = definition;
  return {
    ...{ kind: "delivery", name, to: channelOf(definition), rules, severities, during, from, delayMs: 0 },
    group:
      group === undefined
        ? null
        : { by: group.by ?? "rule", within: group.within, withinMs: parseDuration(String(group.within)) ?? 0 },
    escalate:
      escalate === undefined
        ? null
        : {
            after: escalate.after,
            afterMs: parseDuration(String(escalate.after)) ?? 0,
            to: channelOf(escalate),
          },
  };
}

/**
 * Returns a delivery, and its escalation if it has one. The escalation is a delivery of the same alerts after a delay,
 * each in a message of its own, with positions and dead letters of its own. No other delivery has a dot in its name.
 */
export function withEscalation(one: Delivery): Delivery[] {
  const { name, escalate } = one;
  if (escalate === null) return [one];
  const later = { to: escalate.to, delayMs: escalate.afterMs, group: null, escalate: null };
  return [one, { ...one, ...later, name: `${name}.escalation` }];
}

/**
 * Returns the channel. Undefined if the definition has neither `to` nor `send`, or both; `checkDelivery` reports that.
 */
function channelOf({ to, send }: { readonly to?: Channel; readonly send?: SendAlert }): Channel {
  if (send === undefined) return to as Channel;
  return (to === undefined ? { type: "function", send } : undefined) as Channel;
}

/**
 * An HTTP address that gets each alert as JSON, in a POST request. With a `secret`, requests are signed as Standard
 * Webhooks defines. Take the secret from the environment (`process.env.ON_CALL_SECRET`), not from the file.
 */
export function webhook(options: { readonly url: string | undefined; readonly secret?: string | undefined }): Channel {
  return { type: "webhook", url: options.url ?? "", secret: options.secret ?? null };
}

/** An address that accepts the messages of Slack's incoming webhooks: `{"text": …}`. */
export function slack(options: { readonly url: string | undefined }): Channel {
  return { type: "slack", url: options.url ?? "" };
}

/** Mail to addresses, separated by commas, through the server of TIDELINE_SMTP_URL. */
export function mail(options: { readonly to: string }): Channel {
  return { type: "mail", to: options.to };
}

/** A topic of the same Kafka, which has to exist. It gets a record for each alert, with the alert's id as the key. */
export function topic(options: { readonly name: string }): Channel {
  return { type: "topic", name: options.name };
}

/** Returns the problems of a delivery: one sentence per problem, naming the field. `known`: the names of all rules. */
export function checkDelivery(one: Delivery, known: ReadonlySet<string>): string[] {
  const { name, to, rules, severities, during, group, escalate, from } = one;
  const problems: string[] = [];
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(name))
    problems.push(`name "${name}": use lower-case letters, digits and dashes, at most 63`);
  const problem = channelProblem(to);
  if (problem !== null) problems.push(`to: ${problem}`);
  for (const rule of rules ?? [])
    if (rule !== OWN_RULE && !known.has(rule)) problems.push(`rules: there is no rule "${String(rule)}"`);
  for (const severity of severities ?? [])
    if (!SEVERITIES.includes(severity))
      problems.push(`severities: some of ${SEVERITIES.join(", ")}, not "${String(severity)}"`);
  if (during !== null) problems.push(...duringProblems(during).map((found) => `during: ${found}`));
  if (group !== null) {
    if (group.withinMs === 0 || group.withinMs > MOST_MS.group)
      problems.push(`group: within: "${String(group.within)}" is not a duration such as "30 seconds", at most a day`);
    if (group.by !== "rule" && group.by !== "severity")
      problems.push(`group: by: "rule" or "severity", not "${String(group.by)}"`);
  }
  if (escalate !== null) {
    const after = String(escalate.after);
    if (escalate.afterMs === 0 || escalate.afterMs > MOST_MS.escalate)
      problems.push(`escalate: after: "${after}" is not a duration such as "10 minutes", at most a week`);
    const later = channelProblem(escalate.to);
    if (later !== null) problems.push(`escalate: to: ${later}`);
  }
  if (from !== "start" && from !== "end") problems.push(`from: "start" or "end", not "${String(from)}"`);
  return problems;
}

const MOST_MS = { group: 86_400_000, escalate: 7 * 86_400_000 };

function channelProblem(to: Channel | undefined): string | null {
  switch (to?.type) {
    case "webhook":
    case "slack":
      // Do not repeat the URL: it may contain a password.
      return /^https?:\/\/[^/\s]/.test(to.url) && URL.canParse(to.url) ? null : "url is not an http or https address";
    case "mail":
      return to.to.includes("@") ? null : "no mail address";
    case "topic":
      return /^[\w.-]{1,249}$/.test(String(to.name)) ? null : `"${String(to.name)}" is not the name of a topic`;
    case "function":
      return typeof to.send === "function" ? null : "send is not a function";
    default:
      return "no channel: give one of webhook(…), slack(…), mail(…), topic(…), or a function as `send` in its place";
  }
}
