import { pino } from "pino";
import { describe, expect, inject, it } from "vitest";
import { Settlements } from "../../activities/worker/settlements.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { openRedis } from "../../store/redis/redis.ts";
import { SettleRequests } from "../../store/redis/settle-requests.ts";
import { workId } from "../../workflows/shared/names.ts";
import { client, openPlace, shopDefinitions, useTemporal } from "../fixtures/servers/batch-worker.ts";

const STREAM = "order-completed";

useTemporal();

describe("the settlements a worker starts", () => {
  it("let go of one that nobody can finish when it closes in the middle of starting it", async () => {
    const here = await openPlace([STREAM]);
    const definitions = await shopDefinitions();
    const log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "settlements-test" });
    const redis = openRedis(inject("redisUrl"), () => {});
    let whenAsked = () => {};
    const asked = new Promise<void>((resolve) => {
      whenAsked = resolve;
    });
    let goOn = () => {};
    const mayAnswer = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const settlements = new Settlements(
      {
        temporalAddress: inject("temporalAddress"),
        temporalNamespace: "default",
        namespace: here.namespace,
        definitions: { ...definitions, streams: new Map([...definitions.streams].filter(([name]) => name === STREAM)) },
        generations: new Generations(here.data),
        manifests: here.manifests,
        log: Object.assign(Object.create(log), {
          readableBounds: async (topic: string) => {
            whenAsked();
            await mayAnswer;
            return log.readableBounds(topic);
          },
        }),
        requests: new SettleRequests(redis, here.namespace),
        automatic: true,
        everyMs: 1_000,
        failures: { watch: (_, work) => work() },
        logger: pino({ level: "silent" }),
      },
      10,
    );
    try {
      await asked;
      const closed = settlements.close();
      goOn();
      // No worker runs: a settlement that was started never ends.
      await closed;
      const run = client.workflow.getHandle(workId(here.namespace, "settle", STREAM));
      expect((await run.describe()).status.name).toBe("RUNNING");
      await run.terminate();
    } finally {
      redis.disconnect();
      await log.close();
    }
  });
});
