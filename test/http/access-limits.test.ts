import type { AddressInfo } from "node:net";
import fc from "fast-check";
import fastify from "fastify";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { coversSubject, joinedSubject, subjectOf } from "../../core/access/permissions.ts";
import { requireKeys } from "../../serving/access/access.ts";
import { KeyCheck } from "../../serving/access/key-check.ts";
import { RefusalCounter } from "../../serving/access/refusal-counter.ts";
import { refusalOf } from "../../serving/common/problem.ts";

const table = (name: string, stream: string) => ({ name, stream: { name: stream } });

describe("a joined table", () => {
  test("is for the keys that are for each of its tables", () => {
    const name = fc.constantFrom("a", "b", "c", "constructor", "");
    const tables = fc.array(fc.tuple(name, name), { minLength: 1, maxLength: 4 });
    const only = fc.option(fc.record({ streams: fc.array(name), views: fc.array(name) }));
    fc.assert(
      fc.property(tables, only, (parts, limits) => {
        const joined = { tables: Object.fromEntries(parts.map(([view, stream], n) => [`t${n}`, table(view, stream)])) };
        const each = Object.values(joined.tables).every((one) => coversSubject({ only: limits }, subjectOf(one)));
        expect(coversSubject({ only: limits }, joinedSubject(joined))).toBe(each);
      }),
    );
  });

  test("without tables is for keys without limits alone", () => {
    const none = joinedSubject({ tables: {} });
    expect([coversSubject({ only: null }, none), coversSubject({ only: { streams: ["a"], views: [] } }, none)]).toEqual(
      [true, false],
    );
  });
});

describe("refusals of requests without a known key", () => {
  test("have a line each up to sixty a minute, and the others are counted", () => {
    const counter = new RefusalCounter();
    const lines = Array.from({ length: 100 }, (_, n) => counter.take(1_000 + n));
    expect(lines.filter(Boolean)).toHaveLength(60);
    expect(counter.over(60_999)).toBeNull();
    expect(counter.over(61_000)).toEqual({ refusals: 40, withinMs: 60_000 });
    // The next minute begins with its first refusal.
    expect([counter.over(90_000), counter.take(200_000), counter.over(259_999), counter.over(260_000)]).toEqual([
      null,
      true,
      null,
      null,
    ]);
  });

  test("are all told: by a line, or in the count", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 30_000 }), { maxLength: 400 }), (gaps) => {
        const counter = new RefusalCounter();
        let [nowMs, lines, counted] = [0, 0, 0];
        for (const gap of gaps) {
          nowMs += gap;
          counted += counter.over(nowMs)?.refusals ?? 0;
          if (counter.take(nowMs)) lines += 1;
        }
        counted += counter.end(nowMs)?.refusals ?? 0;
        expect(lines + counted).toBe(gaps.length);
      }),
    );
  });

  test("are in the audit log so: sixty lines of a hundred, and then how many more there were", async () => {
    const lines: Record<string, unknown>[] = [];
    const audit = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    const app = fastify();
    const check = new KeyCheck(null, pino({ level: "silent" }));
    requireKeys(app, {
      ...{ check, audit, viewOf: () => null, nowMs: () => 5 },
      policy: { isLocal: false, isRequired: true },
    });
    app.setErrorHandler((error, _request, reply) => reply.status(refusalOf(error).problem.status).send());
    app.get("/alerts", async () => ({}));
    await app.listen({ port: 0, host: "127.0.0.1" });
    const { port } = app.server.address() as AddressInfo;
    for (let index = 0; index < 100; index++) expect((await fetch(`http://127.0.0.1:${port}/alerts`)).status).toBe(401);
    await app.close();
    expect(lines.filter(({ status }) => status === 401)).toHaveLength(60);
    expect(lines.slice(60)).toMatchObject([{ refusals: 40, key: null, keyId: null }]);
  });
});
