import { describe, expect, test } from "vitest";
import { type OrderCompletedV1, orderCompleted } from "../../schemas/order-completed.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";
import { type Delivery, delivered } from "../../systems/shop/simulator/disorder.ts";
import type { ShopEvent } from "../../systems/shop/simulator/event.ts";
import { type ShopOptions, shopEvents } from "../../systems/shop/simulator/shop.ts";
import { ordersUpTo, shopStreams } from "../../systems/shop/simulator/simulate.ts";

const seed = Math.floor(Math.random() * 2 ** 31);

describe("orders", () => {
  test("are a function of seed and index alone", () => {
    const indexes = [0, 1, 2, 77, 2 ** 32, 2 ** 32 + 1];
    const backwards = indexes.toReversed().map((index) => ordersOf(42)(index, 1));
    expect(indexes.map((index) => ordersOf(42)(index, 1))).toEqual(backwards.toReversed());
    expect(ordersOf(43)(0, 1).amount_cents).not.toBe(ordersOf(42)(0, 1).amount_cents);
    expect(ordersOf(42)(2 ** 32, 1)).not.toMatchObject({ buyer_id: ordersOf(42)(0, 1).buyer_id });
  });

  test("keep the contract, have ids of their own and look like a shop's", () => {
    const orders = [seed, seed + 1].flatMap((run) =>
      Array.from({ length: 20_000 }, (_, i) => ordersOf(run)(i, 1_767_225_600_000)),
    );
    for (const order of orders) orderCompleted.contract.parse(order);
    expect(new Set(orders.map(({ event_id }) => event_id)).size).toBe(orders.length);
    expect(new Set(orders.map(({ order_id }) => order_id)).size).toBe(orders.length);
    const shareOf = (test: (order: OrderCompletedV1) => boolean) => orders.filter(test).length / orders.length;
    expect(shareOf(({ region }) => region === "eu")).toBeCloseTo(0.44, 1);
    expect(shareOf(({ category }) => category === "books")).toBeCloseTo(0.26, 1);
    expect(shareOf(({ test_order }) => test_order)).toBeGreaterThan(0);
    expect(shareOf(({ test_order }) => test_order)).toBeLessThan(0.01);
    expect(new Set(orders.map(({ buyer_id }) => buyer_id)).size).toBeLessThan(orders.length * 0.75);
  });
});

