import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { Registry } from "prom-client";
import { describe, expect, test } from "vitest";
import {
  acknowledgedEvent,
  alertEventFrom,
  alertId,
  alertOf,
  clipped,
  type OpenedAlert,
  openedBy,
  openedEvent,
  silencedEvent,
} from "../../../core/alerts/alert.ts";
import { AlertStates, alertsAsked, shownAlert } from "../../../core/alerts/alert-states.ts";
import { positionsFrom, positionsText, type RulePositions, startOf } from "../../../core/alerts/rule-positions.ts";
import { alerts } from "../../../core/contract/alerts.ts";
import { instant, integer, text } from "../../../core/contract/fields.ts";
import { sql } from "../../../core/contract/sql.ts";
import { checkStream, stream } from "../../../core/contract/stream.ts";
import { type Rule, rule } from "../../../core/definition/rule.ts";
import { position } from "../../../core/log/position.ts";
import { AlertMemory } from "../../../rules/alert-memory.ts";
import { evaluate } from "../../../rules/evaluate.ts";
import { RuleLane } from "../../../rules/lane.ts";
import { ruleMetrics } from "../../../rules/metrics.ts";
import { PartitionWriter } from "../../../rules/partition-writer.ts";
import { Archive } from "../../../store/archive/archive.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { loadDefinitions } from "../../../store/definitions/definitions.ts";
import { DataDirectory } from "../../../store/files/files.ts";
import type { TransactionRecord } from "../../../store/kafka/produce/transactional.ts";
import { type LogSource, readSpan } from "../../../store/kafka/read/log.ts";
import { Schemas } from "../../../store/registry/registry-schemas.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

const readings = stream("readings", {
  revision: 1,
  partitions: 2,
  key: "who",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 100,
  fields: {
    id: text(),
    who: text({ max: 2_000 }),
    at: instant({ min: "0001-01-01T00:00:00Z", max: "9999-12-31T23:59:59Z" }),
    bpm: integer({ min: -1_000, max: 1_000 }),
  },
});

const high = rule("high", {
  on: readings,
  key: sql`who`,
  when: sql`bpm > 100`,
  quiet: "1 minute",
  says: sql`'at ' || bpm`,
});
const anyone = rule("anyone", { on: readings, when: sql`bpm > 100`, quiet: "1h", severity: "critical" });

const duck = duckForTests();

interface Reading {
  readonly id: string;
  readonly who: string;
  readonly at: number;
  readonly bpm: number;
}

const bytesOf = (reading: unknown) => Buffer.from(typeof reading === "string" ? reading : JSON.stringify(reading));

async function evaluated(rules: readonly Rule[], values: readonly unknown[]) {
  const decoder = await Decoder.open(duck(), readings, NO_SCHEMAS);
  const { relation } = await decoder.decode([fetchedOf(0, 0n, values.map(bytesOf))]);
  return evaluate(decoder.statements, rules, relation);
}

/** The ids of a rule's alerts by a plain fold, which shares no line with the engine. */
function idsByFold(
  name: string,
  quietMs: number,
  isWanted: (one: Reading) => boolean,
  keyOf: (one: Reading) => string | null,
  all: readonly Reading[],
) {
  const ids = new Map<string, Reading>();
  for (const one of all.filter(isWanted)) {
    const from = one.at - (((one.at % quietMs) + quietMs) % quietMs);
    const digest = createHash("sha256")
      .update(JSON.stringify([name, keyOf(one), from]))
      .digest("hex");
    const id = `${name}-${digest.slice(0, 20)}`;
    if (!ids.has(id)) ids.set(id, one);
  }
  return ids;
}

const hostile = anyText({ maxLength: 12 }).filter((one) => one.isWellFormed());
const reading = fc.record({
  who: fc.oneof(hostile, fc.constantFrom("a", "b", "'; DROP TABLE events; --", "\u0000", "\u001e", "ä\u0301", "null")),
  at: fc.oneof(
    fc.integer({ min: -200_000, max: 200_000 }),
    fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_000 }),
  ),
  bpm: fc.integer({ min: 95, max: 106 }),
});

