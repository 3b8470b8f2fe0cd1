import { describe, expect, test } from "vitest";
import { streamDocument } from "../../core/contract/stream-document.ts";
import { discover } from "../../discover/discover.ts";
import { NOW, numbersFrom, recordsOf, uuid } from "./samples.ts";

const of = (values: readonly unknown[]) =>
  discover({
    ...{ topic: "lines", name: "lines", partitions: 1, records: recordsOf(values), taken: "all", revision: 1 },
    schemas: new Map(),
  });

const random = numbersFrom(7);
const orders = Array.from({ length: 60 }, () => uuid(random)).flatMap((order_id, order) =>
  Array.from({ length: 1 + (order % 4) }, (_, line) => ({
    ...{ order_id, line_no: line + 1, app_version: 3, sku: `s-${(order * 7 + line) % 11}`, at: NOW + order * 1_000 },
  })),
);

describe("event ids of two fields", () => {
  test("are proposed where an id comes again and a count tells its records apart", () => {
    const { stream, text, notes } = of([...orders, ...orders.slice(0, 3)]);
    expect(stream).toMatchObject({ eventId: ["order_id", "line_no"], dedupWindow: 10_000 });
    expect(text).toContain('  eventId: ["order_id", "line_no"],');
    expect(notes.join("\n")).toContain(
      `Event id: order_id and line_no together, ${orders.length} different ` +
        "in the sample, 3 records repeated as they were",
    );
    expect(streamDocument(stream).fields.line_no).toMatchObject({ type: "integer" });
  });

  test("are not proposed where different records share them, or too few records show it", () => {
    const changed = [...orders, ...orders.slice(0, 60).map((one) => ({ ...one, sku: "other" }))];
    expect(of(changed).stream.eventId).toBe("record_offset");
    expect(of(orders.slice(0, 20)).stream.eventId).toBe("record_offset");
    const visits = orders.map(({ order_id, sku }, index) => ({ user_id: order_id, version: index % 2, sku, at: NOW }));
    expect(of(visits).stream.eventId).toBe("record_offset");
  });
});

describe("maps of objects", () => {
  const stock = Array.from({ length: 100 }, (_, index) => ({
    ...{ id: index, at: NOW + index },
    stock: Object.fromEntries(
      Array.from({ length: 1 + (index % 3) }, (_, nth) => [
        `SKU-${(index * 31 + nth * 17) % 97}`,
        { Quantity: index, unitPrice: 1.5, key: "k", tags: ["a"], ...(index % 2 === 0 ? { note: "n" } : {}) },
      ]),
    ),
  }));

  test("are proposed where the names of an object differ, and its values are objects", () => {
    const { stream, text, accepted } = of(stock);
    expect(accepted).toBe(100);
    expect(streamDocument(stream).fields.stock).toMatchObject({
      type: "entries",
      of: {
        quantity: { type: "integer", path: "$.Quantity" },
        unit_price: { type: "decimal", scale: 2, path: "$.unitPrice" },
        key_2: { type: "text", path: "$.key" },
        note: { type: "optional" },
      },
    });
    expect(text).toContain("stock: map({\n      quantity: integer(");
  });
});

describe("records whose values have no fields", () => {
  const actions = ["login", "logout"];
  const records = recordsOf(
    Array.from({ length: 200 }, () => ({})),
    { keys: (index) => `user-${index % 7}` },
  ).map((record, index) => {
    const all = new Map([
      ["X-Action", actions[index % 2] ?? ""],
      ["trace_id", `t-${index}`],
    ]);
    const header = (name: string) => (all.has(name) ? Buffer.from(all.get(name) ?? "") : null);
    return { ...record, header, headers: [...all.keys()] };
  });
  const found = (values: readonly unknown[]) =>
    discover({
      ...{ topic: "heads", name: "heads", partitions: 1, taken: "all", revision: 1, schemas: new Map() },
      records: records.map((record, index) => ({ ...record, value: Buffer.from(JSON.stringify(values[index] ?? {})) })),
    });

  test("are read from their headers", () => {
    const { stream, accepted, view, text } = found([]);
    expect(accepted).toBe(200);
    expect(streamDocument(stream).fields).toMatchObject({
      x_action: { type: "oneOf", values: ["login", "logout"], path: "header:X-Action" },
      trace_id: { type: "text", path: "header:trace_id" },
      record_key: { path: "key" },
      recorded_at: { path: "timestamp" },
    });
    expect(stream.eventId).toBe("record_offset");
    expect(view.by).toEqual({ name: "x_action", field: "x_action" });
    expect(text).toContain('x_action: oneOf("login", "logout", { from: "header:X-Action" }),');
  });

  test("where values have fields the headers are named", () => {
    const { stream, notes } = found(records.map((_, id) => ({ id, at: NOW })));
    expect(Object.keys(stream.fields)).toEqual(["id", "at", "record_key"]);
    expect(notes.join("\n")).toContain(
      'no field reads: X-Action, trace_id. A field has one with from: "header:X-Action"',
    );
  });
});

test("of names that differ in their spelling the one that is written so keeps it", () => {
  const { stream } = of(
    Array.from({ length: 50 }, (_, id) => ({ UserId: `u${id}`, user_id: id, userID: true, at: NOW })),
  );
  expect(streamDocument(stream).fields).toMatchObject({
    user_id: { type: "integer" },
    user_id_2: { type: "text", path: "$.UserId" },
    user_id_3: { type: "flag", path: "$.userID" },
  });
});

test("topics without values, and with lists of events, are refused with what to do", () => {
  expect(() => of([null, null])).toThrow(
    expect.objectContaining({
      message: 'the records of topic "lines" have no values',
      hint: expect.stringMatching(/\{\} at least/),
    }),
  );
  expect(() => of([[{ a: 1 }], [{ a: 2 }]])).toThrow(
    expect.objectContaining({ hint: expect.stringMatching(/write a record for each element/) }),
  );
});
