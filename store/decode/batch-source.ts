import type { RecordBatch } from "./batch-rows.ts";

/**
 * The batch as a relation: columns that unfold in the order of its rows, and where each lies from literals, for offsets
 * come in long runs.
 */
export function sourceSql(batch: readonly RecordBatch[], columns: string): string {
  const runs = batch.flatMap(({ partition, records }) => records.runs().map((run) => ({ partition, ...run })));
  const values = `(SELECT *, row_number() OVER () - 1 AS _row FROM (SELECT ${columns}))`;
  return runs.length <= FEW_RUNS ? withFewRuns(values, runs) : withManyRuns(values, runs);
}

interface Run {
  readonly partition: number;
  readonly from: bigint;
  readonly to: bigint;
}

/** A choice between this many runs costs less than looking positions up in lists. */
const FEW_RUNS = 64;

function withFewRuns(values: string, runs: readonly Run[]): string {
  let end = 0n;
  const cases = runs.map(({ partition, from, to }) => {
    const shift = from - end;
    end += to - from;
    return { when: `WHEN _row < ${end}`, partition: `THEN ${partition}`, offset: `THEN _row + ${shift}` };
  });
  const choose = (what: "partition" | "offset") =>
    `CASE ${cases.map((one) => `${one.when} ${one[what]}`).join(" ")} END`;
  return `(SELECT *, ${choose("partition")} AS _partition, ${choose("offset")}::BIGINT AS _offset FROM ${values})`;
}

function withManyRuns(values: string, runs: readonly Run[]): string {
  const partitions = runs.map(({ partition, from, to }) => `list_resize([${partition}], ${to - from}, ${partition})`);
  const offsets = runs.map(({ from, to }) => `range(${from}, ${to})`);
  const places = `SELECT unnest(flatten([${partitions.join(", ")}])) AS _partition, unnest(flatten([${offsets.join(", ")}])) AS _offset`;
  return `(SELECT * FROM ${values} JOIN (SELECT *, row_number() OVER () - 1 AS _row FROM (${places})) USING (_row))`;
}