describe("which alerts there are", () => {
  test("the engine finds the alerts of a plain fold, the first record of each interval counts", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(reading, { minLength: 1, maxLength: 40 }), async (made) => {
        const all = made.map((one, index) => ({ id: `r${index}`, ...one }));
        const { matches, failed } = await evaluated([high, anyone], all);
        expect(failed.size).toBe(0);
        const isHigh = (one: Reading) => one.bpm > 100;
        const wanted = [
          ...idsByFold("high", 60_000, isHigh, ({ who }) => who, all),
          ...idsByFold("anyone", 3_600_000, isHigh, () => null, all),
        ];
        const opened = openedBy(matches, () => false);
        expect(new Map(opened.map((one) => [one.id, one.eventId]))).toEqual(
          new Map(wanted.map(([id, { id: event }]) => [id, event])),
        );
      }),
      { numRuns: 60 },
    );
  });

  test("an interval is aligned to 1970 in event time, also before it", () => {
    const match = (atMs: number) =>
      alertOf({ rule: high, partition: 0, offset: 0n, atMs, eventId: "e", key: "a", says: null });
    expect([-60_001, -60_000, -1, 0, 59_999, 60_000].map((atMs) => match(atMs).quietFromMs)).toEqual([
      -120_000, -60_000, -60_000, 0, 0, 60_000,
    ]);
    expect(match(59_999).id).toBe(match(0).id);
    expect(match(60_000).id).not.toBe(match(0).id);
    expect(alertId("heart-rate", "patient-7", 1_790_000_040_000)).toBe("heart-rate-8103874783def6194f6e");
  });

  test("words and severity are not part of an alert's id; rule and key are", () => {
    const one = { partition: 0, offset: 0n, atMs: 5, eventId: "e", key: "a", says: "x" };
    const other = rule("high", {
      on: readings,
      key: sql`who`,
      when: sql`bpm > 7`,
      quiet: "1 minute",
      severity: "info",
    });
    expect(alertOf({ rule: other, ...one, says: null }).id).toBe(alertOf({ rule: high, ...one }).id);
    expect(alertOf({ rule: high, ...one, key: "b" }).id).not.toBe(alertOf({ rule: high, ...one }).id);
    expect(alertOf({ rule: anyone, ...one }).id).not.toBe(alertOf({ rule: high, ...one }).id);
    expect(alertId("high", null, 0)).not.toBe(alertId("high", "null", 0));
  });

  test("a duplicate and a record that does not decode open no alert; a late one does", async () => {
    const late = { id: "late", who: "a", at: 1_000, bpm: 120 };
    const now = { id: "now", who: "a", at: 90_000, bpm: 120 };
    const { matches } = await evaluated(
      [high],
      [now, "{", { ...now, at: 900_000 }, { ...now, id: "x", bpm: 4_000 }, late],
    );
    expect(matches.map(({ eventId, offset }) => [eventId, offset])).toEqual([
      ["now", 0n],
      ["late", 4n],
    ]);
  });

  test("a rule that fails on an event is named, and the others have their matches; texts are computed for matches alone", async () => {
    const breaks = rule("breaks", { on: readings, when: sql`who::INTEGER > 1`, quiet: "1h" });
    const says = rule("says", {
      on: readings,
      key: sql`who::INTEGER`,
      when: sql`bpm > 100`,
      quiet: "1h",
      says: sql`(who::INTEGER)::VARCHAR`,
    });
    const values = [
      { id: "1", who: "no number", at: 0, bpm: 50 },
      { id: "2", who: "7", at: 0, bpm: 150 },
    ];
    const { matches, failed } = await evaluated([high, breaks, says], values);
    expect(matches.map(({ rule, key, says }) => [rule.name, key, says])).toEqual([
      ["high", "7", "at 150"],
      ["says", "7", "7"],
    ]);
    expect([...failed].map(([{ name }, { code }]) => [name, code])).toEqual([["breaks", "RULE_FAILED"]]);
  });
});

