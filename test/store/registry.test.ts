import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { AvroSchema, avroSchemaText } from "../../core/codec/avro/avro.ts";
import { decodeOne } from "../../core/codec/decode/decode.ts";
import { instant, integer, optional, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { type Stream, stream } from "../../core/contract/stream.ts";
import { checkStreamSql } from "../../store/definitions/check-stream.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import type { SchemaRegistry } from "../../store/registry/registry.ts";
import { FileRegistry, schemaDocument } from "../../store/registry/registry-files.ts";
import { recheckSchemas } from "../../store/registry/registry-found.ts";
import { HttpRegistry } from "../../store/registry/registry-http.ts";
import { prepareStreams } from "../../store/registry/registry-prepare.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";

const fields = {
  id: text(),
  at: instant({ from: "2000-01-01T00:00:00Z", to: "2050-01-01T00:00:00Z" }),
  cents: integer({ min: 0, max: 9 }),
};
const sales = stream("sales", {
  ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 0 },
  fields,
});
const changed = (definition: object): Stream => stream("sales", { ...sales, ...definition });
const second = (more: object, compatibility = "backward") =>
  changed({
    version: 2,
    fields: { ...fields, ...more },
    previous: [{ version: 1, fields, upcast: { till: sql`1` } }],
    compatibility,
  });

const prepare = (registry: SchemaRegistry, definition: Stream) =>
  prepareStreams(registry, [definition], (name) => `shop.${name}`);
const SUBJECT = "shop.sales-value";

