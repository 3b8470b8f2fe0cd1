import fc from "fast-check";
import { expect, test } from "vitest";
import { alertOf, openedEvent } from "../../core/alerts/alert.ts";
import { type Alert, AlertStates } from "../../core/alerts/alert-states.ts";
import { SentAlerts } from "../../core/alerts/sent-alerts.ts";
import { position } from "../../core/log/position.ts";
import { heartRate } from "../../systems/patients/rules/heart-rate.ts";

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

const start = () => SentAlerts.from(new Map(Array.from({ length: PARTITIONS }, (_, n) => [n, position(0)])));

test("a client that comes back is sent each alert that it misses, once, whatever order the next server took them in", () => {
  fc.assert(
    fc.property(logs, fc.nat(25), fc.nat(25), ({ before, after }, firstEnd, secondEnd) => {
      const first = send(start(), before.slice(0, firstEnd));
      const byId = new Map(after.map((alert) => [alert.id, alert]));
      const resume = (last: string | null) =>
        last === null ? start() : (SentAlerts.resumed(last, (id) => byId.get(id)) ?? start());
      const again = resume(first.last);
      const second = send(again, after.filter((alert) => again.isMissing(alert)).slice(0, secondEnd));
      const third = resume(second.last ?? first.last);
      const rest = after.filter((alert) => third.isMissing(alert)).map(({ id }) => id);
      const told = [...first.ids, ...second.ids, ...rest];
      expect([...told].sort()).toEqual(after.map(({ id }) => id).sort());
    }),
  );
});

test("the id of an earlier release, which is the alert's alone, leaves out what was written before that alert", () => {
  const alerts = [alertAt(0, 0, 1), alertAt(1, 0, 2), alertAt(0, 2, 2), alertAt(1, 2, 3)];
  const [, seen] = alerts;
  const sent = SentAlerts.resumed(seen?.id ?? "", (id) => alerts.find((alert) => alert.id === id));
  expect(alerts.filter((alert) => sent?.isMissing(alert))).toEqual([alerts[2], alerts[3]]);
});

test.each(["", "x", "@", "x@", "x@0", "x@0:", "x@-1:2", "x@0:1,", `x@0:${"9".repeat(40)}`, "9".repeat(500)])(
  "an id that was never sent tells nothing: %s",
  (id) => {
    expect(SentAlerts.resumed(id, () => undefined)).toBeNull();
  },
);
