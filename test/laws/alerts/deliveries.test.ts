import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { Registry } from "prom-client";
import { SMTPServer } from "smtp-server";
import { afterEach, describe, expect, test } from "vitest";
import { acknowledgedEvent, alertOf, openedEvent } from "../../../core/alerts/alert.ts";
import { AlertStates, type ShownAlert, shownAlert } from "../../../core/alerts/alert-states.ts";
import { isFor, undeliveredKey } from "../../../core/alerts/undelivered.ts";
import { type Channel, checkDelivery, delivery, mail, slack, webhook } from "../../../core/definition/delivery.ts";
import { Attempts } from "../../../deliveries/attempts.ts";
import { handOver } from "../../../deliveries/hand-over.ts";
import { deliveryMetrics } from "../../../deliveries/metrics.ts";
import { Refused, type Sender, type Sent } from "../../../deliveries/sender.ts";
import { senderOf } from "../../../deliveries/senders.ts";
import { heartRate } from "../../../systems/patients/rules/heart-rate.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const event = (key: string, says: string | null = "a heart rate of 131") =>
  openedEvent(alertOf({ rule: heartRate, partition: 1, offset: 7n, atMs: 1_790_000_000_000, eventId: "r", key, says }));

function alertAbout(key: string, says?: string): ShownAlert {
  const opened = event(key, says);
  const alert = { id: opened.subject, opened, writtenAtMs: 1_790_000_000_050, acknowledged: null };
  return shownAlert(new AlertStates(0), alert, 0);
}

interface Received {
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** An HTTP server that answers with these statuses in turn, and with the last one for ever. */
async function receiver(...statuses: number[]): Promise<{ url: string; received: Received[] }> {
  const received: Received[] = [];
  const server: Server = createServer(async (request, response) => {
    received.push({ headers: request.headers, body: await text(request) });
    response.writeHead(statuses[Math.min(received.length, statuses.length) - 1] ?? 200).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => new Promise((done) => server.close(done)));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, received };
}

const options = {
  delivery: "on-call",
  brokers: "",
  mail: { url: "", from: "tideline@localhost" },
  nowMs: () => 1_790_000_001_000,
};
const sender = (to: Channel, more: Partial<typeof options> = {}) => senderOf(to, { ...options, ...more });
const signal = new AbortController().signal;

describe("how an alert is handed over", () => {
  test("a webhook has the alert, an id that stays the same, and a signature of both", async () => {
    const { url, received } = await receiver(200);
    const secret = `whsec_${Buffer.from("of the ward").toString("base64")}`;
    const alert = alertAbout("patient-7");
    for (let sent = 0; sent < 2; sent++) await sender(webhook({ url, secret }))(alert, signal);
    const [first, second] = received;
    expect(JSON.parse(first?.body ?? "")).toEqual({ type: "alert.opened", timestamp: alert.openedAt, data: alert });
    expect(first?.headers["idempotency-key"]).toBe(`on-call.${alert.id}`);
    expect(second?.headers["idempotency-key"]).toBe(first?.headers["idempotency-key"]);
    const signed = `on-call.${alert.id}.1790000001.${first?.body}`;
    const expected = createHmac("sha256", "of the ward").update(signed).digest("base64");
    expect(first?.headers["webhook-signature"]).toBe(`v1,${expected}`);
  });

  test("Slack gets one line", async () => {
    const { url, received } = await receiver(200);
    await sender(slack({ url }))(alertAbout("patient-7"), signal);
    expect(JSON.parse(received[0]?.body ?? "").text).toMatch(/^WARNING heart-rate patient-7: a heart rate of 131 \(/);
  });

  test("mail has the same Message-ID whenever it is sent, and a subject of one line whatever the event says", async () => {
    const mails: string[] = [];
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ["STARTTLS"],
      onData: (stream, _session, done) =>
        void text(stream).then((one) => {
          mails.push(one);
          done();
        }),
    });
    server.listen(0, "127.0.0.1");
    await once(server.server, "listening");
    closing.push(() => new Promise<void>((done) => server.close(done)));
    const url = `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`;
    const alert = alertAbout("p\r\nBcc: everyone@example.com", "line\nline");
    const send = sender(mail({ to: "ward@example.com" }), { mail: { url, from: "tideline@example.com" } });
    await send(alert, signal);
    await send(alert, signal);
    const ids = mails.map((one) => /^Message-ID: (.*)$/im.exec(one)?.[1]?.trim());
    expect(ids).toEqual([`<on-call.${alert.id}@tideline>`, `<on-call.${alert.id}@tideline>`]);
    expect(mails[0]).not.toMatch(/^Bcc:/im);
  });

  test.each([
    [400, true],
    [404, true],
    [429, false],
    [500, false],
  ])("an answer of %i is final: %s", async (status, isFinal) => {
    const { url } = await receiver(status);
    const error = await sender(webhook({ url }))(alertAbout("a"), signal).catch((found: unknown) => found);
    expect(error).toMatchObject({ message: `answered ${status}` });
    expect(error instanceof Refused).toBe(isFinal);
  });
});

