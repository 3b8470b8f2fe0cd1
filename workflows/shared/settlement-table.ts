import type { NamedFailure, NamedSettled, SettlementPlan } from "../../activities/activities.ts";

interface SettledRound {
  readonly views: readonly NamedSettled[];
  readonly failures: readonly NamedFailure[];
  readonly archived: number;
  readonly seconds: number;
}

type Span = SettlementPlan["spans"][number];

/** At most this many partitions are shown one by one. */
const MOST_PARTITIONS = 3;

/** Returns a settlement's round as a Markdown table for Temporal's UI: a line for each view. */
export function settlementTable(spans: readonly Span[], { views, failures, archived, seconds }: SettledRound): string {
  const spanOf = new Map(spans.map((span) => [span.generation, span]));
  const rows = [
    ...views.map((settled) => {
      const { view, generation, version, records, seconds: took } = settled;
      const span = spanOf.get(generation);
      const cells = [view, version, span === undefined ? "" : shownSpan(span), records, span?.by ?? "", took];
      return `| ${[...cells, outcomeOf(settled)].join(" | ")} |`;
    }),
    ...failures.map(({ view, code, message }) => `| ${view} | | | | | | ${code}: ${message.replaceAll("|", "/")} |`),
  ];
  const head = `archived ${archived} records; ${views.length} views settled in ${seconds} s`;
  if (rows.length === 0) return `${head}: nothing new`;
  const columns = "| view | version | span | records | cut by | s | |";
  return [head, "", columns, "| --- | --- | --- | --- | --- | --- | --- |", ...rows].join("\n");
}

function outcomeOf({ published, compared }: NamedSettled): string {
  if (!published) return "another was first";
  if (compared === null) return "published by an attempt before";
  return compared ? "ledger equal to the speed layer's" : "no speed ledger";
}

/**
 * Returns a text such as `0: [100, 220), 1: [80, 190)`. If there are many partitions, returns the number of offsets.
 */
function shownSpan({ from, to }: Span): string {
  const partitions = Object.keys(to).filter((partition) => from[partition] !== to[partition]);
  const start = (partition: string) => from[partition] ?? "0";
  const end = (partition: string) => to[partition] ?? "0";
  if (partitions.length <= MOST_PARTITIONS)
    return partitions.map((one) => `${one}: [${start(one)}, ${end(one)})`).join(", ");
  const offsets = partitions.reduce((sum, one) => sum + BigInt(end(one)) - BigInt(start(one)), 0n);
  return `${offsets} offsets in ${partitions.length} partitions`;
}