describe("what is written", () => {
  test("every alert fits the contract of the stream of alerts, whatever its texts", () => {
    expect(checkStream(alerts)).toEqual([]);
    fc.assert(
      fc.property(anyText({ maxLength: 3_000 }), reading, (long, { at }) => {
        const key = long.toWellFormed();
        const alert = alertOf({
          rule: high,
          partition: 1,
          offset: 2n ** 53n - 1n,
          atMs: at,
          eventId: key,
          key,
          says: key.repeat(3),
        });
        const event = openedEvent(alert);
        expect(alertEventFrom(Buffer.from(JSON.stringify(event)))).toEqual(JSON.parse(JSON.stringify(event)));
        expect(clipped(key, 7).isWellFormed()).toBe(true);
      }),
    );
  });

  const opened = alertOf({ rule: high, partition: 1, offset: 4n, atMs: 5, eventId: "e", key: "a", says: null });
  const topics = { alerts: "alerts", alertPartitions: 3, positions: "alerts.positions" };
  const held = { topicId: "t", next: position(3), began: 2 };

  function writerOf(commit: (records: readonly TransactionRecord[]) => Promise<void>) {
    const options = { brokers: "", name: "readings", stream: "readings", partition: 1, topics };
    return new PartitionWriter(options, { commit, close: async () => undefined });
  }

  test("alerts and the position behind them are one transaction; a rule that is not known keeps its position", async () => {
    const commits: (readonly TransactionRecord[])[] = [];
    const writer = writerOf(async (records) => void commits.push(records));
    writer.adopt(
      new Map([
        ["high", held],
        ["of-a-later-release", held],
      ]),
    );
    await writer.write([opened], new Map([["high", position(9)]]), 0);
    expect(commits.map((records) => records.map(({ topic, key }) => [topic, key]))).toEqual([
      [
        ["alerts", opened.id],
        ["alerts.positions", "readings/1"],
      ],
    ]);
    const stored = positionsFrom(Buffer.from(commits[0]?.[1]?.value ?? ""));
    expect(stored?.rules).toEqual(
      new Map([
        ["high", { ...held, next: 9n }],
        ["of-a-later-release", held],
      ]),
    );
  });

  test("a position without alerts is written now and then, and at the end", async () => {
    const commits: (readonly TransactionRecord[])[] = [];
    const writer = writerOf(async (records) => void commits.push(records));
    writer.adopt(new Map([["high", held]]));
    for (const [next, nowMs] of [
      [4, 0],
      [5, 1_000],
      [6, 4_999],
    ] as const)
      await writer.write([], new Map([["high", position(next)]]), nowMs);
    expect(commits.length).toBe(1);
    await writer.flush(5_000);
    await writer.write([], new Map([["high", position(8)]]), 5_001);
    await writer.close();
    const written = commits.map(([one]) => positionsFrom(Buffer.from(one?.value ?? ""))?.rules.get("high")?.next);
    expect(written).toEqual([4n, 6n, 8n]);
  });

  test("what a refused transaction had is not noted as read", async () => {
    let isAway = true;
    const commits: (readonly TransactionRecord[])[] = [];
    const writer = writerOf(async (records) => {
      if (isAway) throw new Error("away");
      commits.push(records);
    });
    writer.adopt(new Map([["high", held]]));
    await expect(writer.write([opened], new Map([["high", position(9)]]), 0)).rejects.toThrow("away");
    isAway = false;
    await writer.begin(new Map());
    expect(positionsFrom(Buffer.from(commits[0]?.[0]?.value ?? ""))?.rules.get("high")?.next).toBe(3n);
  });

  test("the memory forgets what it had first", () => {
    const memory = new AlertMemory(2);
    memory.add(["a", "b"]);
    memory.add(["a", "c"]);
    expect(["a", "b", "c"].map((id) => memory.has(id))).toEqual([false, true, true]);
  });
});