describe("how often it is tried", () => {
  const pace = { firstRetryMs: 1, breakMs: 20 };

  test("four times at most; what is refused for good once; then it says why", async () => {
    const busy = await receiver(500);
    expect(await new Attempts(sender(webhook({ url: busy.url })), pace).deliver(() => alertAbout("a"), signal)).toBe(
      "answered 500",
    );
    expect(busy.received.length).toBe(4);
    const wrong = await receiver(400);
    expect(await new Attempts(sender(webhook({ url: wrong.url })), pace).deliver(() => alertAbout("a"), signal)).toBe(
      "answered 400",
    );
    expect(wrong.received.length).toBe(1);
    const passing = await receiver(500, 503, 200);
    expect(await new Attempts(sender(webhook({ url: passing.url })), pace).deliver(() => alertAbout("a"), signal)).toBe(
      null,
    );
  });

  test("a receiver that fails too often is left alone for a while; alerts wait, and are not lost", async () => {
    const { url, received } = await receiver(...Array.from({ length: 10 }, () => 500), 200);
    const attempts = new Attempts(sender(webhook({ url })), pace);
    const reasons = [];
    for (const key of ["a", "b", "c", "d"]) reasons.push(await attempts.deliver(() => alertAbout(key), signal));
    // Two were tried four times each; the third was under way when calls ended, and was taken after the pause.
    expect(reasons).toEqual(["answered 500", "answered 500", null, null]);
    expect(received.length).toBe(12);
    expect(attempts.isBroken).toBe(false);
  });

  test("what there is nothing to send of any more is not tried again", async () => {
    const { url, received } = await receiver(500);
    const messages = [alertAbout("a"), alertAbout("b"), null];
    const attempts = new Attempts(sender(webhook({ url })), pace);
    expect(await attempts.deliver(() => messages.shift() ?? null, signal)).toBe(null);
    expect(received.length).toBe(2);
  });

  test("what waits ends with its signal", async () => {
    const { url } = await receiver(500);
    const stop = new AbortController();
    const attempts = new Attempts(sender(webhook({ url })), { firstRetryMs: 1, breakMs: 60_000 });
    for (const key of ["a", "b"]) await attempts.deliver(() => alertAbout(key), stop.signal);
    const waiting = attempts.deliver(() => alertAbout("c"), stop.signal);
    stop.abort(new Error("stopped"));
    await expect(waiting).rejects.toThrow("stopped");
  });
});

