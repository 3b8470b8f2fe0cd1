import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { expect, test } from "vitest";
import { filledPlace, useServers } from "./place.ts";

useServers();

/** Collects what a connection is sent. */
function received(socket: Socket): () => string {
  let text = "";
  socket.on("data", (bytes) => {
    text += bytes;
  });
  return () => text;
}

test("a closing server answers what it has begun, and refuses what follows on the same connection as a problem", async () => {
  const { at } = await filledPlace();
  const socket = connect(at.serving?.port ?? 0, "127.0.0.1");
  const text = received(socket);
  const ask = (path: string) => socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
  // It waits for a record that does not come.
  ask(`/views/takings?min=${at.namespace}.sales:0:100000&wait=2s`);
  await once(socket, "connect");
  await expect.poll(async () => (await at.ask("/metrics")).text).toContain("tideline_");
  const closed = at.serving?.close();
  ask("/views/takings");
  await closed;
  const [first = "", second = ""] = text().split(/(?=HTTP\/1\.1 )/);
  expect(first).toContain('"NOT_REACHED"');
  expect(second).toMatch(/^HTTP\/1\.1 503 [\s\S]*content-type: application\/problem\+json[\s\S]*"NOT_READY"/);
});