let folder: string;
let data: DataDirectory;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-registry-"));
  data = new DataDirectory(folder);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("the registry in the data directory", () => {
  test("two processes that register at once never give one id twice, nor one schema two", async () => {
    const registries = [new FileRegistry(data), new FileRegistry(new DataDirectory(folder))];
    const named = (index: number) => `{"type":"record","name":"R${index % 10}","fields":[]}`;
    const ids = await Promise.all(
      Array.from({ length: 20 }, (_, index) => registries[index % 2]?.register(SUBJECT, named(index))),
    );
    expect(new Set(ids)).toEqual(new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
    expect(ids.slice(10)).toEqual(ids.slice(0, 10));
    for (const [index, id] of ids.entries()) expect(await registries[0]?.schemaById(id ?? 0)).toBe(named(index));
  });

  test("invariant 3: an id that was unknown once stays unknown, to every process, and is never given to a schema", async () => {
    const registry = new FileRegistry(data);
    expect((await new Schemas(data, registry).lookup([1], sales))(1)).toBeNull();
    expect(await registry.register(SUBJECT, avroSchemaText(sales, sales.versions[0] as never))).toBe(2);
    const later = await Schemas.inFiles(new DataDirectory(folder)).lookup([1, 2], sales);
    expect([later(1), later(2)]).toEqual([null, expect.any(AvroSchema)]);
  });
});

/** Confluent's protocol in front of a registry of files: as much of it as the client uses. */
async function serve(registry: FileRegistry, password: string): Promise<Server> {
  const server = createServer(async (request, response) => {
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { "content-type": "application/vnd.schemaregistry.v1+json" });
      response.end(JSON.stringify(body));
    };
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const expected = `Basic ${Buffer.from(`me:${password}`).toString("base64")}`;
    if (request.headers.authorization !== expected) return answer(401, { error_code: 401, message: "who is it?" });
    const [, root, subject, , number] = (request.url ?? "").split("/").map(decodeURIComponent);
    if (root === "config") return answer(200, JSON.parse(body));
    if (root === "schemas") {
      const schema = await registry.schemaById(Number((request.url ?? "").split("/").at(-1)));
      return schema === null
        ? answer(404, { error_code: 40403, message: "Schema not found" })
        : answer(200, { schema });
    }
    if (request.method === "POST")
      return answer(200, {
        id: await registry.register(subject ?? "", (JSON.parse(body) as { schema: string }).schema),
      });
    const versions = await registry.versions(subject ?? "");
    if (versions.length === 0) return answer(404, { error_code: 40401, message: "Subject not found" });
    return answer(200, number === undefined ? versions.map((_, index) => index + 1) : versions[Number(number) - 1]);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

describe("a registry over HTTP", () => {
  const far = () => new FileRegistry(new DataDirectory(join(folder, "far")));
  const url = (server: Server, password: string) =>
    `http://me:${encodeURIComponent(password)}@127.0.0.1:${(server.address() as AddressInfo).port}/`;

  test("schemas are registered and read as in files, with a password in the URL", async () => {
    const server = await serve(far(), "se:c/ret");
    try {
      const registry = new HttpRegistry(url(server, "se:c/ret"));
      expect(await registry.versions(SUBJECT)).toEqual([]);
      await prepare(registry, sales);
      await prepare(registry, second({ till: optional(text()) }));
      expect(await registry.versions(SUBJECT)).toEqual(await far().versions(SUBJECT));
      const schemas = new Schemas(data, registry);
      const lookup = await schemas.lookup([1, 2, 3], sales);
      expect([lookup(1), lookup(2), lookup(3)]).toEqual([expect.any(AvroSchema), expect.any(AvroSchema), null]);
      await expect(new HttpRegistry(url(server, "wrong")).schemaById(1)).rejects.toMatchObject({ code: "NOT_READY" });
    } finally {
      server.close();
    }
  });

  test("a registry that does not answer is not a verdict: the id is asked for again; what it once said holds without it", async () => {
    const server = await serve(far(), "x");
    const address = url(server, "x");
    const registry = new HttpRegistry(address);
    await prepare(registry, sales);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    const schemas = new Schemas(data, registry);
    await expect(schemas.lookup([1], sales)).rejects.toMatchObject({ code: "NOT_READY" });
    await new Promise<void>((resolve) => server.listen(Number(new URL(address).port), "127.0.0.1", resolve));
    expect((await schemas.lookup([1], sales))(1)).toBeInstanceOf(AvroSchema);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect((await new Schemas(data, registry).lookup([1], sales))(1)).toBeInstanceOf(AvroSchema);
  });
});

describe("ids that the registry does not know", () => {
  const schemaText = avroSchemaText(sales, sales.versions[0] as never);
  /** A registry that knows what is in `known`, and counts what it is asked. */
  const counting = (known: Map<number, string>) => {
    const asked: number[] = [];
    const registry: SchemaRegistry = {
      schemaById: async (id) => {
        asked.push(id);
        return known.get(id) ?? null;
      },
      register: () => Promise.reject(new Error("not asked for")),
      versions: async () => [],
    };
    return { registry, asked };
  };
  /** Ids as random bytes make them: far beyond those that a registry gives. */
  const garbage = (from: number, count: number) =>
    Array.from({ length: count }, (_, index) => 2 ** 30 + (((from + index) * 2_654_435_761) % 2 ** 30));

  /** Writes down ids as unknown, quickly. */
  const foundUnknown = async (ids: readonly number[]) => {
    await mkdir(join(folder, "registry"), { recursive: true });
    for (const id of ids) await writeFile(data.path(schemaDocument(id)), '{"schema":null,"subject":null}');
  };

  test("bytes that only look like Avro cost a bounded number of lookups and files, and known schemas go on", async () => {
    await foundUnknown(garbage(0, 950));
    const { registry, asked } = counting(new Map([[7, schemaText]]));
    const schemas = new Schemas(data, registry);
    expect((await schemas.lookup([7, ...garbage(1_000, 5_000)], sales))(7)).toBeInstanceOf(AvroSchema);
    const askedFirst = asked.length;
    expect(askedFirst).toBeLessThan(100);
    const lookup = await schemas.lookup([8, ...garbage(6_000, 100_000)], sales);
    expect(asked.slice(askedFirst)).toEqual([8]);
    expect([lookup(7), lookup(8), lookup(2 ** 30)]).toEqual([expect.any(AvroSchema), null, null]);
    // Another process has the same verdicts, without asking.
    const other = new Schemas(new DataDirectory(folder), registry);
    const again = await other.lookup([7, 8, ...garbage(0, 200_000)], sales);
    expect([again(7), again(8), again(2 ** 30)]).toEqual([expect.any(AvroSchema), null, null]);
    expect(asked.length).toBe(askedFirst + 1);
    expect((await data.list("registry")).length).toBeLessThan(1_050);
  });

  test("invariant 3: a schema that is found while another process sets the ceiling is known to both or to none", async () => {
    const far = 2 ** 30 + 12_345;
    await foundUnknown(garbage(0, 999));
    let answer = () => {};
    const asked = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const late = { ...counting(new Map()).registry, schemaById: () => asked.then(() => schemaText) };
    const verdict = (schemas: Schemas) => schemas.lookup([far], sales).then((found) => found(far) !== null);
    const slow = verdict(new Schemas(data, late));
    const quick = new Schemas(new DataDirectory(folder), counting(new Map()).registry);
    await quick.lookup(garbage(2_000, 1), sales);
    const here = await verdict(quick);
    answer();
    const later = await verdict(new Schemas(new DataDirectory(folder), late));
    expect([await slow, here, later]).toEqual([false, false, false]);
  });

  test("a schema that is registered later holds from the next revision on, once a recheck has found it", async () => {
    const known = new Map<number, string>();
    const { registry } = counting(known);
    const reader = { name: "sales", revision: 1 };
    expect((await new Schemas(data, registry).lookup([5, 6], reader))(5)).toBeNull();
    known.set(5, schemaText);
    expect((await new Schemas(data, registry).lookup([5], reader))(5)).toBeNull();
    expect(await recheckSchemas(data, registry, [reader], [9])).toEqual({ found: [5], unknown: [6, 9] });
    const lookup = (revision: number, name = "sales") =>
      new Schemas(data, registry).lookup([5], { name, revision }).then((found) => found(5) !== null);
    expect(await Promise.all([lookup(1), lookup(2), lookup(3), lookup(1, "later")])).toEqual([false, true, true, true]);
    expect(await recheckSchemas(data, registry, [{ name: "sales", revision: 2 }])).toEqual({ found: [], unknown: [6] });
  });

  test("only code 40403 says that a schema is unknown; any other 404 is a registry that is not there", async () => {
    const answers: Record<string, string> = {
      "/right/schemas/ids/1": '{"error_code":40403,"message":"Schema 1 not found"}',
      "/wrong/schemas/ids/1": '{"error_code":404,"message":"HTTP 404 Not Found"}',
      "/page/schemas/ids/1": "<html>404</html>",
      "/right/subjects/s/versions": '{"error_code":40401,"message":"Subject s not found"}',
    };
    const server = createServer((request, response) => {
      response.writeHead(404);
      response.end(answers[request.url ?? ""] ?? "not found");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const at = (path: string) => new HttpRegistry(`http://127.0.0.1:${(server.address() as AddressInfo).port}/${path}`);
    try {
      expect(await at("right").schemaById(1)).toBeNull();
      expect(await at("right").versions("s")).toEqual([]);
      for (const path of ["wrong", "page"]) {
        const refused = { code: "NOT_READY", hint: expect.stringContaining("path") };
        await expect(at(path).schemaById(1)).rejects.toMatchObject(refused);
        await expect(at(path).versions("s")).rejects.toMatchObject(refused);
        await expect(new Schemas(data, at(path)).lookup([1], sales)).rejects.toMatchObject(refused);
      }
      expect(await data.list("registry")).toEqual([]);
    } finally {
      server.close();
    }
  });
});

describe("preparing a stream", () => {
  test("registers every version in order, once, and producers' records decode by the ids", async () => {
    const registry = new FileRegistry(data);
    const definition = second({ till: integer({ min: 0, max: 9 }) }, "forward");
    await prepare(registry, definition);
    await prepare(registry, definition);
    const registered = await registry.versions(SUBJECT);
    expect(registered.map(({ schema }) => (JSON.parse(schema) as { doc: string }).doc)).toEqual([
      "sales, version 1",
      "sales, version 2",
    ]);
    const lookup = await Schemas.inFiles(data).lookup([1, 2], sales);
    const event = { id: "a", at: 1e12, cents: 7, till: 3 };
    for (const [index, { id, schema }] of registered.entries())
      expect(decodeOne(definition, new AvroSchema(schema).encode(id, event), lookup)).toMatchObject({
        ok: true,
        version: index + 1,
      });
  });

  test("a version that was changed after it was registered is refused", async () => {
    const registry = new FileRegistry(data);
    await prepare(registry, sales);
    await expect(prepare(registry, changed({ fields: { ...fields, more: optional(text()) } }))).rejects.toMatchObject({
      code: "DEFINITION_INVALID",
      message: expect.stringContaining("version 1 was changed"),
    });
  });

  test("an incompatible version is refused by the stream's rule, and not registered", async () => {
    const registry = new FileRegistry(data);
    await prepare(registry, sales);
    await expect(prepare(registry, second({ till: integer({ min: 0, max: 9 }) }))).rejects.toMatchObject({
      code: "SCHEMA_INCOMPATIBLE",
      message: expect.stringMatching(/version 2: backward .*"till"/),
    });
    expect(await registry.versions(SUBJECT)).toHaveLength(1);
    await prepare(registry, second({ till: integer({ min: 0, max: 9 }) }, "none"));
    expect(await registry.versions(SUBJECT)).toHaveLength(2);
  });
});

test("an upcast is checked as a view's expressions are: columns, functions and types", async () => {
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256 });
  const duck = await pool.connect();
  const upcast = {
    a: sql`cents + 1`,
    b: sql`random()`,
    c: sql`nothing`,
    d: sql`id`,
    e: sql`cents / 2`,
    f: sql`'x'`,
    g: sql`cents > 1`,
  };
  const number = integer({ min: 0, max: 9 });
  const added = { a: number, b: number, c: number, d: number, e: number, f: text(), g: text() };
  const problems = await checkStreamSql(
    duck,
    changed({ version: 2, fields: { ...fields, ...added }, previous: [{ version: 1, fields, upcast }] }),
  );
  expect(problems).toEqual([
    expect.stringMatching(/^version 1: upcast.b: .*random/),
    expect.stringMatching(/^version 1: upcast.c: .*nothing/),
    expect.stringMatching(/^version 1: upcast.d: is VARCHAR/),
    expect.stringMatching(/^version 1: upcast.e: /),
    expect.stringMatching(/^version 1: upcast.g: is BOOLEAN/),
  ]);
  duck.closeSync();
  pool.close();
});
