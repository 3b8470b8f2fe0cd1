import { describe, expect, test } from "vitest";
import { loadConfig, settings } from "../../cli/setup/config.ts";
import { type OrderCompletedV1, orderCompleted } from "../../schemas/order-completed.ts";
import { topicName } from "../../store/kafka/cluster/topics.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";
import { simulateOrders } from "../../systems/shop/orders/simulate.ts";
import {
  brokers,
  freshNamespace,
  heights,
  kafkajsPartition,
  never,
  readAll,
  seed,
  startTideline,
  total,
  until,
  useKafka,
} from "./topics.ts";

useKafka();

describe("simulate", () => {
  test("sends its seed's orders, each keyed into the partition that kafkajs would choose", async () => {
    const namespace = freshNamespace();
    const began = Date.now();
    const result = await simulateOrders({ brokers, namespace, seed, rate: 20_000, count: 5_000, stop: never });
    expect(result).toMatchObject({ sent: 5_000, acknowledged: 5_000 });
    const topic = topicName(namespace, orderCompleted.name);
    const read = await readAll(topic);
    const order = ordersOf(seed);
    const sent = read.map(({ partition, key, value, timestamp }) => {
      const event = JSON.parse(value ?? "") as OrderCompletedV1;
      orderCompleted.contract.parse(event);
      expect(key).toBe(event.order_id);
      expect(partition).toBe(kafkajsPartition(event.order_id, orderCompleted.partitions));
      expect(event.completed_at).toBeLessThanOrEqual(timestamp);
      expect(event.completed_at).toBeGreaterThanOrEqual(began);
      return event;
    });
    const index = ({ event_id }: OrderCompletedV1) => Number.parseInt(event_id.split("-")[2] ?? "", 36);
    sent.sort((a, b) => index(a) - index(b));
    expect(sent).toEqual(sent.map(({ completed_at }, i) => order(i, completed_at)));
    expect(sent.length).toBe(5_000);
  });

  test("stops on Ctrl+C with what it sent acknowledged and reported, and ends with 130", async () => {
    const namespace = freshNamespace();
    const { child, ended } = startTideline(namespace, "simulate", "orders", "--rate", "5000", "--json");
    const topic = topicName(namespace, orderCompleted.name);
    await until(async () => total(await heights(topic)) > 0);
    child.kill("SIGINT");
    const { code, out } = await ended;
    expect(code).toBe(130);
    const { sent, acknowledged } = JSON.parse(out) as { sent: number; acknowledged: number };
    expect(acknowledged).toBe(sent);
    expect(total(await heights(topic))).toBe(sent);
  });
});

describe("send", () => {
  test("sends what a pipe has given while the pipe stays open, row by row, in every form of text", async () => {
    const order = ordersOf(seed);
    const rows = Array.from(
      { length: 3 },
      (_, index) => order(index, Date.now()) as unknown as Record<string, unknown>,
    );
    const names = Object.keys(rows[0] ?? {}).filter((name) => rows.every((row) => !Array.isArray(row[name])));
    const lists = Object.keys(rows[0] ?? {}).filter((name) => !names.includes(name));
    const quoted = (value: unknown) => `"${String(value).replaceAll('"', '""')}"`;
    const cells = (row: Record<string, unknown>) =>
      [...names.map((name) => row[name]), ...lists.map((name) => JSON.stringify(row[name]))].map(quoted).join();
    for (const [head, text] of [
      [`${[...names, ...lists].join()}\n`, (row: Record<string, unknown>) => `${cells(row)}\n`],
      ["", (row: Record<string, unknown>) => `${JSON.stringify(row)}\n`],
      ["", (row: Record<string, unknown>) => `${JSON.stringify(row, null, 2)}\n`],
    ] as const) {
      const namespace = freshNamespace();
      const { child, ended } = startTideline(namespace, "send", orderCompleted.name, "--json");
      const topic = topicName(namespace, orderCompleted.name);
      child.stdin.write(head);
      for (const [index, row] of rows.entries()) {
        child.stdin.write(text(row));
        await until(async () => total(await heights(topic)) === index + 1);
      }
      child.stdin.end();
      expect(JSON.parse((await ended).out)).toMatchObject({ rows: 3, invalid: 0, sent: 3 });
      const ids = (await readAll(topic)).map(({ value }) => (JSON.parse(value ?? "") as OrderCompletedV1).event_id);
      expect(ids.sort()).toEqual(rows.map(({ event_id }) => event_id).sort());
    }
  });
});

describe("the command line", () => {
  test("ends with 2 when it is called wrongly, and explains an error in two lines", async () => {
    const wrong = startTideline("", "replay", "flights", "--speed", "fast").ended;
    const failing = startTideline("UPPER CASE", "replay", "flights").ended;
    expect(await wrong).toMatchObject({ code: 2, err: expect.stringContaining("--speed") });
    const { code, err } = await failing;
    expect(code).toBe(1);
    expect(err).toMatch(/^error CONFIG_INVALID: .*TIDELINE_NAMESPACE.*\nwhat to do: .*\n$/);
  });

  test("lists every wrong setting at once, and lets addresses follow the ports", () => {
    const wrong = { TIDELINE_API_PORT: "0", REDIS_URL: "http://x", TIDELINE_LOG_LEVEL: "loud", KAFKA_BROKERS: "a:1,b" };
    for (const variable of Object.keys(wrong)) expect(() => loadConfig(wrong)).toThrow(variable);
    const config = loadConfig({ TIDELINE_KAFKA_PORT: "9999", KAFKA_BROKERS: "" });
    expect(config).toMatchObject({ kafkaBrokers: "127.0.0.1:9999", apiUrl: "http://127.0.0.1:7070", namespace: "" });
    expect(Object.keys(config).sort()).toEqual(Object.keys(settings).sort());
  });
});
