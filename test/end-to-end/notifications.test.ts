import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { readRulePositions } from "../../store/alerts/read-positions.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { produce, type RawRecord } from "../fixtures/events/produce.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";
import { header, type MailServer, openMailServer } from "../fixtures/servers/mail-server.ts";

const brokers = () => inject("kafkaBrokers");

let tideline: Installation;
let mailServer: MailServer;

beforeAll(async () => {
  mailServer = await openMailServer();
  tideline = await Installation.open("notify", {
    TIDELINE_SYSTEM: join(process.cwd(), "systems/notifications"),
    TIDELINE_SMTP_URL: mailServer.url,
    SALES_MAIL: "large-orders@shop.example",
  });
  await tideline.run("init");
});

afterAll(async () => {
  await tideline?.close();
  await mailServer?.close();
});

/** An order as a shop nobody here has seen writes it. */
function order(id: string, amount_cents: number, customer = "Ines"): RawRecord {
  const event = { order_id: id, placed_at: Date.now(), customer, country: "PT", amount_cents };
  return { key: id, value: Buffer.from(JSON.stringify(event)) };
}

test("each large order is one mail to sales, whatever its customer is called and however often it is delivered", async () => {
  const { mails } = mailServer;
  await tideline.start("speed");
  const log = new LogReader({ brokers: brokers(), clientId: "notifications-test" });
  const begun = async () => {
    const all = await readRulePositions(log, tideline.topic("alerts.positions"), AbortSignal.timeout(60_000));
    return [...all.values()].map(({ stream, partition }) => `${stream} ${partition}`);
  };
  // Both begin at the end of three partitions.
  await until("rule and delivery have begun", begun, (all) => all.length === 6);
  await log.close();
  const topic = tideline.topic("placed-orders");
  const hostile = "Zoë\r\nBcc: all@shop.example <b>'; DROP";
  await produce(brokers(), topic, [
    ...[order("small", 99_999), order("limit", 100_000), order("limit", 100_000), order("large", 123_405, hostile)],
    { key: "bad", value: Buffer.from('{"order_id":"bad","amount_cents":"a lot"}') },
  ]);
  await until(
    "the mails",
    async () => mails.length,
    (count) => count >= 2,
  );
  await produce(brokers(), topic, [order("limit", 100_000), order("last", 5_000_000)]);
  await until(
    "the last mail",
    async () => mails,
    (all) => all.some((mail) => mail.includes("50000.00 EUR")),
  );
  expect(mails.map((mail) => header(mail, "Subject")).sort()).toEqual(
    ["large", "last", "limit"].map((id) => `[info] large-order ${id}`),
  );
  expect(new Set(mails.map((mail) => header(mail, "Message-ID"))).size).toBe(3);
  expect(new Set(mails.map((mail) => header(mail, "To")))).toEqual(new Set(["large-orders@shop.example"]));
  expect(mails.some((mail) => /^Bcc:/im.test(mail.split(/\r?\n\r?\n/, 1)[0] ?? ""))).toBe(false);
  expect(mails.filter((mail) => mail.includes("has ordered for 1234.05 EUR"))).toHaveLength(1);
});
