import { describe, expect, test } from "vitest";
import { AlertStates, shownAlert } from "../../../core/alerts/alert-states.ts";
import {
  type CheckResult,
  NOTHING_SEEN,
  type OwnProblem,
  ownAlertId,
  watched,
} from "../../../core/alerts/own-alerts.ts";
import {
  alertOfRecord,
  appended,
  eventOf,
  handedOver,
  journalled,
  NO_OWN_ALERTS,
  notAppended,
  OwnJournal,
  openKeys,
  waitingFor,
} from "../../../core/alerts/own-journal.ts";
import { FOLLOWS_FROM, lagProblems, retentionProblems, type ViewLag } from "../../../core/alerts/own-problems.ts";
import { isFor } from "../../../core/alerts/undelivered.ts";
import { alerts } from "../../../core/contract/alerts.ts";
import { checkDelivery, delivery, mail, withEscalation } from "../../../core/definition/delivery.ts";
import { checkRuleShape, rule } from "../../../core/definition/rule.ts";
import type { Failure } from "../../../core/failures.ts";
import { position } from "../../../core/log/position.ts";
import { Outbox } from "../../../monitor/outbox.ts";
import { heartRate } from "../../../systems/patients/rules/heart-rate.ts";

const problem = (key: string, severity: OwnProblem["severity"] = "warning"): OwnProblem => ({
  ...{ key, severity },
  says: `${key} is wrong. Mend it.`,
});
const resultOf = (keys: readonly string[], unknown: readonly string[] = []): CheckResult => ({
  problems: keys.map((key) => problem(key)),
  unknown: new Set(unknown),
});

/**
 * Checks five seconds apart, each a list of what is wrong; null where lag could not be looked at. Says what happened
 * when.
 */
function told(checks: readonly (readonly string[] | null)[]): string[] {
  const events: string[] = [];
  const open = new Set<string>();
  let watch = NOTHING_SEEN;
  for (const [index, keys] of checks.entries()) {
    const result = keys === null ? resultOf(["server/kafka"], ["lag"]) : resultOf(keys);
    const step = watched(watch, open, result, { nowMs: index * 5_000 });
    watch = step.watch;
    for (const one of step.opened) {
      open.add(one.problem.key);
      events.push(`${index} +${one.problem.key} since ${one.sinceMs / 5_000}`);
    }
    for (const key of step.cleared) {
      open.delete(key);
      events.push(`${index} -${key}`);
    }
  }
  return events;
}

describe("when a problem is an alert", () => {
  const lag = ["lag/orders"];

  test.each([
    ["one that lasts ten seconds opens one, and is over after ten without it", [lag, lag, lag, lag, [], [], [], []]],
  ])("%s", (_, checks) => {
    expect(told(checks)).toEqual(["2 +lag/orders since 0", "6 -lag/orders"]);
  });

  test("one that is gone before is none, and begins again when it comes back", () => {
    expect(told([lag, lag, [], lag, lag, []])).toEqual([]);
    expect(told([lag, [], lag, lag, lag])).toEqual(["4 +lag/orders since 2"]);
  });

  test("one that lasts for long is one alert", () => {
    expect(told(Array.from({ length: 20 }, () => lag))).toEqual(["2 +lag/orders since 0"]);
  });

  test("an alert whose problem is gone for a moment goes on", () => {
    expect(told([lag, lag, lag, [], lag, [], [], lag])).toEqual(["2 +lag/orders since 0"]);
  });

  test("a check that cannot see neither opens nor ends anything", () => {
    expect(told([lag, null, lag])).toEqual(["2 +lag/orders since 0"]);
    // Kafka was away in between: whether there is lag is not known, so the alert stays.
    expect(told([lag, lag, lag, null, null, null, null, lag])).toEqual([
      "2 +lag/orders since 0",
      "5 +server/kafka since 3",
    ]);
    expect(told([null, null, null, []]).filter((event) => event.includes("lag"))).toEqual([]);
  });

  test("what follows from a server that is away is not looked at", () => {
    for (const kinds of Object.values(FOLLOWS_FROM)) expect(kinds).toContain("lag");
    expect([...FOLLOWS_FROM.kafka, ...FOLLOWS_FROM.redis]).not.toContain("server");
  });
});

