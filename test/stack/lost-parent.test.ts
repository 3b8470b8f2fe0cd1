import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

/** Processes that a role starts, whose role is killed before they have loaded their modules. */

const program = fileURLToPath(new URL("../../cli/tideline.js", import.meta.url));
/** A server that takes connections and never answers: a process that waits for it does not end by itself. */
const silent = createServer((socket) => sockets.push(socket));
const sockets: Socket[] = [];
let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-lost-parent-"));
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
});

afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  silent.close();
  await rm(home, { recursive: true, force: true });
});

test.each([
  ["worker", "--background"],
  ["serve", "--helper"],
])("%s %s ends at once, and asks nobody for anything", async (...args) => {
  const address = `127.0.0.1:${(silent.address() as { port: number }).port}`;
  const env = {
    ...{ PATH: process.env.PATH, TIDELINE_HOME: home, KAFKA_BROKERS: address, TEMPORAL_ADDRESS: address },
    REDIS_URL: `redis://${address}`,
  };
  const child = fork(program, args, { env, execArgv: [], serialization: "advanced", stdio: "ignore" });
  // What a role that is killed does.
  child.disconnect();
  const [code] = (await once(child, "exit")) as [number | null];
  expect(code).toBe(0);
  expect(sockets).toEqual([]);
});
