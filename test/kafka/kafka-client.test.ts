import { Ajv2020 } from "ajv/dist/2020.js";
import { expect, test } from "vitest";
import { Admin } from "../../store/kafka/client/client.ts";
import { compileLater } from "../../store/kafka/client/lazy-validators.ts";

test("a validator that is compiled when it is first called says the same as one that is compiled at once", () => {
  const schema = { type: "object", properties: { retries: { type: "integer", minimum: 0 } }, required: ["retries"] };
  const ajv = new Ajv2020({ allErrors: true });
  const atOnce = ajv.compile(schema);
  const undo = compileLater();
  const later = ajv.compile(schema);
  undo();
  for (const data of [{ retries: 1 }, { retries: -1 }, {}, null, { retries: 0 }]) {
    expect([data, later(data)]).toEqual([data, atOnce(data)]);
    expect([data, later.errors]).toEqual([data, atOnce.errors]);
  }
  expect(ajv.compile({ type: "string" })).toHaveProperty("schema");
});

test("the Kafka client refuses wrong options, and says which", () => {
  const wrong = { clientId: "test", bootstrapBrokers: ["127.0.0.1:1"], retries: -1, strict: true };
  expect(() => new Admin(wrong)).toThrow(/retries/);
});
