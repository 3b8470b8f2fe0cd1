import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { pino } from "pino";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { HealthChecks } from "../../monitor/health-checks.ts";
import { monitorMetrics } from "../../monitor/metrics.ts";
import { freePorts } from "../../stack/servers/ports.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { sales } from "../fixtures/events/sales.ts";

test("what the monitor cannot check is counted each time, and logged once", { timeout: 30_000 }, async () => {
  const home = await mkdtemp(join(tmpdir(), "tideline-looks-"));
  const data = new DataDirectory(home);
  await data.attempt("views", "x", "json");
  // Nobody listens there.
  const { kafka, redis } = await freePorts();
  const lines: string[] = [];
  const logger = pino(new Writable({ write: (chunk, _, done) => done(void lines.push(String(chunk))) }));
  const registry = new Registry();
  const checks = new HealthChecks({
    ...{ brokers: `127.0.0.1:${kafka}`, redisUrl: `redis://127.0.0.1:${redis}`, namespace: "looks", data, logger },
    definitions: { views: new Map(), streams: new Map([[sales.name, sales]]) },
    limitsOf: () => ({ seconds: 1, offsets: 1 }) as never,
    ...{ retentionWarnHours: 1, positionsMs: 1_000 },
    metrics: monitorMetrics(
      registry,
      () => true,
      () => new Map(),
    ),
  });
  try {
    for (let n = 1; n <= 2; n++) {
      const { isKafkaThere } = await checks.run(Date.now());
      expect(isKafkaThere).toBe(false);
      expect(await registry.metrics()).toContain(`tideline_monitor_failed_looks_total{part="logs"} ${n}`);
    }
    const warned = lines.map((line) => JSON.parse(line)).filter(({ part }) => part === "logs");
    expect(warned).toMatchObject([{ level: 40, error: expect.stringMatching(/./) }]);
  } finally {
    await checks.close();
    await rm(home, { recursive: true });
  }
});
