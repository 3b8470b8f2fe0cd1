import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { alertOf, openedEvent } from "../../../core/alerts/alert.ts";
import { type GroupMember, groupsOf } from "../../../core/alerts/alert-groups.ts";
import { AlertStates, type ShownAlert, shownAlert } from "../../../core/alerts/alert-states.ts";
import { sealFrom, sealText } from "../../../core/alerts/group-seal.ts";
import { silenceFrom, silenceText } from "../../../core/alerts/kept-silences.ts";
import { positionsFrom } from "../../../core/alerts/rule-positions.ts";
import { checkDelivery, delivery, mail, topic, withEscalation } from "../../../core/definition/delivery.ts";
import { type During, isDuring } from "../../../core/definition/during.ts";
import { rule } from "../../../core/definition/rule.ts";
import type { ShownGroup } from "../../../core/definition/shown-alert.ts";
import { position } from "../../../core/log/position.ts";
import { Attempts } from "../../../deliveries/attempts.ts";
import { senderOf } from "../../../deliveries/senders.ts";
import { type AlertRecord, piecesOf } from "../../../rules/partition-writer.ts";
import { heartRate } from "../../../systems/patients/rules/heart-rate.ts";
import { anyText } from "../../fixtures/events/any-text.ts";

const other = rule("other", { on: heartRate.on, when: heartRate.when, quiet: "1 day", severity: "critical" });
const event = (key: string, of = heartRate) =>
  openedEvent(alertOf({ rule: of, partition: 0, offset: 0n, atMs: 1_790_000_000_000, eventId: key, key, says: null }));
const shown = (key: string): ShownAlert => {
  const opened = event(key);
  return shownAlert(new AlertStates(0), { id: opened.subject, opened, writtenAtMs: 5, acknowledged: null }, 0);
};

