import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { withDuck } from "../../batch-layer/duck-run.ts";
import { UNWATCHED } from "../../batch-layer/stores.ts";
import { rowsOf } from "../../store/duckdb/duck.ts";
import { HttpRegistry } from "../../store/registry/registry-http.ts";
import { poolForTests } from "../fixtures/oracles/duck.ts";

/** Node warns of a leak when one signal has more than ten listeners. */
const AT_ONCE = 20;
const warnings: string[] = [];
const onWarning = ({ message }: Error) => warnings.push(message);
const pool = poolForTests();

beforeAll(() => {
  process.on("warning", onWarning);
});
afterAll(() => {
  process.off("warning", onWarning);
});

const atOnce = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: AT_ONCE }, work));

test("many steps and many calls at once share no signal", async () => {
  await atOnce(() => withDuck({ pool: pool() }, UNWATCHED, (duck) => rowsOf(duck, "SELECT count(*) FROM range(1000)")));

  // It answers when all have asked.
  const waiting: (() => void)[] = [];
  const server = createServer((_, response) => {
    waiting.push(() => response.end('{"schema":"x"}'));
    if (waiting.length === AT_ONCE) for (const answer of waiting) answer();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const registry = new HttpRegistry(`http://127.0.0.1:${port}`);
  expect(await atOnce(() => registry.schemaById(1))).toEqual(Array.from({ length: AT_ONCE }, () => "x"));
  server.close();
  await turn();
  expect(warnings).toEqual([]);
});
