import { once } from "node:events";
import { readdir, readFile, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ScheduleOverlapPolicy } from "@temporalio/client";
import { execa } from "execa";
import { Kafka, logLevel, Partitioners, type Producer } from "kafkajs";
import PostalMime, { type Email } from "postal-mime";
import { SMTPServer } from "smtp-server";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { BatchWorker } from "../../activities/worker/worker.ts";
import { deliverEdition } from "../../batch-layer/report/deliver.ts";
import type { DataDirectory } from "../../store/files/files.ts";
import { topicName } from "../../store/kafka/cluster/topics.ts";
import { report as shopReport } from "../../systems/shop/report/report.ts";
import { type DailyReportInput, type dailyReport, nightlyReport } from "../../workflows/daily-report.ts";
import type { deliverReport } from "../../workflows/deliver-report.ts";
import { desiredSchedules } from "../../workflows/schedules.ts";
import { scheduleId, workId } from "../../workflows/shared/names.ts";
import { DATE, DAY, DAY_MS, definitions, type Sale, sale, sales } from "../fixtures/events/sales.ts";
import { client, openPlace, type Place, startWorkerIn, useTemporal } from "../fixtures/servers/batch-worker.ts";

const HOUR_MS = 3_600_000;

const salesOf = (day: number, total: number) => Array.from({ length: total }, (_, n) => sale(day, n));

/** A mail server that keeps what it gets, and first refuses with `refusals`. */
class MailServer {
  readonly mails: Email[] = [];
  readonly refusals: number[] = [];
  readonly #server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS"],
    onData: (data, _session, done) => {
      const chunks: Buffer[] = [];
      data.on("data", (chunk: Buffer) => chunks.push(chunk));
      data.on("end", async () => {
        const responseCode = this.refusals.shift();
        if (responseCode !== undefined) return done(Object.assign(new Error("no"), { responseCode }));
        this.mails.push(await PostalMime.parse(Buffer.concat(chunks)));
        done();
      });
    },
  });

  async open(): Promise<string> {
    const server = this.#server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  about(date: string): Email[] {
    return this.mails.filter(({ subject }) => subject?.includes(date));
  }
}

const server = new MailServer();
let here: Place;
let namespace = "";
let data: DataDirectory;
let mail = { url: "", from: "tideline@example.org", to: "ann@example.org, bob@example.org" };
let producer: Producer;
let worker: BatchWorker;

