import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { positionText, waitForViews } from "../../cli/send/send-wait.ts";
import { loadConfig } from "../../cli/setup/config.ts";
import { position } from "../../core/log/position.ts";

/** `send --wait` against what `GET /views` says. */

const reached = new Map([
  [0, position(10)],
  [2, position(5)],
]);
const stopped = {
  ...{ kind: "view", name: "b", code: "VIEW_FAILED", message: "its SQL fails", hint: "Correct it." },
  since: "2026-03-01T00:00:00.000Z",
};

let server: Server | null = null;
afterEach(() => {
  server?.close();
});

/** A server whose list of views is what `answers` gives, one after the other, and then always the last. */
async function serving(...answers: readonly (readonly object[])[]) {
  let asked = 0;
  server = createServer((_, response) => {
    const views = answers[Math.min(asked++, answers.length - 1)];
    response.setHeader("content-type", "application/json").end(JSON.stringify({ views }));
  });
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return loadConfig({ TIDELINE_API_URL: `http://127.0.0.1:${port}` });
}

test("names the last records, as min of HTTP takes them", () => {
  expect(positionText("ns.t", reached)).toBe("ns.t:0:9,ns.t:2:4");
  expect(positionText("t", new Map())).toBe("");
});

test("waits until every view of the stream has all partitions' records", async () => {
  const behind = { name: "a", applied: { 0: "10", 2: "4" } };
  const there = { name: "a", applied: { 0: "11", 1: "0", 2: "5" } };
  const config = await serving([], [behind], [{ name: "a", applied: null }], [there]);
  await waitForViews(config, ["a"], reached, 60_000);
});

test("names a view that is stopped, and does not wait for it; others are waited for", async () => {
  const b = { name: "b", applied: { 0: "3" }, problems: [stopped] };
  const config = await serving([{ name: "a", applied: {} }, b], [{ name: "a", applied: { 0: "10", 2: "5" } }, b]);
  await expect(waitForViews(config, ["a", "b"], reached, 600_000)).rejects.toMatchObject({
    code: "NOT_READY",
    message: expect.stringMatching(/: b is stopped: VIEW_FAILED: its SQL fails. Correct it.$/) as string,
  });
});

test("a stopped view that has the records is not a problem, and one that lacks some is named after the time", async () => {
  const b = { name: "b", applied: { 0: "10", 2: "9" }, problems: [stopped] };
  const config = await serving([b, { name: "a", applied: { 0: "8" } }]);
  await waitForViews(config, ["b"], reached, 60_000);
  await expect(waitForViews(config, ["a", "b"], reached, 1_000)).rejects.toThrow(/after 1s a lacks 7 positions$/);
});
