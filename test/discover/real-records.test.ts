import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { discover } from "../../discover/discover.ts";
import { Decoder } from "../../store/decode/decoder.ts";
import { rowsOf } from "../../store/duckdb/duck.ts";
import { duckForTests } from "../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../fixtures/servers/fetched.ts";
import { TOPICS } from "./samples.ts";

/** A published data set by the contract that discover makes of it, against DuckDB's own reading of the file. */

const data = fileURLToPath(new URL("../../node_modules/vega-datasets/data", import.meta.url));
const duck = duckForTests({ directories: [data] });

test("1,707 earthquakes add up to what DuckDB reads in their GeoJSON", async () => {
  const topic = TOPICS.find((one) => one.topic === "usgs.earthquakes");
  if (topic === undefined) throw new RangeError("no earthquakes");
  const about = { name: "quakes", partitions: 1, taken: "all", schemas: new Map(), revision: 1 };
  const { stream } = discover({ topic: topic.topic, records: topic.records, ...about });
  const decoder = await Decoder.open(duck(), stream, NO_SCHEMAS);
  const values = topic.records.map(({ value }) => value as Buffer);
  const { relation, rejected } = await decoder.decode([fetchedOf(0, 0n, values)]);
  expect(rejected).toEqual([]);
  const units = (name: string) => {
    const spec = stream.fields[name]?.spec;
    const is = spec?.type === "optional" ? spec.of : spec;
    return is?.type === "decimal" ? is.scale : Number.NaN;
  };
  const depth = "geometry_coordinates[3]";
  const ours = [
    ...["count(*)", "count(DISTINCT id)", "sum(mag)", "count(felt)", "sum(felt)", "sum(gap)", "count(gap)"],
    ...['min("time")', 'max("time")', "sum(updated)", "sum(tz)", `sum(${depth})`, "count_if(status = 'reviewed')"],
  ];
  const scaled = (value: string, scale: number) => `sum(round_even(${value}::DECIMAL(38, 12) * ${10 ** scale}, 0))`;
  const theirs = [
    ...["count(*)", "count(DISTINCT f.id)", scaled("p.mag", units("mag")), "count(p.felt)", "sum(p.felt)"],
    ...[scaled("p.gap", units("gap")), "count(p.gap)", "min(p.time)", "max(p.time)", "sum(p.updated)", "sum(p.tz)"],
    ...[scaled("f.geometry.coordinates[3]", 6), "count_if(p.status = 'reviewed')"],
  ];
  const asIntegers = (sums: readonly string[]) => sums.map((one) => `(${one})::BIGINT`).join(", ");
  const file = `${data}/earthquakes.json`;
  const features = `SELECT unnest(features) AS f FROM read_json('${file}', maximum_object_size = 100000000)`;
  const read = `SELECT ${asIntegers(theirs)} FROM (SELECT f, f.properties AS p FROM (${features}))`;
  const [expected = []] = await rowsOf(duck(), read);
  expect(expected[0]).toBe(1_707n);
  expect(await rowsOf(duck(), `SELECT ${asIntegers(ours)} FROM ${relation}`)).toEqual([expected]);
});
