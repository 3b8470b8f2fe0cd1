import fc from "fast-check";
import { expect, test } from "vitest";
import { alertOf, openedEvent } from "../../../core/alerts/alert.ts";
import { type Alert, AlertStates } from "../../../core/alerts/alert-states.ts";
import { SentAlerts } from "../../../core/alerts/sent-alerts.ts";
import { position, ZERO } from "../../../core/log/position.ts";
import { heartRate } from "../../../systems/patients/rules/heart-rate.ts";

/** A client of the live stream of alerts that comes back to another server than the one that it was connected to. */

const PARTITIONS = 3;

/** An alert at a place of the log, written at any time: partitions and their writers have clocks of their own. */
function alertAt(partition: number, offset: number, writtenAtMs: number): Alert {
  const key = `${partition}-${offset}`;
  const match = { rule: heartRate, partition: 0, offset: 0n, atMs: 1_000, eventId: key, key, says: null };
  const event = openedEvent(alertOf(match));
  const taken = new AlertStates(1).take({ event, writtenAtMs, place: { partition, offset: BigInt(offset) } });
  if (taken === null) throw new Error("opened nothing");
  return taken;
}

/** The log, and two orders in which a server may take it: each partition's own order holds in both. */
const logs = fc
  .array(fc.record({ partition: fc.nat(PARTITIONS - 1), at: fc.nat(20), first: fc.nat(), second: fc.nat() }), {
    maxLength: 25,
  })
  .map((places) => {
    const alerts = places.map(({ partition, at }, index) => alertAt(partition, 2 * index, at));
    const order = (ranks: readonly number[]) => {
      const queues = Array.from({ length: PARTITIONS }, (_, partition) =>
        alerts.filter(({ place }) => place?.partition === partition),
      );
      return ranks.flatMap((rank) => {
        const left = queues.filter(({ length }) => length > 0);
        return left[rank % left.length]?.splice(0, 1) ?? [];
      });
    };
    return {
      before: order(places.map(({ first }) => first)),
      after: order(places.map(({ second }) => second)),
    };
  });

/** What a server sends of `alerts`, and the id of its last event. */
function send(sent: SentAlerts, alerts: readonly Alert[]) {
  let last: string | null = null;
  for (const alert of alerts) {
    sent.note(alert);
    last = sent.idOf(alert);
  }
  return { ids: alerts.map(({ id }) => id), last };
}

/** All of a log is read. */
const END = new Map(Array.from({ length: PARTITIONS }, (_, n) => [n, position(1_000)]));

/** What a client is sent by a server that took `all`, up to `count` alerts, when it comes back with `last`. */
function come(last: string | null, all: readonly Alert[], count: number, start: () => SentAlerts) {
  const sent = last === null ? start() : (SentAlerts.resumed(last, { all, read: END }) ?? start());
  return send(sent, all.filter((alert) => sent.isMissing(alert)).slice(0, count));
}

const idsOf = (alerts: readonly Alert[]) => alerts.map(({ id }) => id).sort();

test.each([
  ["while alerts were read", () => SentAlerts.from(new Map(Array.from({ length: PARTITIONS }, (_, n) => [n, ZERO])))],
  ["before there was a topic", () => SentAlerts.from(new Map())],
])("a client that came %s is sent each alert once, whatever order servers took them in", (_, start) => {
  fc.assert(
    fc.property(logs, fc.nat(25), fc.nat(25), ({ before, after }, firstEnd, secondEnd) => {
      const first = send(start(), before.slice(0, firstEnd));
      const second = come(first.last, after, secondEnd, start);
      const third = come(second.last ?? first.last, before, before.length, start);
      expect([...first.ids, ...second.ids, ...third.ids].sort()).toEqual(idsOf(after));
    }),
  );
});

test("a client with an id of an earlier release, the alert's alone, is sent what was not written before that alert", () => {
  fc.assert(
    fc.property(logs, fc.nat(24), fc.nat(25), ({ before, after }, index, end) => {
      const seen = before[index];
      if (seen === undefined) return;
      const first = come(seen.id, after, end, () => SentAlerts.from(END));
      const second = come(first.last ?? seen.id, before, before.length, () => SentAlerts.from(END));
      const wanted = after.filter(({ id, writtenAtMs }) => id !== seen.id && writtenAtMs >= seen.writtenAtMs);
      const told = [...first.ids, ...second.ids];
      expect(told).toEqual(expect.arrayContaining(idsOf(wanted)));
      expect(new Set(told).size).toBe(told.length);
    }),
  );
  const alerts = [alertAt(0, 0, 1), alertAt(1, 0, 2), alertAt(0, 2, 2), alertAt(1, 2, 3)];
  const [, seen] = alerts;
  expect(come(seen?.id ?? "", alerts, 9, () => SentAlerts.from(END)).ids).toEqual(alerts.slice(2).map(({ id }) => id));
});

test.each(["", "x", "@", "x@", "x@0", "x@0:", "x@-1:2", "x@0:1,", `x@0:${"9".repeat(40)}`, "9".repeat(500)])(
  "an id that was never sent tells nothing: %s",
  (id) => {
    expect(SentAlerts.resumed(id, { all: [], read: END })).toBeNull();
  },
);