describe("a lane", () => {
  /** A log of one partition; every record is given at once. */
  const logOf = (all: readonly Reading[]): LogSource => {
    const end = position(all.length);
    const cut = new Map([[0, end]]);
    const from = (first: bigint) => fetchedOf(0, first, all.slice(Number(first)).map(bytesOf));
    return {
      topic: async () => ({ id: "t", partitions: [0] }),
      bounds: async () => ({ start: new Map([[0, position(0)]]), stable: cut }),
      readableBounds: async () => ({ start: new Map(), stable: cut, leaderless: [] }),
      fetch: async (_, wanted) => [from(wanted.get(0) ?? 0n)],
      read: (_topic, { from: first, to }) => {
        const span = { partition: 0, from: first, to };
        return readSpan(logOf(all.slice(0, Number(to))), "readings", span, { maxBytes: 1 });
      },
    };
  };

  test("alerts whose transaction failed are opened by the next one; a rule reads nothing below its position", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tideline-lane-"));
    const data = new DataDirectory(folder);
    const log = logOf([1, 2, 3].map((n) => ({ id: `r${n}`, who: `p${n}`, at: n, bpm: 150 })));
    const memory = new AlertMemory();
    const written: (readonly [string, string])[] = [];
    let isAway = true;
    const write = async (opened: readonly OpenedAlert[]) => {
      if (isAway) throw new Error("away");
      written.push(...opened.map(({ rule, eventId }) => [rule, eventId] as const));
    };
    const laneAt = (...tracks: readonly (readonly [Rule, number])[]) =>
      RuleLane.open(
        {
          ...{ stream: readings, topic: "readings", topicId: "t", partitions: [0], log, duck: duck(), memory },
          dedup: { archive: new Archive(data), data, log, schemas: Schemas.inFiles(data) },
          writers: new Map([[0, { write, flush: async () => undefined }]]),
          metrics: ruleMetrics(new Registry()),
          deadLetters: null,
          onFailed: () => undefined,
          signal: new AbortController().signal,
          nowMs: () => 0,
        },
        tracks.map(([rule, next]) => ({ rule, positions: new Map([[0, position(next)]]) })),
      );
    const each = rule("each", { on: readings, key: sql`id`, when: sql`true`, quiet: "1h" });
    const first = await laneAt([high, 0], [each, 2]);
    await expect(first.step()).rejects.toThrow("away");
    isAway = false;
    const second = await laneAt([high, 0], [each, 2]);
    expect(await second.step()).toBe(3);
    expect(written.sort()).toEqual([
      ["each", "r3"],
      ["high", "r1"],
      ["high", "r2"],
      ["high", "r3"],
    ]);
    expect([...second.tracks].map(({ positions }) => positions.get(0))).toEqual([3n, 3n]);
    // What is committed is remembered: the same records open nothing once more.
    await (await laneAt([high, 0])).step();
    expect(written.length).toBe(4);
    await rm(folder, { recursive: true, force: true });
  });
});

describe("where a rule begins", () => {
  const stored: RulePositions[] = [
    { stream: "s", partition: 0, rules: new Map([["old", { topicId: "t", next: position(40), began: 2 }]]) },
    { stream: "s", partition: 1, rules: new Map() },
  ];
  const place = { topicId: "t", partitions: 3, stored, start: position(10), stable: position(90) };

  test.each([
    ["goes on where it was", "old", "end", 0, 40n, false],
    ["is new: at the end of the log", "new", "end", 0, 90n, true],
    ["is new: at its start, if it says so", "new", "start", 0, 10n, true],
    ["knows the topic, and another process has begun it just now", "old", "end", 1, 90n, true],
    ["finds a partition that was added: its records came after the rule", "old", "end", 2, 10n, true],
  ] as const)("a rule that %s", (_, name, from, partition, next, isNew) => {
    expect(startOf({ rule: name, from, partition, ...place })).toMatchObject({ next, isNew });
  });

  test("positions are read as they were written; what is none of them is nothing", () => {
    for (const one of stored) expect(positionsFrom(Buffer.from(positionsText(one)))).toEqual(one);
    for (const none of ["", "{}", '{"stream":"s","partition":-1,"rules":{}}', "\u0000"])
      expect(positionsFrom(Buffer.from(none))).toBe(null);
    expect(positionsFrom(null)).toBe(null);
  });
});

