import { SEVERITIES, type Severity } from "../contract/alerts.ts";

/** Where a delivery takes alerts. */
export type Channel =
  | { readonly type: "webhook"; readonly url: string; readonly secret: string | null }
  | { readonly type: "slack"; readonly url: string }
  | { readonly type: "mail"; readonly to: string };

export interface DeliveryDefinition {
  readonly to: Channel;
  /** Only alerts of these rules; of all when absent. */
  readonly rules?: readonly string[];
  /** Only alerts of these severities; of all when absent. */
  readonly severities?: readonly Severity[];
  /** Where a new delivery begins in the stream of alerts: at its "end", which is the default, or at its "start". */
  readonly from?: "start" | "end";
}

/** A delivery: which alerts go where. */
export interface Delivery {
  readonly kind: "delivery";
  readonly name: string;
  readonly to: Channel;
  readonly rules: readonly string[] | null;
  readonly severities: readonly Severity[] | null;
  readonly from: "start" | "end";
}

/** Defines a delivery. What is wrong with a definition is found at start-up, with file and field. */
export function delivery(name: string, definition: DeliveryDefinition): Delivery {
  const { to, rules = null, severities = null, from = "end" } = definition;
  return { kind: "delivery", name, to, rules, severities, from };
}

/**
 * An HTTP address that gets each alert as JSON, in a POST request. With a `secret` requests are signed as Standard
 * Webhooks says; take it from the environment (`process.env.ON_CALL_SECRET`), not from the file.
 */
export function webhook(options: { readonly url: string | undefined; readonly secret?: string | undefined }): Channel {
  return { type: "webhook", url: options.url ?? "", secret: options.secret ?? null };
}

/** An address that takes what Slack's incoming webhooks take: `{"text": …}`. */
export function slack(options: { readonly url: string | undefined }): Channel {
  return { type: "slack", url: options.url ?? "" };
}

/** Mail to addresses, separated by commas, by way of TIDELINE_SMTP_URL. */
export function mail(options: { readonly to: string }): Channel {
  return { type: "mail", to: options.to };
}

/** What is wrong with a delivery: one sentence per problem, naming the field. `rules`: the names of all rules. */
export function checkDelivery({ name, to, rules, severities, from }: Delivery, known: ReadonlySet<string>): string[] {
  const problems: string[] = [];
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(name))
    problems.push(`name "${name}": use lower-case letters, digits and dashes, at most 63`);
  const problem = channelProblem(to);
  if (problem !== null) problems.push(`to: ${problem}`);
  for (const rule of rules ?? []) if (!known.has(rule)) problems.push(`rules: there is no rule "${String(rule)}"`);
  for (const severity of severities ?? [])
    if (!SEVERITIES.includes(severity))
      problems.push(`severities: some of ${SEVERITIES.join(", ")}, not "${String(severity)}"`);
  if (from !== "start" && from !== "end") problems.push(`from: "start" or "end", not "${String(from)}"`);
  return problems;
}

function channelProblem(to: Channel | undefined): string | null {
  switch (to?.type) {
    case "webhook":
    case "slack":
      // Not what was given: it may hold a password.
      return /^https?:\/\/[^/\s]/.test(to.url) && URL.canParse(to.url) ? null : "url is no http or https address";
    case "mail":
      return to.to.includes("@") ? null : "no mail address";
    default:
      return "no channel: give webhook(…), slack(…) or mail(…)";
  }
}