test("alerts that somebody acknowledges while the receiver fails are left out of the message, and are not undelivered", async () => {
  const states = new AlertStates(10);
  const [first, second] = [event("a"), event("b")];
  const acknowledge = () =>
    states.take({
      event: acknowledgedEvent({ id: first.subject, rule: first.rule }, { atMs: 1, author: "ward" }),
      writtenAtMs: 1,
    });
  const sent: string[][] = [];
  const failing: Sender = async (message) => {
    sent.push("alerts" in message ? message.alerts.map(({ key }) => key ?? "") : []);
    if (sent.length === 2) acknowledge();
    throw new Error("not now");
  };
  const registry = new Registry();
  const letters = await handOver(
    {
      delivery: delivery("on-call", { to: slack({ url: "http://slack.example/" }) }),
      undelivered: "undelivered",
      attempts: new Attempts(failing, { firstRetryMs: 1, breakMs: 1 }),
      states: () => states,
      metrics: deliveryMetrics(registry, () => new Map()),
      onDone: () => undefined,
      onBroken: () => undefined,
      nowMs: () => 2,
    },
    [first, second].map((one, offset) => ({ event: one, partition: 0, offset: BigInt(offset), writtenAtMs: 0 })),
    (open) => ({ ...open[0], alerts: open }) as unknown as Sent,
    signal,
  );
  expect(sent).toEqual([["a", "b"], ["a", "b"], ["b"], ["b"]]);
  expect(letters.map(({ key }) => key)).toEqual([undeliveredKey("on-call", second.subject)]);
  expect(await registry.metrics()).toMatch(/outcome="silenced"} 1\n.*outcome="failed"} 1/);
});

describe("a receiver that is away", () => {
  test("is told once for each alert that waits, with what it said last", async () => {
    const { url } = await receiver(503);
    const attempts = new Attempts(sender(webhook({ url })), { firstRetryMs: 1, breakMs: 60_000 });
    const told: string[] = [];
    const stop = new AbortController();
    const handed = async () => {
      for (const key of ["a", "b", "c", "d"])
        await attempts.deliver(
          () => alertAbout(key),
          stop.signal,
          (reason) => {
            told.push(reason);
            stop.abort();
          },
        );
    };
    await expect(handed()).rejects.toThrow();
    expect(told).toEqual(["answered 503"]);
    expect(attempts.isBroken).toBe(true);
  });

  test("may have user and password in its address, which nobody is shown", async () => {
    const { url, received } = await receiver(200);
    const secret = url.replace("//", "//user:pa55word@");
    await sender(webhook({ url: secret }))(alertAbout("a"), signal);
    expect(received[0]?.headers.authorization).toBe(`Basic ${Buffer.from("user:pa55word").toString("base64")}`);
    const nobody = new Attempts(
      async () => {
        throw new Error(`cannot reach ${secret}`);
      },
      { firstRetryMs: 1, breakMs: 1 },
    );
    expect(await nobody.deliver(() => alertAbout("a"), signal)).not.toContain("pa55word");
  });
});

describe("a delivery's definition", () => {
  const rules = new Set(["heart-rate"]);

  test("chooses alerts by rule and severity; only opened ones are handed over", () => {
    const to = mail({ to: "a@example.com" });
    const opened = event("a");
    expect(isFor(delivery("all", { to }), opened)).toBe(true);
    expect(isFor(delivery("d", { to, rules: ["heart-rate"], severities: ["warning"] }), opened)).toBe(true);
    expect(isFor(delivery("d", { to, rules: ["other"] }), opened)).toBe(false);
    expect(isFor(delivery("d", { to, severities: ["critical"] }), opened)).toBe(false);
    expect(isFor(delivery("all", { to }), { ...opened, kind: "acknowledged" })).toBe(false);
  });

  test("is refused with its field, and without the address that may hold a password", () => {
    const problems = checkDelivery(
      delivery("Bad Name", {
        to: webhook({ url: "ftp://user:secret@host" }),
        rules: ["none"],
        severities: ["urgent" as never],
        from: "middle" as never,
      }),
      rules,
    ).join("\n");
    for (const part of ['name "Bad Name"', "to: url is no", 'rules: there is no rule "none"', "severities:", "from:"])
      expect(problems).toContain(part);
    expect(problems).not.toContain("secret");
    expect(checkDelivery(delivery("d", { to: webhook({ url: undefined }) }), rules)).toEqual([
      "to: url is not an http or https address",
    ]);
    expect(checkDelivery(delivery("d", { to: mail({ to: "nobody" }) }), rules)).toEqual(["to: no mail address"]);
    expect(checkDelivery(delivery("d", { to: undefined as never }), rules)).toHaveLength(1);
  });
});
