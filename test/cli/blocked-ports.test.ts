import { expect, test } from "vitest";
import { loadConfig } from "../../cli/setup/config.ts";
import { isBlockedPort } from "../../core/blocked-ports.ts";
import { isTidelineError } from "../../core/errors.ts";

/** Whether this Node's `fetch` refuses a port of this machine before it connects. */
async function fetchRefuses(port: number): Promise<boolean> {
  const error = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(10_000) }).then(
    async (response) => void (await response.body?.cancel()),
    (reason: unknown) => reason,
  );
  return ((error as Error | undefined)?.cause as Error | undefined)?.message === "bad port";
}

test("the blocked ports are those that fetch refuses, and no neighbour of one", async () => {
  const blocked = Array.from({ length: 65_536 }, (_, port) => port).filter(isBlockedPort);
  expect(blocked.length).toBeGreaterThan(80);
  // This Node's fetch still asks port 0, which browsers refuse.
  const asked = new Set(blocked.flatMap((port) => [port - 1, port, port + 1]).filter((port) => port > 0));
  const refused = await Promise.all([...asked].map(async (port) => ((await fetchRefuses(port)) ? [port] : [])));
  expect(refused.flat().sort((a, b) => a - b)).toEqual(blocked.filter((port) => port > 0));
});

/** What is wrong with these settings; null: nothing. */
function problemOf(env: Record<string, string>): string | null {
  try {
    loadConfig(env);
    return null;
  } catch (error) {
    if (!isTidelineError(error, "CONFIG_INVALID")) throw error;
    return error.message;
  }
}

test("a port that browsers or fetch ask may not be blocked; the ports of other protocols may", () => {
  const wanted = "(a port that browsers and fetch do not refuse)";
  for (const name of ["API", "SPEED", "WORKER", "TEMPORAL_UI"]) {
    const variable = `TIDELINE_${name}_PORT`;
    expect(problemOf({ [variable]: "10080" })).toBe(`wrong settings: ${variable}="10080" ${wanted}`);
    expect(problemOf({ [variable]: "10081" })).toBeNull();
  }
  for (const name of ["REDIS", "KAFKA", "KAFKA_CONTROLLER", "TEMPORAL", "TEMPORAL_METRICS"])
    expect(problemOf({ [`TIDELINE_${name}_PORT`]: "10080" })).toBeNull();
  for (const variable of ["TIDELINE_API_URL", "TIDELINE_SCHEMA_REGISTRY"]) {
    expect(problemOf({ [variable]: "http://api.example:6000/" })).toContain(
      "a URL whose port browsers and fetch do not",
    );
    expect(problemOf({ [variable]: "http://api.example/" })).toBeNull();
  }
  expect(problemOf({ REDIS_URL: "redis://127.0.0.1:6000" })).toBeNull();
  expect(problemOf({ TIDELINE_API_PORT: "70000" })).toContain("(a port number, 1 to 65535)");
});