describe("which lag is a problem", () => {
  const lagOf = (view: string, behind: bigint, stream = "orders"): ViewLag => ({
    ...{ stream, view, behind },
    generation: `${view}.0123456789ab`,
  });
  const limits = () => ({ warn: 1_000, page: 10_000 });
  const keys = (lags: readonly ViewLag[], failures: readonly Failure[] = [], limitsOf = limits) =>
    lagProblems(lags, limitsOf, failures).map(({ key, severity }) => `${severity} ${key}`);

  test("more than the limit, of the view that is farthest behind", () => {
    expect(keys([lagOf("a", 1_000n)])).toEqual([]);
    expect(keys([lagOf("a", 3n), lagOf("b", 1_001n)])).toEqual(["warning lag/orders"]);
    expect(keys([lagOf("a", 10_000n)])).toEqual(["warning lag/orders"]);
    expect(keys([lagOf("a", 10_001n)])).toEqual(["warning lag/orders", "critical lag/orders/critical"]);
    expect(keys([lagOf("a", 2n ** 62n)]).length).toBe(2);
  });

  test("each stream has its own limits", () => {
    const limitsOf = (stream?: string) => (stream === "clicks" ? { warn: 5, page: 7 } : limits());
    expect(keys([lagOf("a", 6n, "clicks"), lagOf("b", 6n)], [], limitsOf)).toEqual(["warning lag/clicks"]);
  });

  test("a view that is stopped is a problem of its own", () => {
    const failure = { kind: "view", name: "a", views: ["a"], code: "STATE_OVERFLOW", message: "m", hint: "h" } as const;
    const stopped = { ...failure, failures: 3, sinceMs: 0, atMs: 0 };
    expect(keys([lagOf("a", 5_000n), lagOf("b", 1n)], [stopped])).toEqual([]);
    expect(keys([lagOf("a", 5_000n), lagOf("b", 1_500n)], [stopped])).toEqual(["warning lag/orders"]);
  });
});

test("records that Kafka is going to delete are a problem in time, also of a topic that keeps little", () => {
  const hours = 3_600;
  const severity = (secondsLeft: number, retentionHours: number | null) => {
    const risk = { partition: 0, needed: position(7n), purpose: "what is not archived yet", secondsLeft };
    const retentionMs = retentionHours === null ? null : retentionHours * hours * 1_000;
    return retentionProblems("orders", { risk, retentionMs }, 24 * hours)[0]?.severity ?? null;
  };
  expect(severity(30 * hours, 168)).toBe(null);
  expect(severity(23 * hours, 168)).toBe("warning");
  expect(severity(5 * hours, 168)).toBe("critical");
  // Kept for two hours: 110 minutes left is how it always is.
  expect(severity(1.8 * hours, 2)).toBe(null);
  expect(severity(0.9 * hours, 2)).toBe("warning");
  expect(severity(0.4 * hours, 2)).toBe("critical");
  expect(severity(5 * hours, null)).toBe("critical");
  expect(retentionProblems("orders", { risk: null, retentionMs: null }, 24 * hours)).toEqual([]);
});

