import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decimal, flag, instant, integer, list, map, oneOf, optional, text } from "../../../core/contract/fields.ts";
import { type Fields, type Stream, stream } from "../../../core/contract/stream.ts";
import { quickMembers } from "../../../ingest/read/json-members.ts";
import { EventMaker, isRefusal } from "../../../ingest/send/event-maker.ts";
import { withColumns } from "../../../ingest/send/json-columns.ts";
import { PLAIN_FORMS, type ValueForms } from "../../../ingest/send/value-forms.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { nightlyOr } from "../../tiers.ts";

/** The quick way of sending JSON takes less than the contract accepts, never more, and writes the same values. */

const of = (fields: Fields, key = "id"): Stream =>
  stream("events", {
    ...{ revision: 1, partitions: 1, eventTime: "at", eventId: "id", dedupWindow: 0 },
    ...{ key: key as "id", fields: { id: text({ max: 5 }), at: instant(), ...fields } },
  });

const fields = {
  size: optional(integer({ min: -(2 ** 53) + 1, max: 2 ** 53 - 1 })),
  price: optional(decimal({ scale: 2, min: -1e6, max: 1e6 })),
  ok: optional(flag()),
  kind: optional(oneOf("a", "é")),
  tags: optional(list(text({ max: 3 }), { max: 3 })),
  counts: optional(map(integer({ min: 0, max: 9 }))),
};

const texts = fc.oneof(
  fc.constantFrom("12", "12.5", "-0", "true", "yes", "a", "é", "NA", "", "2024-01-15T14:30:00Z", "15.1.2024", "1e3"),
  fc.constantFrom("1705329000000", "1705329000", "9007199254740993", "0.1234567890123456"),
  anyText({ maxLength: 6 }),
);
/** A printable character of ASCII as an escape, "x" for any other. */
const escapeOf = (c: string) => (c.length === 1 && c > " " && c < "~" ? `\\u00${c.charCodeAt(0).toString(16)}` : "x");
const values = fc.oneof(
  texts.map((one) => JSON.stringify(one)),
  texts.map((one) => `"${[...one].map(escapeOf).join("")}"`),
  fc.constantFrom("12", "12.50", "-0", "1e3", "true", "null", "1705329000000", "1705329000.5", "9007199254740993"),
  fc.constantFrom('["a","b"]', "[]", '{"a":1,"b":2}', '{"a":10}', "[1]", '{"deep":[{"a":"\\""}]}'),
);
/** Mostly what the contract has for a field, also as texts; at times anything. */
const fitting: Readonly<Record<string, readonly string[]>> = {
  size: ["12", "-5", '"12"', "9007199254740991"],
  price: ["12.5", '"12.50"', "0", '"-3"'],
  ok: ["true", '"true"', "false"],
  kind: ['"a"', '"é"', '"\\u0061"'],
  tags: ['["a"]', "[]"],
  counts: ['{"a":1}', "{}"],
};
const member = (name: string) =>
  fc
    .oneof({ weight: 9, arbitrary: fc.constantFrom(...(fitting[name] ?? ["1"])) }, values)
    .map((one) => [name, one] as const);
const others = fc.tuple(fc.constantFrom("other", "o\u00e9", "o\\u0074her", "size", "id"), values);
const event = fc
  .tuple(
    fc.constantFrom('"a"', '"é"', '"a/b"', '"b"', "7", '"\\u0061"', '""'),
    fc.constantFrom("1705329000000", '"2024-01-15T14:30:00Z"', '"2024-01-15"', "1705329000", '"soon"'),
    fc.tuple(...Object.keys(fitting).map((name) => fc.option(member(name), { freq: 4 }))),
    fc.array(others, { maxLength: 1 }),
    fc.constantFrom("", " ", "\n"),
  )
  .map(([id, at, own, more, blank]) => {
    const members = [...own.filter((one) => one !== null), ...more];
    const all = [`"id":${id}`, ...members.map(([name, value]) => `"${name}"${blank}:${value}`), `"at":${blank}${at}`];
    return `${blank}{${all.join(`,${blank}`)}${blank}}`;
  });
const forms: readonly ValueForms[] = [
  PLAIN_FORMS,
  { ...PLAIN_FORMS, timeNumbers: "s" },
  { ...PLAIN_FORMS, missing: new Set(["NA", "12"]) },
  { ...PLAIN_FORMS, dateOrder: "dmy", decimalComma: true },
];

