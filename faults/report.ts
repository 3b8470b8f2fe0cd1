import Table from "cli-table3";
import type { Deployment } from "./deployment/deployment.ts";
import { percentile, type Recovery } from "./deployment/recoveries.ts";
import type { Mismatch } from "./model/judge.ts";

/** What happened beside wrong answers. */
export interface Findings {
  /** Something that must hold did not. */
  readonly wrong: string[];
  /** Something took longer than it may. */
  readonly lostTime: string[];
  /** When the first of all was found, ms since the load began. */
  firstAtMs: number | null;
}

/** What came of a run; written as JSON too. */
export interface Report {
  readonly seed: number;
  readonly seconds: number;
  /** Nothing wrong, nothing late. */
  readonly ok: boolean;
  /** When the first trouble was found, in seconds since the load began; null: never. */
  readonly firstAfterSeconds: number | null;
  readonly answers: {
    readonly checked: number;
    readonly incomplete: Readonly<Record<string, number>>;
    readonly atEarlierPositions: number;
    readonly readYourWrite: number;
    /** Those about tables, by the kind of the question. */
    readonly tables: Readonly<Record<string, number>>;
    readonly refused: Readonly<Record<string, number>>;
  };
  readonly mismatches: number;
  readonly lost: number;
  readonly double: number;
  readonly firstMismatches: readonly Mismatch[];
  readonly wrong: readonly string[];
  readonly lostTime: readonly string[];
  readonly records: {
    readonly sent: number;
    readonly aborted: number;
    readonly read: number;
    readonly rejects: number;
  };
  readonly refreshes: { readonly published: number; readonly failed: Readonly<Record<string, number>> };
  readonly scenarios: readonly { readonly name: string; readonly seconds: number }[];
  readonly faults: readonly {
    readonly kind: string;
    readonly count: number;
    readonly recovered: number;
    readonly p50Ms: number | null;
    readonly p99Ms: number | null;
  }[];
}

const SHOWN_MISMATCHES = 5;

export function reportOf(run: {
  seed: number;
  durationMs: number;
  deployments: readonly Deployment[];
  recoveries: readonly Recovery[];
  runs: Report["scenarios"];
  findings: Findings;
}): Report {
  const { deployments, findings } = run;
  const readers = deployments.map((deployment) => deployment.readers);
  const mismatches = readers.flatMap((one) => one.mismatches).toSorted((a, b) => a.atMs - b.atMs);
  const total = (of: (deployment: Deployment) => number) => deployments.reduce((sum, one) => sum + of(one), 0);
  const { wrong, lostTime, firstAtMs } = findings;
  return {
    seed: run.seed,
    seconds: Math.round(run.durationMs / 1_000),
    ok: mismatches.length + wrong.length + lostTime.length === 0,
    firstAfterSeconds: firstAtMs === null ? null : Math.round(firstAtMs / 100) / 10,
    answers: {
      checked: total((one) => one.readers.counts.checked),
      incomplete: added(readers.map(({ counts }) => counts.incomplete)),
      atEarlierPositions: total((one) => one.readers.counts.at),
      readYourWrite: total((one) => one.readers.counts.min),
      tables: added(readers.map(({ counts }) => counts.tables)),
      refused: added(readers.map(({ counts }) => counts.refused)),
    },
    mismatches: mismatches.length,
    lost: mismatches.reduce((sum, { lost }) => sum + lost, 0),
    double: mismatches.reduce((sum, { double }) => sum + double, 0),
    firstMismatches: mismatches.slice(0, SHOWN_MISMATCHES),
    wrong,
    lostTime,
    records: {
      sent: total((one) => one.source.sent),
      aborted: total((one) => one.source.aborted),
      read: total((one) => one.oracle.read),
      rejects: total((one) => one.oracle.rejects.size),
    },
    refreshes: {
      published: total((one) => one.refresher.published),
      failed: added(deployments.map(({ refresher }) => refresher.failures)),
    },
    scenarios: run.runs,
    faults: faultsOf(run.recoveries),
  };
}

function faultsOf(recoveries: readonly Recovery[]): Report["faults"] {
  return [...new Set(recoveries.map(({ kind }) => kind))].map((kind) => {
    const all = recoveries.filter((recovery) => recovery.kind === kind);
    const times = all.flatMap(({ recoveredMs }) => (recoveredMs === null ? [] : [recoveredMs]));
    const at = (share: number) => (times.length === 0 ? null : Math.round(percentile(times, share)));
    return { kind, count: all.length, recovered: times.length, p50Ms: at(0.5), p99Ms: at(0.99) };
  });
}

function added(counts: readonly ReadonlyMap<string, number>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const [name, count] of counts.flatMap((one) => [...one])) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}

const seconds = (durationMs: number | null) => (durationMs === null ? "" : (durationMs / 1_000).toFixed(1));
const listed = (counts: Readonly<Record<string, number>>) =>
  Object.entries(counts)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ") || "none";

/** For the terminal. */
export function reportText(report: Report): string {
  const { answers, records, refreshes } = report;
  const table = new Table({
    head: ["fault", "times", "recovered", "p50 s", "p99 s"],
    style: { head: [], border: [] },
    colAligns: ["left", "right", "right", "right", "right"],
  });
  for (const { kind, count, recovered, p50Ms, p99Ms } of report.faults)
    table.push([kind, count, recovered, seconds(p50Ms), seconds(p99Ms)]);
  const lines = [
    table.toString(),
    `seed ${report.seed}, ${report.seconds} s under load, ${report.scenarios.length} scenarios`,
    `log: ${records.read} records that count (${records.aborted} sent in aborted ` +
      `transactions, ${records.rejects} that do not decode)`,
    `versions published: ${refreshes.published}; refreshes failed: ${listed(refreshes.failed)}`,
    `answers checked: ${answers.checked} (${answers.atEarlierPositions} at earlier positions, ` +
      `${answers.readYourWrite} read-your-write; not complete: ${listed(answers.incomplete)})`,
    `of tables: ${listed(answers.tables)}`,
    `not answered: ${listed(answers.refused)}`,
    `mismatches: ${report.mismatches}; events lost: ${report.lost}, counted twice: ${report.double}`,
    ...report.firstMismatches.map((mismatch) => `MISMATCH ${JSON.stringify(mismatch, null, 2)}`),
    ...report.wrong.map((what) => `WRONG ${what}`),
    ...report.lostTime.map((what) => `LOST TIME ${what}`),
    report.ok ? "exact under fire" : "NOT exact under fire",
  ];
  return `${lines.join("\n")}\n`;
}