describe("the journal", () => {
  const all = delivery("all", { to: mail({ to: "a@example.com" }) });
  const critical = delivery("critical", { to: mail({ to: "a@example.com" }), severities: ["critical"] });
  const other = delivery("other", { to: mail({ to: "a@example.com" }), rules: ["heart-rate"] });
  const deliveries = [all, critical, other];
  const opens = (key: string, sinceMs: number) => ({ opened: [{ problem: problem(key), sinceMs }], cleared: [] });
  const clears = (key: string) => ({ opened: [], cleared: [key] });
  const begun = journalled(NO_OWN_ALERTS, opens("lag/orders", 5), deliveries, 20);
  const ended = journalled(begun, clears("lag/orders"), deliveries, 90);
  const names = (messages: readonly { alert: { key: string }; kind: string }[]) =>
    messages.map(({ alert, kind }) => `${kind} ${alert.key}`);

  test("an alert and its end wait in the deliveries that are for its rule and severity", () => {
    expect(deliveries.map(({ name }) => names(waitingFor(ended, name)))).toEqual([
      ["opened lag/orders", "cleared lag/orders"],
      [],
      [],
    ]);
    expect(names(notAppended(ended))).toEqual(["opened lag/orders", "cleared lag/orders"]);
    expect([openKeys(begun), openKeys(ended)]).toEqual([new Set(["lag/orders"]), new Set()]);
  });

  test("what was handed over or appended is not again", () => {
    const [first] = waitingFor(ended, "all");
    if (first === undefined) throw new Error("nothing waits");
    const after = appended(handedOver(ended, first, "all", "delivered"), [first]);
    expect(names(waitingFor(after, "all"))).toEqual(["cleared lag/orders"]);
    expect(names(notAppended(after))).toEqual(["cleared lag/orders"]);
  });

  test("the end of an alert that was silenced is not told", () => {
    const [first] = waitingFor(begun, "all");
    if (first === undefined) throw new Error("nothing waits");
    const silenced = journalled(handedOver(begun, first, "all", "silenced"), clears("lag/orders"), deliveries, 90);
    expect(waitingFor(silenced, "all")).toEqual([]);
  });

  test("each time that a problem comes back it is another alert; the same time is the same alert", () => {
    const twice = journalled(ended, opens("lag/orders", 100), deliveries, 110);
    const [first, second] = twice.alerts.map(({ id }) => id);
    expect(first).not.toBe(second);
    expect(journalled(NO_OWN_ALERTS, opens("lag/orders", 100), [], 4_711).alerts[0]?.id).toBe(second);
  });

  test("it is read as it was written, and forgets the oldest that are over", () => {
    let journal = begun;
    for (let time = 100; time < 600; time++) {
      journal = journalled(journal, opens(`view/v${time}`, time), deliveries, time);
      journal = journalled(journal, clears(`view/v${time}`), deliveries, time + 1);
      journal = appended(journal, notAppended(journal));
    }
    expect(OwnJournal.parse(JSON.parse(JSON.stringify(journal)))).toEqual(journal);
    expect(journal.alerts.length).toBeLessThan(210);
    expect(openKeys(journal)).toEqual(new Set(["lag/orders"]));
  });

  test("its events are events of the stream of alerts, and give the alert that the journal has", () => {
    const states = new AlertStates(10);
    const messages = notAppended(ended);
    for (const message of [...messages, ...messages]) {
      const event = alerts.contract.parse(JSON.parse(JSON.stringify(eventOf(message))));
      states.take({ event, writtenAtMs: message.atMs });
    }
    const [record] = ended.alerts;
    const [held] = states.all();
    if (record === undefined || held === undefined) throw new Error("no alert");
    const shown = shownAlert(states, held, 0);
    expect(shown).toEqual(shownAlert(states, alertOfRecord(record), 0));
    expect(shown).toMatchObject({ rule: "tideline", state: "cleared", key: "lag/orders", source: null });
  });

  test("texts of any length and kind are cut to what an event may hold", () => {
    const key = `view/${"💥".repeat(600)}`;
    const long = {
      opened: [{ problem: { ...problem(key), says: "\u0000\n".repeat(5_000) }, sinceMs: 1 }],
      cleared: [],
    };
    for (const message of notAppended(journalled(NO_OWN_ALERTS, long, [], 2)))
      expect(alerts.contract.safeParse(JSON.parse(JSON.stringify(eventOf(message)))).success).toBe(true);
  });
});