describe("the shop", () => {
  const noon = Date.parse("2026-03-02T12:00:00Z");
  const options: ShopOptions = { seed, rate: 1, fromMs: noon, bursts: false };
  const eventsOf = (changed: Partial<ShopOptions>, orders: number): ShopEvent[] => [
    ...ordersUpTo(orders, shopEvents({ ...options, ...changed }), () => {}),
  ];
  const tidy = { duplicates: 0, late: 0, malformed: 0, avro: 0 };

  test("is a function of its seed, in the order of event time, and every event keeps its contract", () => {
    const events = eventsOf({}, 1_000);
    expect(eventsOf({}, 1_000)).toEqual(events);
    expect(eventsOf({ seed: seed + 1 }, 1)[0]).not.toEqual(events[0]);
    expect(new Set(events.map(({ stream }) => stream))).toEqual(new Set(shopStreams));
    const ids = new Set(events.map(({ stream, event }) => `${stream.name} ${event[String(stream.eventId)]}`));
    expect(ids.size).toBe(events.length);
    let before = noon;
    for (const { stream, version, timeMs, event } of events) {
      stream.versions.find((one) => one.version === version)?.contract.parse(event);
      if (timeMs < before) expect.fail(`${timeMs} comes after ${before}`);
      before = timeMs;
    }
    const versions = events.filter(({ stream }) => stream === orderCompleted).map(({ version }) => version);
    expect(new Set(versions)).toEqual(new Set([1, 2]));
  });

  test("lets each order live its life in order, to one end", () => {
    const steps = new Map<unknown, string[]>();
    const events = eventsOf({}, 1_500).filter(({ event }) => "order_id" in event);
    for (const { stream, event } of events) {
      const life = steps.get(event.order_id) ?? [];
      steps.set(event.order_id, [...life, `${stream.name}${event.outcome === "declined" ? " declined" : ""}`]);
    }
    const whole = [...steps.values()].filter(([first]) => first === "order-created").map((life) => life.join(" > "));
    const [created, reserved, paid] = ["order-created", "order-created > inventory-reserved", "payment-processed"];
    const completed = `${reserved} > ${paid} > order-completed`;
    const possible = [
      ...[created, reserved, `${reserved} > ${paid}`, completed, `${created} > order-cancelled`],
      ...[`${reserved} > order-cancelled`, `${reserved} > ${paid} > order-cancelled`],
      ...[`${reserved} > ${paid} declined`, `${reserved} > ${paid} declined > ${paid}`],
      ...[
        `${reserved} > ${paid} declined > order-cancelled`,
        `${reserved} > ${paid} declined > ${paid} > order-completed`,
      ],
      `${reserved} > ${paid} declined > ${paid} > order-cancelled`,
    ];
    for (const life of whole) expect(possible).toContain(life);
    expect(whole.filter((life) => life === completed).length).toBeGreaterThan(whole.length * 0.6);
  });

  test("sells as much as it is told, most in the evening of its customers, and ten times as much in a burst", () => {
    const dayMs = 86_400_000;
    const orders: number[] = [];
    const regions = new Map<string, number[]>();
    for (const { stream, timeMs, event } of shopEvents({ ...options, rate: 0.2, fromMs: noon })) {
      if (timeMs >= noon + dayMs) break;
      if (stream.name !== "order-created") continue;
      orders.push(timeMs);
      const hours = regions.get(String(event.region)) ?? Array.from({ length: 24 }, () => 0);
      const hour = new Date(timeMs).getUTCHours();
      hours[hour] = (hours[hour] ?? 0) + 1;
      regions.set(String(event.region), hours);
    }
    expect(orders.length).toBeGreaterThan(0.9 * 0.2 * 86_400);
    expect(orders.length).toBeLessThan(1.1 * 0.2 * 86_400);
    const at = (region: string, hour: number) => regions.get(region)?.[hour] ?? 0;
    expect(at("eu", 19)).toBeGreaterThan(3 * at("eu", 2)); // 20:00 and 3:00 in Berlin
    expect(at("us", 0)).toBeGreaterThan(3 * at("us", 8)); // 19:00 and 3:00 in New York
    const bursts = eventsOf({ bursts: true, rate: 2 }, 1_000).filter(({ stream }) => stream.name === "user-activity");
    const within = bursts.filter(({ timeMs }) => timeMs % 300_000 < 60_000).length;
    expect(within).toBeGreaterThan(bursts.length * 0.33); // a fifth without bursts
  });

  test("delivers as untidily as it is told, the same for the same seed", () => {
    const disorder = { duplicates: 0.02, late: 0.05, malformed: 0.01, avro: 0 };
    const events = eventsOf({}, 800);
    const deliveries = [...delivered(events, seed, disorder)];
    const text = ({ value }: Delivery) => String(value);
    expect([...delivered(events, seed, disorder)].map(text)).toEqual(deliveries.map(text));
    const sent = new Set(events.map(({ event }) => JSON.stringify(event)));
    const good = deliveries.filter((one) => sent.has(text(one)));
    expect(new Set(good.map(text))).toEqual(sent);
    const share = (count: number) => count / events.length;
    expect(share(deliveries.length - good.length)).toBeCloseTo(0.01, 2);
    expect(share(good.length - sent.size)).toBeCloseTo(0.02, 2);
    let newest = 0;
    let late = 0;
    for (const { stream, value } of good) {
      const time = Number((JSON.parse(String(value)) as Record<string, unknown>)[stream.eventTime]);
      late += newest - time >= 10_000 ? 1 : 0;
      newest = Math.max(newest, time);
    }
    expect(share(late)).toBeGreaterThan(0.03);
    expect(share(late)).toBeLessThan(0.07);
    expect([...delivered(events, seed, tidy)].map(text)).toEqual(events.map(({ event }) => JSON.stringify(event)));
  });
});