useTemporal();
beforeAll(async () => {
  mail = { ...mail, url: await server.open() };
  here = await openPlace([sales.name], sales.partitions);
  ({ namespace, data } = here);
  producer = new Kafka({ brokers: [inject("kafkaBrokers")], logLevel: logLevel.NOTHING }).producer({
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();
  const schedules = desiredSchedules(namespace, [], definitions.views.keys(), shopReport.views);
  worker = await startWorkerIn(here, {
    definitions,
    report: shopReport,
    schedules: schedules.filter(({ input }) => input.kind === "report"),
    mail,
  });
});

afterAll(async () => {
  await client?.schedule
    .getHandle(scheduleId(namespace, "report", "daily"))
    .delete()
    .catch(() => {});
  await worker?.close();
  await producer?.disconnect();
  await server.close();
});

/** Kafka got the records when their events happened, but for `late` ones. */
const send = (events: readonly (Sale | string)[], timestampMs?: number) =>
  producer.send({
    topic: topicName(namespace, sales.name),
    messages: events.map((event) =>
      typeof event === "string"
        ? { key: "x", value: event, timestamp: String(timestampMs) }
        : { key: event.id, value: JSON.stringify(event), timestamp: String(timestampMs ?? event.at) },
    ),
  });

const report = async (input: DailyReportInput) =>
  (
    await client.workflow.start<typeof dailyReport>("dailyReport", {
      workflowId: workId(namespace, "report", `daily/${input.date}`),
      taskQueue: here.taskQueue,
      args: [input],
    })
  ).result();

const delivery = (date: string) =>
  client.workflow.getHandle<typeof deliverReport>(workId(namespace, "delivery", `daily/${date}`));

const FILES = ["report.html", "summary.json", "top-products.csv"];

async function filesOf(folder: string): Promise<Record<string, string>> {
  const read = async (name: string) => [name, await readFile(join(data.root, folder, name), "utf8")] as const;
  return Object.fromEntries(await Promise.all(FILES.map(read)));
}

/** What the report must say about some sales, in plain TypeScript. */
function expectedOf(sold: readonly Sale[]) {
  const counted = sold.filter(({ test }) => !test);
  const total = (of: readonly Sale[]) => of.reduce((sum, { cents }) => sum + cents, 0);
  const products = new Map<string, { units: number; revenue: number }>();
  for (const { sku, quantity, unit_cents } of counted.flatMap(({ items }) => items)) {
    const held = products.get(sku) ?? { units: 0, revenue: 0 };
    products.set(sku, { units: held.units + quantity, revenue: held.revenue + quantity * unit_cents });
  }
  const ranked = [...products].map(([sku, product]) => ({ sku, ...product }));
  ranked.sort((a, b) => b.revenue - a.revenue || b.units - a.units || (a.sku < b.sku ? -1 : 1));
  const groups = (name: "region" | "category") =>
    [...new Set(counted.map((one) => one[name]))]
      .map((group) => counted.filter((one) => one[name] === group))
      .map((own) => ({ [name]: own[0]?.[name], orders: own.length, revenue: total(own) }));
  const hours = Array.from({ length: 24 }, (_, hour) =>
    total(counted.filter(({ at }) => Math.floor((at % DAY_MS) / HOUR_MS) === hour)),
  );
  return { orders: counted.length, revenue: total(counted), products: ranked, groups, hours };
}

describe("the nightly report", () => {
  const today = salesOf(0, 400);
  const expected = expectedOf(today);
  let first: Record<string, string> = {};

  it("reports on the day before its scheduled time, by numbers that equal an independent computation", async () => {
    await send([...salesOf(-7, 210), ...salesOf(-1, 320), ...today, ...salesOf(1, 50)]);
    await send(today.slice(0, 9)); // duplicates
    await send(["{", JSON.stringify({ ...sale(0, 1), id: "r", cents: -5 })], DAY + 5); // rejects
    const night = Date.parse("2026-01-02T02:00:00Z");
    await client.schedule
      .getHandle(scheduleId(namespace, "report", "daily"))
      .backfill([
        { start: new Date(night - HOUR_MS), end: new Date(night + HOUR_MS), overlap: ScheduleOverlapPolicy.ALLOW_ALL },
      ]);
    await expect.poll(() => server.about(DATE).length).toBe(1);
    const handle = client.workflow.getHandle<typeof dailyReport>(workId(namespace, "report", `daily/${DATE}`));
    const result = await handle.result();
    expect(result).toMatchObject({
      edition: 1,
      pinned: true,
      counts: { orders: expected.orders },
      delivery: "mailed to 2 addresses",
    });

    first = await filesOf(result.folder);
    const summary = JSON.parse(first["summary.json"] ?? "");
    const { orders, revenue: earned, groups, hours, products } = expected;
    expect(summary).toMatchObject({ date: DATE, from: "2026-01-01T00:00:00.000Z", to: "2026-01-02T00:00:00.000Z" });
    expect(summary.day).toMatchObject({ orders, revenue: earned, average: expect.closeTo(earned / orders, 1) });
    expect(summary.day.buyers).toBeGreaterThan(55);
    const amounts = today.flatMap(({ test, cents }) => (test ? [] : [cents])).sort((a, b) => a - b);
    const median = amounts[Math.ceil(amounts.length / 2) - 1] ?? 0;
    expect(Math.abs(summary.day.basket.p50 / median - 1)).toBeLessThan(0.01);
    const [before, week] = [expectedOf(salesOf(-1, 320)), expectedOf(salesOf(-7, 210))];
    expect(summary.comparedWith).toMatchObject({
      dayBefore: { date: "2025-12-31", orders: before.orders, revenue: before.revenue },
      weekBefore: { date: "2025-12-25", orders: week.orders, revenue: week.revenue },
    });
    expect(summary.comparedWith.dayBefore.change.revenue).toBeCloseTo(earned / before.revenue - 1, 3);
    for (const dimension of ["region", "category"] as const) {
      const wanted = groups(dimension).sort((a, b) => Number(b.revenue) - Number(a.revenue));
      expect(summary.by[dimension]).toMatchObject(wanted);
      expect(summary.by[dimension]).toHaveLength(wanted.length);
    }
    expect(summary.revenueByHour).toEqual(hours);
    expect(summary.topProducts).toEqual(products.slice(0, 10));
    expect(summary.quality.sales).toMatchObject({ records: 411, duplicates: 9, rejects: 2 });
    expect(Object.keys(summary.position.sales.cut)).toEqual(["0", "1"]);

    const lines = (first["top-products.csv"] ?? "").trimEnd().split("\r\n");
    expect(lines[0]).toBe("rank,sku,units,revenue_cents");
    expect(lines).toHaveLength(101);
    const quoted = (sku: string) => (sku.startsWith("=") ? `"'${sku.replaceAll('"', '""')}"` : sku);
    expect(lines.slice(1)).toEqual(
      products
        .slice(0, 100)
        .map(({ sku, units, revenue: sold }, index) => `${index + 1},${quoted(sku)},${units},${sold}`),
    );
  });

  it("comes by mail: the page as its body, the page, the CSV and the summary attached", () => {
    const [got] = server.about(DATE);
    expect(got).toMatchObject({
      subject: `Daily report ${DATE}`,
      messageId: `<${namespace}.report.daily.${DATE}.1@tideline>`,
    });
    expect(got?.to?.map(({ address }) => address)).toEqual(["ann@example.org", "bob@example.org"]);
    expect(got?.html?.replaceAll("\r\n", "\n").trim()).toBe(first["report.html"]?.trim());
    const attached = Object.fromEntries(
      (got?.attachments ?? []).map(({ filename, content }) => [
        filename,
        Buffer.from(content as ArrayBuffer).toString(),
      ]),
    );
    expect(attached[`summary-${DATE}.json`]).toBe(first["summary.json"]);
    expect(attached[`top-products-${DATE}.csv`]).toBe(first["top-products.csv"]);
    expect(attached[`report-${DATE}.html`]).toBe(first["report.html"]);
  });

  it("is one page with charts that runs nothing, fetches nothing and shows names as they are", () => {
    const page = first["report.html"] ?? "";
    expect(page.match(/<svg /g)).toHaveLength(3);
    expect(page).not.toMatch(/<script|<link|<img|<iframe|src=|href=|url\((?!#)|@import|javascript:/);
    expect(page).toContain("prefers-color-scheme: dark");
    expect(page).toContain("wine &#38; &#60;cheese&#62;");
    expect(page).not.toContain("<cheese>");
    expect(page).toContain(`<strong>`);
  });

  it("is the same to the byte when it is computed again, and is not mailed again", async () => {
    await send(salesOf(0, 30).map((one) => ({ ...one, id: `late-${one.id}` })));
    const again = await report({ date: DATE });
    expect(again).toMatchObject({ edition: 1, pinned: false, delivery: expect.stringContaining("was mailed at") });
    expect(await filesOf(again.folder)).toEqual(first);
    const { generatedBy } = JSON.parse(await readFile(join(data.root, again.folder, "stamp.json"), "utf8"));
    expect(generatedBy).toContain(workId(namespace, "report", `daily/${DATE}`));
    expect(await readdir(join(data.root, again.folder))).toHaveLength(6);
    expect(server.about(DATE)).toHaveLength(1);
  });

  it("shows late events in a fresh edition, which is another mail", async () => {
    const wanted = expectedOf([...today, ...salesOf(0, 30)]);
    const fresh = await report({ date: DATE, fresh: true });
    expect(fresh).toMatchObject({ edition: 2, pinned: true, counts: { orders: wanted.orders } });
    expect(JSON.parse((await filesOf(fresh.folder))["summary.json"] ?? "").day.revenue).toBe(wanted.revenue);
    expect(server.about(DATE).map(({ subject }) => subject)).toEqual([
      `Daily report ${DATE}`,
      `Daily report ${DATE} (edition 2)`,
    ]);
    expect(await filesOf(fresh.folder.replace("edition-2", "edition-1"))).toEqual(first);
  });

  it("is mailed at its time, and before that when somebody asks", async () => {
    const date = "2025-12-31";
    const later = await report({ date, deliverAt: new Date(Date.now() + 6 * HOUR_MS).toISOString() });
    expect(later.delivery).toMatch(/^to be mailed at/);
    expect((await delivery(date).describe()).status.name).toBe("RUNNING");
    const far = "2025-12-20";
    const farMs = Date.now() + 40 * DAY_MS;
    await report({ date: far, deliverAt: new Date(farMs).toISOString() });
    const { raw } = await delivery(far).describe();
    const limitMs = Number(raw.executionConfig?.workflowExecutionTimeout?.seconds ?? 0) * 1_000;
    expect(Date.now() + limitMs).toBeGreaterThan(farMs + DAY_MS);
    await delivery(far).terminate();
    expect(server.about(date)).toHaveLength(0);
    expect((await report({ date, deliver: false })).delivery).toContain("not asked for");
    await report({ date });
    expect(server.about(date)).toHaveLength(1);

    const soon = "2025-12-25";
    const atMs = Date.now() + 3_000;
    await report({ date: soon, deliverAt: new Date(atMs).toISOString() });
    expect(await delivery(soon).result()).toMatchObject({ mailed: true, edition: 1 });
    const { deliveredAtMs } = JSON.parse(
      await readFile(join(data.root, "reports", "daily", soon, "edition-1", "delivered.json"), "utf8"),
    );
    expect(deliveredAtMs).toBeGreaterThanOrEqual(atMs);
    expect(server.about(soon)).toHaveLength(1);
  });

  it("is mailed again to a server that was busy, and not to one that refuses", async () => {
    server.refusals.push(451);
    expect((await report({ date: "2025-12-30" })).delivery).toBe("mailed to 2 addresses");
    expect(server.about("2025-12-30")).toHaveLength(1);
    server.refusals.push(554);
    await expect(report({ date: "2025-12-29" })).rejects.toThrow();
    await expect(delivery("2025-12-29").result()).rejects.toMatchObject({ cause: { cause: { type: "MAIL_REFUSED" } } });
    expect(server.about("2025-12-29")).toHaveLength(0);
  });

  it("is mailed twice, under one Message-ID, if a worker dies after the server took it and before it was noted", async () => {
    const date = "2025-12-25";
    await rm(join(data.root, "reports", "daily", date, "edition-1", "delivered.json"));
    const where = { namespace, date };
    expect(await deliverEdition({ data }, where, mail, Date.now)).toMatchObject({ mailed: true });
    expect(await deliverEdition({ data }, where, mail, Date.now)).toMatchObject({ mailed: false });
    expect(new Set(server.about(date).map(({ messageId }) => messageId)).size).toBe(1);
    expect(server.about(date)).toHaveLength(2);
  });

  it("is written and not mailed without a mail server, and says so", async () => {
    const there = await deliverEdition({ data }, { namespace, date: "2025-12-29" }, { ...mail, url: "" }, Date.now);
    expect(there).toEqual({ mailed: false, edition: 1, how: "not mailed: TIDELINE_SMTP_URL is not set" });
  });

  it("refuses input that means nothing", async () => {
    const refusal = (input: object) => report({ date: "2025-12-28", ...input }).catch(({ cause }) => cause.message);
    expect(await refusal({ date: "2025-02-30" })).toContain('"2025-02-30" is not a day');
    expect(await refusal({ date: "yesterday" })).toContain('{"date": "2026-01-01"}');
    expect(await refusal({ date: "2999-01-01" })).toContain("has not begun");
    expect(await refusal({ deliverAt: "8 o'clock" })).toContain("deliverAt");
  });

  it("is for the UTC day before the scheduled time, however late the run is", () => {
    const night = { date: DATE, deliverAt: "2026-01-02T08:00:00.000Z" };
    expect(nightlyReport(Date.parse("2026-01-02T02:00:00Z"))).toEqual(night);
    expect(nightlyReport(Date.parse("2026-01-02T23:59:59Z"))).toEqual(night);
    expect(nightlyReport(Date.parse("2026-03-01T02:00:00Z")).date).toBe("2026-02-28");
  });
});

describe("tideline report", () => {
  it("runs the report and says where its files are", async () => {
    const program = fileURLToPath(new URL("../../cli/tideline.js", import.meta.url));
    const env = {
      TEMPORAL_ADDRESS: inject("temporalAddress"),
      TIDELINE_HOME: here.home,
      TIDELINE_NAMESPACE: namespace,
    };
    const { stdout } = await execa(process.execPath, [program, "report", "--date", DATE, "--open-path"], { env });
    expect(stdout).toBe(join(data.root, "reports", "daily", DATE, "edition-2", "report.html"));
    expect(await readFile(stdout, "utf8")).toContain("<svg ");
    const wrong = await execa(process.execPath, [program, "report", "--date", "2026-02-30"], { env, reject: false });
    expect(wrong).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("a day such as") });
  });
});
