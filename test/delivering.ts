import { pino } from "pino";
import { Registry } from "prom-client";
import { inject } from "vitest";
import type { Delivery } from "../core/definition/delivery.ts";
import { startDeliveries } from "../deliveries/main.ts";

/** Starts deliveries in the test's own process, on the shared servers. They try again after milliseconds. */
export const startDelivering = (
  place: { readonly dataDir: string; readonly namespace: string },
  deliveries: readonly Delivery[],
): ReturnType<typeof startDeliveries> =>
  startDeliveries({
    ...place,
    ...{ brokers: inject("kafkaBrokers"), redisUrl: inject("redisUrl") },
    definitions: {
      views: new Map(),
      streams: new Map(),
      deliveries: new Map(deliveries.map((one) => [one.name, one])),
    },
    mail: { url: "", from: "" },
    pace: { firstRetryMs: 2, breakMs: 50 },
    registry: new Registry(),
    logger: pino({ level: "silent" }),
  });