describe("an outbox", () => {
  const sent: string[] = [];
  const ops = delivery("ops", {
    send: () => undefined,
    escalate: { after: "10 minutes", send: ({ state, key }, { id }) => void sent.push(`${state} ${key} ${id}`) },
  });
  const [, later] = withEscalation(ops);
  const opened = { opened: [{ problem: problem("lag/orders"), sinceMs: 1 }], cleared: [] };

  /** What the escalation is told of an alert that begins at 0 and ends at `endMs`, looked at then and at `nowMs`. */
  async function toldLater(endMs: number | null, nowMs: number): Promise<string[]> {
    sent.length = 0;
    if (later === undefined) throw new Error("no escalation");
    const begun = journalled(NO_OWN_ALERTS, opened, [ops, later], 0);
    const journal = endMs === null ? begun : journalled(begun, { opened: [], cleared: ["lag/orders"] }, [], endMs);
    const outcomes: string[] = [];
    const outbox = new Outbox(
      later,
      {
        ...{ brokers: "", mail: { url: "", from: "" }, pace: { firstRetryMs: 1, breakMs: 1 }, againMs: 1 },
        states: () => new AlertStates(0),
        onOutcome: ({ kind }, outcome) => void outcomes.push(`${kind} ${outcome}`),
        onDelayed: () => undefined,
      },
      new AbortController().signal,
    );
    outbox.give(waitingFor(journal, later.name), nowMs);
    outbox.give(waitingFor(journal, later.name), nowMs);
    await outbox.ended();
    return [...outcomes, ...sent];
  }

  test("escalates an alert whose problem lasts, in time and once, and says that it is over", async () => {
    expect(await toldLater(null, 599_999)).toEqual([]);
    const id = `ops.escalation.${ownAlertId("lag/orders", 1)}`;
    expect(await toldLater(null, 600_000)).toEqual(["opened delivered", `open lag/orders ${id}`]);
    expect(await toldLater(900_000, 900_000)).toEqual([
      ...["opened delivered", "cleared delivered"],
      ...[`open lag/orders ${id}`, `cleared lag/orders ${id}.cleared`],
    ]);
  });

  test("does not send what was silenced while the receiver did not take it", async () => {
    const states = new AlertStates(0);
    const tries: string[] = [];
    const failing = delivery("failing", {
      send: ({ key }) => {
        tries.push(key ?? "");
        if (tries.length === 2) states.silence("tideline", Date.now() + 60_000);
        throw new Error("not now");
      },
    });
    const outcomes: string[] = [];
    const outbox = new Outbox(
      failing,
      {
        ...{ brokers: "", mail: { url: "", from: "" }, pace: { firstRetryMs: 1, breakMs: 1 }, againMs: 1 },
        states: () => states,
        onOutcome: ({ kind }, outcome) => void outcomes.push(`${kind} ${outcome}`),
        onDelayed: () => undefined,
      },
      new AbortController().signal,
    );
    outbox.give(waitingFor(journalled(NO_OWN_ALERTS, opened, [failing], 0), "failing"), 0);
    await outbox.ended();
    expect([tries, outcomes]).toEqual([["lag/orders", "lag/orders"], ["opened silenced"]]);
  });

  test("does not escalate what was over before, nor tell its end", async () => {
    expect(await toldLater(300_000, 900_000)).toEqual(["opened silenced", "cleared silenced"]);
  });
});

test("a delivery for some times of the week gets the alerts of these times, and their ends at any", () => {
  const during = { zone: "Europe/Berlin", from: "08:00", to: "18:00" };
  const day = delivery("day", { to: mail({ to: "day@example.com" }), during });
  const opened = { opened: [{ problem: problem("lag/orders"), sinceMs: 1 }], cleared: [] };
  const waits = (at: string) => {
    const begun = journalled(NO_OWN_ALERTS, opened, [day], Date.parse(at));
    const ended = journalled(begun, { opened: [], cleared: ["lag/orders"] }, [day], Date.parse("2026-03-02T02:00:00Z"));
    return waitingFor(ended, "day").map(({ kind }) => kind);
  };
  expect(waits("2026-03-01T12:00:00Z")).toEqual(["opened", "cleared"]);
  expect(waits("2026-03-02T01:00:00Z")).toEqual([]);
});

test("deliveries of the stream leave own alerts to the monitor", () => {
  const [message] = notAppended(
    journalled(NO_OWN_ALERTS, { opened: [{ problem: problem("a/b"), sinceMs: 1 }], cleared: [] }, [], 2),
  );
  if (message === undefined) throw new Error("no alert");
  expect(isFor(delivery("all", { to: mail({ to: "a@example.com" }) }), eventOf(message))).toBe(false);
});

test("a delivery may name own alerts, and a rule may not have their name", () => {
  const own = delivery("ops", { to: mail({ to: "ops@example.com" }), rules: ["tideline"] });
  expect(checkDelivery(own, new Set())).toEqual([]);
  const named = rule("tideline", { on: heartRate.on, when: heartRate.when, quiet: "1 minute" });
  expect(checkRuleShape(named)).toEqual([expect.stringContaining("own alerts")]);
});