describe("JSON that is sent", () => {
  test.each([
    ["a text", "id"],
    ["an integer", "size"],
    ["a flag", "ok"],
    ["a decimal", "price"],
  ])("has the key and the values that the contract has for it, where the key is %s", (_, key) => {
    const required = Object.fromEntries(
      Object.entries(fields).map(([name, field]) => [name, name === key ? requiredField(name) : field]),
    );
    const makers = forms.map((one) => new EventMaker({ stream: of(required, key), forms: one }, []));
    const runs = nightlyOr(2_500, 800);
    let [quick, slow] = [0, 0];
    fc.assert(
      fc.property(event, fc.nat(forms.length - 1), (json, index) => {
        const maker = makers[index] as EventMaker;
        const found = maker.quicklyOfJson(Buffer.from(json));
        if (found === null) {
          slow += 1;
          return;
        }
        quick += 1;
        const wanted = maker.thoroughlyOfJson(Buffer.from(json));
        if (isRefusal(wanted)) expect.fail(`${json}: ${JSON.stringify(wanted)}`);
        expect(found.key, json).toBe(wanted.key);
        expect(JSON.parse(String(found.value)), json).toEqual(JSON.parse(String(wanted.value)));
      }),
      { numRuns: runs },
    );
    expect(slow).toBeGreaterThan(0);
    if (key === "price") expect(quick).toBe(0);
    else expect(quick).toBeGreaterThan(0.05 * runs);
  });

  test("is read quickly where times, numbers and flags are texts, and fields lie elsewhere", () => {
    const maker = new EventMaker({ stream: of(fields), forms: PLAIN_FORMS }, []);
    const made = maker.quicklyOfJson(Buffer.from('{"id":"a","at":"2024-01-15T14:30:00Z","price":"1.50","n":{"é":1}}'));
    expect(String(made?.value)).toBe('{"id":"a","at":1705329000000,"price":1.50,"n":{"é":1}}');
    const nested = of({ size: integer({ min: 0, max: 9, as: "text", from: "$.deep.Size" }) }, "size");
    const record = Buffer.from('{"id":"a","at":1705329000000,"deep":{"Size":"7"}}');
    expect(new EventMaker({ stream: nested, forms: PLAIN_FORMS }, []).quicklyOfJson(record)?.key).toBe("7");
  });
});

function requiredField(name: string) {
  if (name === "size") return integer({ min: -(2 ** 53) + 1, max: 2 ** 53 - 1 });
  return name === "ok" ? flag() : decimal({ scale: 2, min: -1e6, max: 1e6 });
}

describe("columns of JSON", () => {
  const member = fc.tuple(fc.constantFrom("a", "b", "c", "é", "x\\u0061", "id", "deep"), values);
  const object = fc
    .array(member, { maxLength: 6 })
    .map((all) => `{${all.map(([name, one]) => `"${name}": ${one}`).join(" ,")}}`);
  const nested = fc
    .tuple(object, object)
    .map(([one, inner]) => one.replace(/}$/, `${one === "{}" ? "" : ","}"deep":${inner}}`));
  const path = fc.constantFrom(["a"], ["b"], ["é"], ["id"], ["deep", "a"], ["deep", "deep", "b"], ["none"]);

  test("are where they are said to be, whatever else the object has", () => {
    const places = fc.uniqueArray(fc.tuple(fc.constantFrom("a", "b", "id", "new", "é"), path), {
      selector: ([one]) => one,
    });
    fc.assert(
      fc.property(fc.oneof(object, nested), places, fc.constantFrom({}, { row: 'f"é:1' }), (json, moved, given) => {
        const written = withColumns(Buffer.from(json), {
          places: new Map(moved),
          given: given as Record<string, string>,
        });
        const wanted = JSON.parse(json) as Record<string, unknown>;
        const found = moved.map(([field, way]) => [field, at(wanted, way)] as const);
        for (const [, [name = "", ...rest]] of moved) if (rest.length === 0) delete wanted[name];
        for (const [field, value] of found) {
          if (value === undefined) delete wanted[field];
          else wanted[field] = value;
        }
        expect(JSON.parse(written.toString()), json).toEqual({ ...wanted, ...given });
      }),
      { numRuns: nightlyOr(1_000, 400) },
    );
  });

  test("members are found where JSON.parse finds them, and broken objects have none", () => {
    const broken = fc
      .tuple(fc.oneof(object, nested), fc.nat(60), fc.constantFrom("", "}", ",", '"', "\\", "\u0001", "[", " "))
      .map(([json, place, more]) => json.slice(0, place) + more + json.slice(place + 1));
    const runs = nightlyOr(2_000, 800);
    let found = 0;
    fc.assert(
      fc.property(fc.oneof(object, nested, broken, fc.json()), (json) => {
        const bytes = Buffer.from(json);
        const members = quickMembers(bytes);
        if (members === null) return;
        found += 1;
        const read = members.map(({ name, value, to }) => [name, JSON.parse(bytes.toString("utf8", value, to))]);
        expect(Object.fromEntries(read), json).toEqual(JSON.parse(bytes.toString()));
      }),
      { numRuns: runs },
    );
    expect(found).toBeGreaterThan(0.25 * runs);
  });
});

function at(value: unknown, way: readonly string[]): unknown {
  let found = value;
  for (const step of way)
    found =
      typeof found === "object" && found !== null && !Array.isArray(found) && Object.hasOwn(found, step)
        ? (found as Record<string, unknown>)[step]
        : undefined;
  return found;
}
