import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { alertTopics, ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { visits } from "../../systems/shop/views/visits.ts";
import { everything } from "../fixtures/events/views.ts";
import { Layers } from "../fixtures/servers/layers.ts";
import { nightlyOr } from "../tiers.ts";

/**
 * Requests made of the served OpenAPI document: valid, at the bounds, and hostile. Whatever is asked is answered in
 * time, by what the document says or by problem details, and never by an error of the server.
 */

const SEED = Number(process.env.TIDELINE_TEST_SEED ?? Date.now() % 1_000_000);
const PATIENCE_MS = 20_000;
/** Requests for each path. Streams are opened and left, and a proof recomputes everything. */
function runsOf(path: string): number {
  if (path.startsWith("/proof")) return nightlyOr(4, 2);
  return path.endsWith("/live") ? nightlyOr(25, 10) : nightlyOr(60, 25);
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly schema: Schema;
}

interface Schema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly items?: Schema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly default?: string | number;
}

interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, object>> }>>;
}

interface Document {
  readonly paths: Readonly<Record<string, { readonly get: Operation }>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

interface Answered {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

let layers: Layers;
let document: Document;
let ajv: Ajv2020;
/** An asOf that the server gave. */
let token: string;

beforeAll(async () => {
  console.log(`HTTP fuzzer: seed ${SEED}`);
  layers = await Layers.open([everything, visits]);
  // A topic that is missing is looked for again and again, for seconds.
  await ensureTopics(inject("kafkaBrokers"), alertTopics(layers.namespace));
  const at = Date.now() - 3_600_000;
  const ticks = (from: number) =>
    Array.from({ length: 60 }, (_, index) => ({
      ...{ id: `t${from + index}`, at: at + index * 20_000, place: ["pier", 'q"uote', null][index % 3] ?? null },
      ...{ good: [true, false, null][index % 3] ?? null, amount: index * 17 - 300, tip: index, test: index % 9 === 0 },
    }));
  await layers.produce("ticks", ticks(0));
  await layers.produce(
    "user-activity",
    [1, 2, 3].map((index) => ({
      ...{ event_id: `a${index}`, id: "u1", user_id: "u1", occurred_at: at + index * 60_000, kind: "view", page: "/" },
      ...{ sku: null, region: "eu", device: "phone" },
    })),
  );
  await answered(everything.name, 60);
  await layers.refresh(everything);
  await layers.produce("ticks", ticks(60));
  token = await answered(everything.name, 120);
  document = (await (await fetch(layers.url("/openapi.json"))).json()) as Document;
  ajv = new Ajv2020({ strict: false, allErrors: true, formats: { "date-time": isInstant, uri: /^[a-z]+:/ } });
  ajv.addSchema(withoutOthers(document) as Document, "document");
});

/** The document with each schema taking the properties that it names, and no others. */
function withoutOthers(value: unknown): unknown {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(withoutOthers);
  const parts = Object.fromEntries(Object.entries(value).map(([key, part]) => [key, withoutOthers(part)]));
  return parts.type === "object" && "properties" in parts ? { additionalProperties: false, ...parts } : parts;
}

afterAll(() => layers?.close());

const isInstant = (text: string) =>
  /^[+-]?\d{4,6}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d(:\d\d)?)(\[.+\])?)?$/.test(text);