describe("a rule's definition", () => {
  async function problemsOf(file: string): Promise<string> {
    const folder = join(process.cwd(), ".tideline", `rules-${Date.now()}-${Math.random()}`);
    await mkdir(folder, { recursive: true });
    const imports = `import { alerts, delivery, mail, rule, sql } from "../../core/definition/builders.ts";
      import { heartRates } from "../../systems/patients/schemas/heart-rates.ts";`;
    await writeFile(join(folder, "sample.ts"), `${imports}\n${file}`);
    const folders = { schemas: [], views: [], rules: [folder], deliveries: [folder] };
    const message = await loadDefinitions(folders).then(
      ({ streams, rules }) => `${[...streams.keys()]} ${[...(rules?.keys() ?? [])]}`,
      (error: { code: string; message: string }) => `${error.code} ${error.message}`,
    );
    await rm(folder, { recursive: true });
    return message;
  }

  test("is loaded with its stream and the stream of alerts", async () => {
    const file = 'export const a = rule("a", { on: heartRates, when: sql`bpm > 1`, quiet: "1m" });';
    expect(await problemsOf(file)).toBe("heart-rates,alerts a");
  });

  test("is refused with file and field: its SQL, its types, its names, all at once", async () => {
    const message = await problemsOf(`
      export const a = rule("a", { on: heartRates, when: sql\`bmp > 1\`, quiet: "1m" });
      export const b = rule("b",
        { on: heartRates, when: sql\`bpm\`, key: sql\`bpm * 1.5e0\`, says: sql\`bpm\`, quiet: "1m" });
      export const c = rule("c", { on: heartRates, when: sql\`epoch_ms(now()) > 1\`, quiet: "1m" });
      export const d = rule("D",
        { on: heartRates, when: sql\`true\`, quiet: "often", severity: "urgent", from: "middle" });
      export const e = rule("e", { on: alerts, when: sql\`true\`, quiet: "1m" });
      export const f = rule("f", { on: {}, when: sql\`true\`, quiet: "1m" });
      export const g = rule("c", { on: heartRates, when: sql\`true\`, quiet: "1m" });
      export const h = delivery("h", { to: mail({ to: "x@example.com" }), rules: ["nothing"] });`);
    expect(message).toMatch(/^DEFINITION_INVALID /);
    for (const part of [
      'sample.ts: rule a: when: there is no column "bmp"',
      "rule b: when: is BIGINT, and has to be a condition",
      "rule b: key: is DOUBLE",
      "rule b: says: is BIGINT, and has to be text",
      'rule c: when: function "now" is not on the list',
      'rule D: name "D"',
      'rule D: quiet: "often" is not a duration',
      "rule D: severity: one of info, warning, critical",
      'rule D: from: "start" or "end"',
      "rule e: on: alerts are what rules open",
      "rule f: on: no stream",
      'rule "c" is defined in',
      'delivery h: rules: there is no rule "nothing"',
    ])
      expect(message).toContain(part);
  });
});

describe("how alerts stand", () => {
  const open = (who: string, atMs: number) =>
    openedEvent(alertOf({ rule: high, partition: 0, offset: 1n, atMs, eventId: who, key: who, says: null }));

  test("a repeat of an alert counts once, and so does its acknowledgement", () => {
    const states = new AlertStates(10);
    const first = open("a", 1_000);
    expect(states.take({ event: first, writtenAtMs: 5 })?.id).toBe(first.subject);
    expect(states.take({ event: { ...open("a", 2_000), subject: first.subject }, writtenAtMs: 6 })).toBe(null);
    const ack = (author: string) => acknowledgedEvent({ id: first.subject, rule: "high" }, { atMs: 9, author });
    expect(states.take({ event: ack("ann"), writtenAtMs: 9 })?.acknowledged?.author).toBe("ann");
    expect(states.take({ event: ack("bob"), writtenAtMs: 9 })).toBe(null);
    expect(states.all().map(({ opened, acknowledged }) => [opened.at, acknowledged?.author])).toEqual([[1_000, "ann"]]);
  });

  test("a silence holds until its time, and can be ended; alerts are opened all the same", () => {
    const states = new AlertStates(10);
    const alert = states.take({ event: open("a", 1_000), writtenAtMs: 5 });
    const silence = (untilMs: number) =>
      states.take({ event: silencedEvent("high", { eventId: "s", atMs: 1, untilMs, author: "ann" }), writtenAtMs: 6 });
    silence(100);
    expect([99, 100].map((nowMs) => alert && states.stateOf(alert, nowMs))).toEqual(["silenced", "open"]);
    silence(0);
    expect(alert && shownAlert(states, alert, 50)).toMatchObject({
      state: "open",
      silencedUntil: null,
      at: "1970-01-01T00:00:01.000Z",
    });
  });

  test("questions choose alerts, the newest event first; no more are remembered than are wanted", () => {
    const states = new AlertStates(3);
    for (const [index, who] of ["a", "b", "c", "d"].entries())
      states.take({ event: open(who, 60_000 * ((index * 3) % 4)), writtenAtMs: index });
    const keys = (question: object) => alertsAsked(states, question, 0).map(({ opened }) => opened.key);
    expect(keys({})).toEqual(["b", "c", "d"]);
    expect(keys({ key: "c" })).toEqual(["c"]);
    expect(keys({ fromMs: 60_000, toMs: 180_000 })).toEqual(["c", "d"]);
    expect(keys({ state: "acknowledged" })).toEqual([]);
    expect(keys({ severity: "critical" })).toEqual([]);
  });
});
