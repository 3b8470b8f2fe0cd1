import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, inject, it } from "vitest";
import { runHarness } from "../../faults/harness.ts";
import { scenarios } from "../../faults/scenarios/index.ts";
import { freePorts } from "../../stack/servers/ports.ts";
import { createServers } from "../../stack/servers/servers.ts";

/** A short run of `npm run faults`, with a Redis of its own: Kafka and Temporal belong to the other tests too. */
const SHORT = ["speed-kill-at-random", "redis-power-loss", "transactions"];

it("answers exactly while processes and Redis are killed and transactions aborted", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tideline-faults-"));
  const serversHome = join(folder, "servers");
  const servers = createServers({
    home: serversHome,
    ports: await freePorts(),
    env: { KAFKA_BROKERS: inject("kafkaBrokers"), TEMPORAL_ADDRESS: inject("temporalAddress") },
  });
  try {
    await servers.redis.start();
    const report = await runHarness({
      seed: 7,
      servers,
      serversHome,
      sketchesUrl: inject("redisUrl"),
      folder,
      program: fileURLToPath(new URL("../..", import.meta.url)),
      scenarios: scenarios.filter(({ name }) => SHORT.includes(name)),
      durationMs: 0,
      stopAtFirst: false,
      load: { size: { speed: 2, worker: 1, serve: 1 }, rate: 150, readers: 2, refreshEveryMs: 1_500 },
      // On a machine that is too busy it ends in order, and says what it had done by then.
      signal: AbortSignal.timeout(400_000),
      say: () => undefined,
    });
    const { firstMismatches, wrong, lostTime } = report;
    expect({ firstMismatches, wrong, lostTime }).toEqual({ firstMismatches: [], wrong: [], lostTime: [] });
    expect(report.scenarios).toHaveLength(SHORT.length);
    expect(report.faults.every(({ recovered }) => recovered > 0)).toBe(true);
    expect(report.answers.checked).toBeGreaterThan(50);
    expect(report.refreshes.published).toBeGreaterThan(3);
  } finally {
    await servers.redis.stop();
    await rm(folder, { recursive: true, force: true });
  }
}, 480_000);