/** Waits until a view counts this many records; the asOf of that answer. */
async function answered(view: string, records: number): Promise<string> {
  for (const deadlineMs = Date.now() + 60_000; Date.now() < deadlineMs; ) {
    const response = await fetch(layers.url(`/views/${view}?every=1h&by=`));
    const { position, asOf } = (await response.json()) as { position?: { applied: object }; asOf: string };
    const applied = Object.values(position?.applied ?? {}).reduce((sum: number, offset) => sum + Number(offset), 0);
    if (applied >= records) return asOf;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${view} does not reach ${records} records`);
}

/**
 * Asks on a connection of its own. A stream is left at its first bytes, that of alerts at its headers: no alert comes,
 * and a heartbeat only after 15 seconds. Rejects when no answer comes in time.
 */
function ask({ method, path, headers, body }: Asked): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const url = new URL(layers.url("/"));
    // Without its length a body would be the beginning of another request, for methods that have none as a rule.
    const framed = body === "" ? headers : { ...headers, "content-length": Buffer.byteLength(body) };
    const asked = httpRequest({ host: url.hostname, port: url.port, method, path, headers: framed, agent: false });
    asked.setTimeout(PATIENCE_MS, () => asked.destroy(new Error(`no answer within ${PATIENCE_MS} ms`)));
    asked.on("error", reject);
    asked.on("response", (response: IncomingMessage) => {
      const type = response.headers["content-type"] ?? "";
      const status = response.statusCode ?? 0;
      const pieces: Buffer[] = [];
      const done = () => resolve({ status, type, text: Buffer.concat(pieces).toString() });
      const isStream = type.startsWith("text/event-stream");
      const leave = () => {
        done();
        asked.destroy();
      };
      if (isStream && path.startsWith("/alerts/")) return leave();
      response.on("data", (piece: Buffer) => {
        pieces.push(piece);
        if (isStream) leave();
      });
      response.on("end", done);
      response.on("error", reject);
    });
    asked.end(body === "" ? undefined : body);
  });
}

const HOSTILE = [
  ...["", " ", "\u0000", "\n", "NaN", "-1", "0", "1e999", "9".repeat(400), "1.5", "0x10", "null", "true", "[]", "{}"],
  ...["2026-02-30", "+275760-09-13T00:00:00Z", "-271821-04-20T00:00:00Z", "0000-01-01", "0001-01-01T00:00:00Z"],
  ...[
    "9999-12-31T23:59:59.999Z",
    "10000-01-01",
    "8640000000000000",
    "8640000000000001",
    "-62135596800000",
    "1969-12-31",
  ],
  ...["2026-03-29T02:30:00+01:00", "2026-01-01T00:00:00.123456789Z", "2026-01-01T24:00:00Z", "2026-W01"],
  ...["1s", "0s", "1ms", "-1d", "1mo", "1q", "1y", "7d", "99999999999999999999y", "1.5h", "P1D", "30s", "31s", "1w"],
  ...["UTC", "Europe/Berlin", "Etc/GMT+12", "Asia/Kathmandu", "+05:30", "Mars/Olympus", "../../etc/passwd"],
  ...[
    "__proto__",
    "constructor",
    "bucket",
    "-bucket",
    "--bucket",
    ",",
    ",,,",
    "a,b,c",
    "'; DROP TABLE x; --",
    "\u202e",
    "💥",
  ],
  ...["*", '"', "W/", "a".repeat(3_000), "ticks:0:0", "ticks:99:1", "x".repeat(40), "eyJ9", "\u001e"],
];
/** As they are, without percent encoding. */
const RAW = [
  "%",
  "%zz",
  "%ff",
  "%00",
  "%C0%AF",
  "%ed%a0%80",
  "%u0041",
  "+",
  "&",
  "=",
  "==",
  "%25zz",
  "#",
  "?",
  ";",
  "%26%3d",
];

function valid(name: string, schema: Schema): fc.Arbitrary<string> {
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.type === "integer")
    return fc
      .oneof(
        fc.integer({ min: schema.minimum ?? 0, max: schema.maximum ?? 1_000 }),
        fc.constantFrom(
          (schema.minimum ?? 0) - 1,
          schema.minimum ?? 0,
          schema.maximum ?? 1_000,
          (schema.maximum ?? 1_000) + 1,
        ),
      )
      .map(String);
  if (schema.type === "array" && schema.items?.enum !== undefined)
    return fc.subarray([...schema.items.enum], { minLength: 0 }).map((names) => names.join(","));
  if (name === "from" || name === "to")
    return fc.oneof(
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      fc.integer({ min: Date.now() - 7_200_000, max: Date.now() }).map(String),
      fc.maxSafeInteger().map(String),
    );
  if (name === "at" || name === "min")
    return fc.oneof(
      fc.constant(token),
      fc.nat().map((at) => `${token.slice(0, at % token.length)}A${token.slice(1 + (at % token.length))}`),
    );
  if (name === "every" || name === "window")
    return fc
      .tuple(fc.integer({ min: 0, max: 400 }), fc.constantFrom("ms", "s", "m", "h", "d", "w", "mo", "q", "y", ""))
      .map(([n, unit]) => `${n}${unit}`);
  return fc.constantFrom(String(schema.default ?? "x"), "pier", "u1", "true", "view", "");
}

const hostile = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...HOSTILE).map(encodeURIComponent) },
  { weight: 1, arbitrary: fc.constantFrom(...RAW) },
  { weight: 1, arbitrary: fc.string({ unit: "grapheme", maxLength: 20 }).map(encodeURIComponent) },
);

function valueFor({ name, schema }: Parameter): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 5, arbitrary: valid(name, schema).map(encodeURIComponent) },
    { weight: 1, arbitrary: hostile },
  );
}

const headers = fc.record(
  {
    accept: fc.constantFrom(
      "*/*",
      "text/csv",
      "application/json;q=0, text/csv;q=abc",
      ",,;;==",
      "a".repeat(5_000),
      "text/html",
    ),
    "if-none-match": fc.oneof(
      fc.constantFrom("*", '"', 'W/"x"', '"a", "b"', '"'.repeat(2_000)),
      fc.stringMatching(/^[!-~]{0,40}$/),
    ),
    "last-event-id": fc.oneof(fc.constantFrom("", "x", "9".repeat(500)), fc.stringMatching(/^[!-~]{0,40}$/)),
    authorization: fc.constantFrom("Bearer x", "Basic ====", "\t"),
    range: fc.constantFrom("bytes=0-0", "bytes=9-1"),
    "content-type": fc.constantFrom("application/json", "x", "multipart/form-data"),
  },
  { requiredKeys: [] },
);

/** A request to a path of the document; most are GET with a few of its parameters. */
function requests(path: string, { parameters = [] }: Operation): fc.Arbitrary<Asked> {
  const inQuery = parameters.filter((one) => one.in === "query");
  const known = inQuery.map((one) =>
    fc.tuple(fc.constant(encodeURIComponent(one.name)), valueFor(one)).map(([name, value]) => `${name}=${value}`),
  );
  const unknown = fc.tuple(hostile, hostile).map(([name, value]) => `${name}=${value}`);
  const required = fc.tuple(
    ...inQuery.flatMap((one, index) => (one.required === true ? [known[index] ?? unknown] : [])),
  );
  const some = fc.array(
    fc.oneof(...known.map((arbitrary) => ({ weight: 6, arbitrary })), { weight: 2, arbitrary: unknown }),
    { maxLength: 5 },
  );
  const tooLong = fc.oneof(
    { weight: 30, arbitrary: fc.constant("") },
    { weight: 1, arbitrary: fc.constant(`x=${"y".repeat(9_000)}`) },
  );
  const inPath = fc.array(
    fc.oneof(
      fc.constantFrom("ticks", everything.name),
      hostile.filter((one) => !/[#?]/.test(one)),
    ),
    { minLength: 2, maxLength: 2 },
  );
  return fc
    .record({
      method: fc.oneof(
        { weight: 12, arbitrary: fc.constant("GET") },
        { weight: 1, arbitrary: fc.constantFrom("HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE") },
      ),
      query: fc
        .tuple(required, some, tooLong)
        .map(([must, may, long]) => [...must, ...may, long].filter((one) => one !== "").join("&")),
      inPath,
      headers,
      body: fc.constantFrom("", "", "{", '{"a":1}', "\u0000", "x".repeat(100_000)),
    })
    .map(({ method, query, inPath: [value = ""], headers: some, body }) => {
      const filled = path.replace(/\{[^}]+\}/, value);
      return {
        method,
        path: query === "" ? filled : `${filled}?${query}`,
        headers: some,
        body: method === "GET" || method === "HEAD" ? "" : body,
      };
    })
    .filter((asked) => !/[^\x21-\x7e]/.test(asked.path))
    .map((asked) => ({ ...asked, path: patient(asked.path) }));
}

/** A wait may last half a minute, as it should: here it is short. */
function patient(path: string): string {
  return path.includes("min=") && !/[&?]wait=/.test(path)
    ? `${path}&wait=20`
    : path.replace(/([&?]wait=)(30s|30000|\d{4,5}|\d+s)\b/g, "$120");
}

const validators = new Map<string, ValidateFunction>();

/** What is wrong with a text by the schema at this place of the document; "" for nothing. */
function mismatch(pointer: string, text: string): string {
  const validate = validators.get(pointer) ?? ajv.compile({ $ref: `document#${pointer}` });
  validators.set(pointer, validate);
  return validate(JSON.parse(text)) ? "" : `${ajv.errorsText(validate.errors)} in ${text.slice(0, 600)}`;
}

const escaped = (part: string) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"));

/** What is wrong with an answer; "" for nothing. */
function complaint(path: string, operation: Operation, asked: Asked, { status, type, text }: Answered): string {
  const mediaType = type.split(";")[0] ?? "";
  if (status === 304) return text === "" && /^(GET|HEAD)$/.test(asked.method) ? "" : "304 with a body";
  const said = operation.responses[status];
  const isDocumented = said?.content?.[mediaType] !== undefined;
  if (status >= 500 && !isDocumented) return `${status} ${text}`;
  if (asked.method === "HEAD") return text === "" ? "" : "HEAD with a body";
  if (status < 300 && !isDocumented) return `${status} with ${type} is not documented`;
  if (isDocumented && mediaType === "application/json")
    return mismatch(`/paths/${escaped(path)}/get/responses/${status}/content/${escaped(mediaType)}/schema`, text);
  if (status < 300) return "";
  if (mediaType !== "application/problem+json") return `${status} ${type}: ${text}`;
  const problem = JSON.parse(text) as { readonly status: number; readonly code: string; readonly type: string };
  if (problem.status !== status) return `${status} says that it is ${problem.status}`;
  return mismatch("/components/schemas/Problem", text);
}

describe("whatever is asked of a path of the OpenAPI document is answered as the document says", () => {
  test("every path, with seeded requests", { timeout: 600_000 }, async () => {
    const statuses = new Map<number, number>();
    for (const [path, { get: operation }] of Object.entries(document.paths)) {
      await fc.assert(
        fc.asyncProperty(requests(path, operation), async (asked) => {
          const answer = await ask(asked);
          statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
          expect(complaint(path, operation, asked, answer)).toBe("");
        }),
        { seed: SEED, numRuns: runsOf(path) },
      );
    }
    // Neither all is refused, nor nothing.
    expect(statuses.get(200)).toBeGreaterThan(20);
    expect(statuses.get(400)).toBeGreaterThan(20);
    console.log(
      `answers by status: ${[...statuses]
        .sort()
        .map(([status, n]) => `${status}: ${n}`)
        .join(", ")}`,
    );
  });

  test("an error of the server, an undocumented answer, and a body that is not as the document says would be found", () => {
    const [path, operation] = ["/views", document.paths["/views"]?.get];
    if (operation === undefined) throw new Error("there is no /views");
    const asked: Asked = { method: "GET", path, headers: {}, body: "" };
    const json = "application/json; charset=utf-8";
    const wrong = [
      { status: 500, type: "application/problem+json", text: "{}" },
      { status: 200, type: json, text: '{"views":[{}]}' },
      { status: 200, type: json, text: '{"views":[],"unheard":1}' },
      { status: 200, type: "text/html", text: "" },
      { status: 400, type: json, text: "{}" },
      {
        status: 400,
        type: "application/problem+json",
        text: '{"status":400,"code":"NEW","type":"x:","title":"","detail":""}',
      },
    ];
    for (const answer of wrong) expect(complaint(path, operation, asked, answer)).not.toBe("");
  });

  test("what is not HTTP gets problem details and its connection closed, and the next one is answered", async () => {
    const garbage = [
      "GET / HTTP/9.9\r\n\r\n",
      "\u0000\u0001\u0002\r\n\r\n",
      "GET /views HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n",
      `GET /views HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(20_000)}\r\n\r\n`,
      "GET /views HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      "POST /views HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "GET /views/\u0000 HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for (const bytes of garbage) {
      const text = await new Promise<string>((resolve, reject) => {
        const socket = connect(layers.port, "127.0.0.1", () => socket.write(bytes, "latin1"));
        let received = "";
        socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error("no answer")));
        socket.on("data", (piece) => {
          received += String(piece);
        });
        socket.on("error", reject);
        socket.on("close", () => resolve(received));
      });
      // A request whose body breaks may have been refused before: then that is one more answer.
      for (const answer of text.split(/(?=HTTP\/1\.1 )/)) {
        expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
        expect(mismatch("/components/schemas/Problem", answer.slice(answer.indexOf("\r\n\r\n")))).toBe("");
      }
    }
    expect((await fetch(layers.url("/health"))).status).toBe(200);
  });
});