describe("times of the week", () => {
  const office: During = {
    zone: "Europe/Berlin",
    from: "08:00",
    to: "18:00",
    days: ["mon", "tue", "wed", "thu", "fri"],
  };
  const night: During = { zone: "Europe/Berlin", from: "18:00", to: "08:00", days: ["fri"] };
  test.each([
    ["Monday at eight", office, "2026-11-30T07:00:00Z", true],
    ["a moment before", office, "2026-11-30T06:59:59Z", false],
    ["Monday at six in the evening", office, "2026-11-30T17:00:00Z", false],
    ["Saturday", office, "2026-11-28T10:00:00Z", false],
    ["eight o'clock of summer time", office, "2026-07-06T06:00:00Z", true],
    ["seven o'clock of winter time", office, "2026-12-07T06:00:00Z", false],
    ["the evening of Friday", night, "2026-11-27T20:00:00Z", true],
    ["the morning behind it", night, "2026-11-28T06:00:00Z", true],
    ["the morning of Friday", night, "2026-11-27T06:00:00Z", false],
    ["the evening of Saturday", night, "2026-11-28T20:00:00Z", false],
    ["the end of the day", { zone: "UTC", from: "12:00", to: "24:00" }, "2026-11-28T23:59:59Z", true],
  ] as const)("%s", (_, during, time, expected) => {
    expect(isDuring(during, Date.parse(time))).toBe(expected);
  });

  test("each instant lies in a period or in the one that begins where it ends, and never in both", () => {
    const clock = fc.integer({ min: 0, max: 1_439 });
    const time = (minute: number) =>
      `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
    const zone = fc.constantFrom("UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu");
    const instants = fc.integer({ min: 0, max: 4_000_000_000_000 });
    fc.assert(
      fc.property(zone, clock, clock, instants, (zone, from, to, timeMs) => {
        fc.pre(from !== to);
        const one = isDuring({ zone, from: time(from), to: time(to) }, timeMs);
        expect(isDuring({ zone, from: time(to), to: time(from) }, timeMs)).toBe(!one);
      }),
    );
  });
});

describe("groups", () => {
  const members = (...keys: readonly (readonly [string, typeof heartRate])[]): GroupMember[] =>
    keys.map(([key, of], index) => ({
      ...{ event: event(key, of), partition: index % 3, offset: BigInt(index), writtenAtMs: index },
    }));

  test("the same alerts give the same groups, in whatever order they were read; others give others", () => {
    const keys = fc.uniqueArray(anyText({ maxLength: 5 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(keys, fc.infiniteStream(fc.nat()), (keys, picks) => {
        const all = members(...keys.map((key, index) => [key, index % 2 === 0 ? heartRate : other] as const));
        const order = new Map(all.map((one) => [one, picks.next().value as number]));
        const shuffled = [...all].sort((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
        const groups = groupsOf(all, "rule");
        expect(groupsOf(shuffled, "rule")).toEqual(groups);
        expect(groups.flatMap((one) => one.members).length).toBe(all.length);
        for (const { value, members } of groups) expect(members.every((one) => one.event.rule === value)).toBe(true);
        const fewer = groupsOf(all.slice(1), "rule").map(({ id }) => id);
        expect(fewer).not.toContain(groups.find((one) => one.members.includes(all[0] as GroupMember))?.id);
      }),
      { numRuns: 25 },
    );
  });

  test("by severity; a message has 200 alerts at most, and none is left out", () => {
    const many = members(...Array.from({ length: 1_001 }, (_, index) => [`${index}`, heartRate] as const));
    const groups = groupsOf([...many, ...members(["x", other])], "severity");
    expect(groups.map(({ value, members }) => [value, members.length])).toEqual([
      ["critical", 1],
      ...Array.from({ length: 5 }, () => ["warning", 200]),
      ["warning", 1],
    ]);
    expect(new Set(groups.map(({ id }) => id)).size).toBe(groups.length);
  });

  test("what the topic of positions holds beside positions is not a position", () => {
    const seal = { delivery: "d", topicId: "t", to: new Map([[0, position(7)]]), done: ["a"] };
    expect(sealFrom(Buffer.from(sealText(seal)))).toEqual(seal);
    const silence = { rule: "r", untilMs: 5 };
    expect(silenceFrom(Buffer.from(silenceText(silence)))).toEqual(silence);
    for (const text of [sealText(seal), silenceText(silence)]) expect(positionsFrom(Buffer.from(text))).toBe(null);
    expect([sealFrom(Buffer.from("{")), sealFrom(null), silenceFrom(Buffer.from("7"))]).toEqual([null, null, null]);
  });
});

describe("a function of one's own", () => {
  const options = { delivery: "own", brokers: "", mail: { url: "", from: "" }, nowMs: () => 0 };
  const signal = new AbortController().signal;
  const pace = { firstRetryMs: 1, breakMs: 1 };

  test("is given the alert, an id that stays the same, and is tried again when it throws", async () => {
    const calls: unknown[] = [];
    const send = senderOf(
      delivery("own", {
        send: (alert, { id, alerts }) => {
          calls.push([alert.key, id, alerts.length]);
          if (calls.length < 3) throw calls.length === 1 ? new Error("busy") : "text";
        },
      }).to,
      options,
    );
    const alert = shown("a");
    expect(await new Attempts(send, pace).deliver(() => alert, signal)).toBe(null);
    expect(calls).toEqual(Array.from({ length: 3 }, () => ["a", `own.${alert.id}`, 1]));
    const group: ShownGroup = { id: "group-1", by: "rule", value: "heart-rate", alerts: [alert, shown("b")] };
    await send(group, signal);
    expect(calls.at(-1)).toEqual(["a", "own.group-1", 2]);
  });

  test("that does not look at its signal is not waited for when that is aborted", async () => {
    const stop = new AbortController();
    const given: AbortSignal[] = [];
    const { to } = delivery("own", {
      send: (_, { signal }) => {
        given.push(signal);
        stop.abort(new Error("ended"));
        return new Promise(() => undefined);
      },
    });
    await expect(senderOf(to, options)(shown("a"), stop.signal)).rejects.toThrow("ended");
    expect(given[0]?.aborted).toBe(true);
    await expect(senderOf(to, options)(shown("a"), stop.signal)).rejects.toThrow("ended");
    expect(given).toHaveLength(1);
  });
});

describe("a definition", () => {
  const rules = new Set(["heart-rate"]);
  const to = mail({ to: "a@example.com" });

  test("is refused with its field", () => {
    const problems = checkDelivery(
      delivery("d", {
        to: topic({ name: "no topic" }),
        during: { zone: "Berlin", from: "8:00", to: "25:00", days: ["monday" as never] },
        group: { within: "soon", by: "key" as never },
        escalate: { after: "0 minutes", to: undefined as never },
      }),
      rules,
    ).join("\n");
    const fields = ["to:", "during: zone", "during: from", "during: to", "during: days", "group: within", "group: by"];
    for (const part of [...fields, "escalate: after", "escalate: to"]) expect(problems).toContain(part);
    const same = { zone: "UTC", from: "08:00", to: "08:00" };
    expect(checkDelivery(delivery("d", { to, during: same }), rules)).toHaveLength(1);
    expect(checkDelivery(delivery("d", { to, send: () => undefined } as never), rules)).toHaveLength(1);
    expect(checkDelivery(delivery("d", { send: () => undefined }), rules)).toEqual([]);
  });

  test("with an escalation is two deliveries, of which the second is later, and neither grouped nor escalated", () => {
    const one = delivery("d", {
      ...{ to, rules: ["heart-rate"], group: { within: "30 seconds" } },
      escalate: { after: "10 minutes", to: topic({ name: "pages" }) },
    });
    expect(checkDelivery(one, rules)).toEqual([]);
    const [first, second] = withEscalation(one);
    expect(first).toMatchObject({ name: "d", delayMs: 0, group: { by: "rule", withinMs: 30_000 } });
    expect(second).toMatchObject({
      ...{ name: "d.escalation", delayMs: 600_000, group: null, escalate: null, rules: ["heart-rate"] },
      to: { type: "topic", name: "pages" },
    });
    expect(withEscalation(delivery("d", { to }))).toHaveLength(1);
  });
});

test("alerts are written in pieces that Kafka takes, in their order, none empty", () => {
  const record = fc.integer({ min: 1, max: 400_000 }).map((bytes): AlertRecord => {
    return { topic: "t", partition: 0, key: "k", value: Buffer.alloc(bytes) };
  });
  fc.assert(
    fc.property(fc.array(record, { maxLength: 30 }), (records) => {
      const pieces = piecesOf(records);
      expect(pieces.flat()).toEqual(records);
      for (const piece of pieces) {
        expect(piece.length).toBeGreaterThan(0);
        const bytes = piece.reduce((sum, { value }) => sum + value.length, 0);
        expect(piece.length === 1 || bytes <= 700_000).toBe(true);
      }
    }),
  );
  const small = { topic: "t", partition: 0, key: "k", value: Buffer.from("1") };
  expect(piecesOf(Array.from({ length: 401 }, () => small)).map(({ length }) => length)).toEqual([200, 200, 1]);
});
