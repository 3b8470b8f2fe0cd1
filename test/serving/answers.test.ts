import { beforeAll, describe, expect, it } from "vitest";
import { decodeAsOf } from "../../core/log/as-of.ts";
import { cutAt, fold, HOUR, LATER, SALES, START, sorted, WHOLE, whole } from "../fixtures/events/takings.ts";
import { filledPlace, type Place, useServers } from "./place.ts";

useServers();

describe("an answer", () => {
  let at: Place;
  beforeAll(async () => {
    ({ at } = await filledPlace());
  });

  it("equals a plain fold over the log below its position, whatever the buckets and dimensions", async () => {
    const cases: [string, Parameters<typeof fold>[1]][] = [
      [`${WHOLE}&limit=100000`, { ...whole, every: 60_000, by: ["shop", "online", "floor"] }],
      [`${WHOLE}&every=1h&by=shop`, { ...whole, every: HOUR, by: ["shop"] }],
      [`${WHOLE}&every=1h&by=online,floor`, { ...whole, every: HOUR, by: ["online", "floor"] }],
      [`${WHOLE}&every=7d&by=`, { ...whole, every: 168 * HOUR, by: [] }],
      [
        `from=${START + HOUR}&to=${START + 2 * HOUR}&every=7m&by=floor`,
        { from: START + HOUR, to: START + 2 * HOUR, every: 420_000, by: ["floor"] },
      ],
      [
        `${WHOLE}&every=1h&by=shop&where[shop]=north`,
        { ...whole, every: HOUR, by: ["shop"], keep: ({ shop }) => shop === "north" },
      ],
      [
        `${WHOLE}&every=1h&by=&where[shop]=null&where[online]=true`,
        { ...whole, every: HOUR, by: [], keep: ({ shop, online }) => shop === null && online },
      ],
      [
        `${WHOLE}&every=1h&by=shop&where[shop]=null&where[shop]=%22null%22`,
        { ...whole, every: HOUR, by: ["shop"], keep: ({ shop }) => shop === null || shop === "null" },
      ],
      [
        `${WHOLE}&every=1h&by=shop&where[shop]=%22null%22`,
        { ...whole, every: HOUR, by: ["shop"], keep: ({ shop }) => shop === "null" },
      ],
      [
        `${WHOLE}&every=1h&by=shop&where[shop]=%22%22null%22%22`,
        { ...whole, every: HOUR, by: ["shop"], keep: ({ shop }) => shop === '"null"' },
      ],
      [
        `${WHOLE}&every=1h&by=shop&where[shop]=tab%09line%0D%0Afeed`,
        { ...whole, every: HOUR, by: ["shop"], keep: ({ shop }) => shop === "tab\tline\r\nfeed" },
      ],
      [
        `${WHOLE}&every=1h&by=&where[floor]=-1&where[floor]=0`,
        { ...whole, every: HOUR, by: [], keep: ({ floor }) => floor < 1 },
      ],
      [
        `${WHOLE}&every=1h&by=floor&where[shop]=a%22b%25_+%C3%A9`,
        { ...whole, every: HOUR, by: ["floor"], keep: ({ shop }) => shop === 'a"b%_ é' },
      ],
    ];
    for (const [query, options] of cases) {
      const answer = await at.answer(query);
      expect(sorted(answer.rows), query).toEqual(sorted(fold(2_500, options)));
      expect(answer).toMatchObject({ view: "takings", complete: true, batchVersion: 2, truncated: false });
    }
  });

  it("with every=all has one row for the range, also before and after 1970", async () => {
    const query = `from=1960-01-01&to=${START + 6 * HOUR}&every=all&by=shop&measures=sales,mean,buyers`;
    const { rows, window } = await at.answer(query);
    const expected = fold(2_500, { to: START + 6 * HOUR, every: 1e15, by: ["shop"] }).map(
      ({ partial: _, cents: _c, least: _l, most: _m, ...row }) => ({ ...row, bucket: "1960-01-01T00:00:00.000Z" }),
    );
    expect(sorted(rows)).toEqual(sorted(expected));
    expect(window.every).toBe("all");
  });

  it("marks the buckets that the range cuts, and no others, in JSON and CSV", async () => {
    const cut = `from=${START + HOUR / 2}&to=${START + (5 * HOUR) / 2}&every=1h&by=&measures=sales`;
    const { rows, fields } = await at.answer(cut);
    expect(rows.map(({ partial }) => partial)).toEqual([true, undefined, true]);
    expect(fields.partial).toMatchObject({ kind: "time", type: "boolean" });
    const { text } = await at.ask(`/views/takings?${cut}&format=csv`);
    const lines = text.split("\r\n").map((line) => line.split(",").at(-1));
    expect(lines).toEqual(["partial", "true", "false", "true", ""]);
    const newest = await at.answer(`from=${START + HOUR / 2}&every=1mo&by=&measures=sales`);
    expect(newest.rows.map(({ partial }) => partial)).toEqual([true]);
    const open = await at.answer(`from=2026-03-01&every=1mo&by=&measures=sales`);
    expect(open.rows.map(({ partial }) => partial)).toEqual([undefined]);
    const closed = await at.answer(`from=2026-03-01&to=2026-03-02&every=1mo&by=&measures=sales`);
    expect(closed.rows.map(({ partial }) => partial)).toEqual([true]);
    expect((await at.answer(`${WHOLE}&by=floor&measures=sales`)).fields.partial).toBeUndefined();
  });

  it("takes a plus sign in an offset as it is, also where it was not encoded", async () => {
    const [plain, encoded] = await Promise.all(
      ["+", "%2B"].map((plus) =>
        at.answer(`from=2026-03-01T01:00:00${plus}01:00&to=2026-03-01T06:00:00Z&by=&every=1h`),
      ),
    );
    expect(plain?.rows).toHaveLength(6);
    expect(plain?.rows).toEqual(encoded?.rows);
  });

  it("says what each field is, where it stands and how fresh it is", async () => {
    const answer = await at.answer(`${WHOLE}&every=1h&by=floor&measures=cents,buyers`);
    expect(answer.fields).toEqual({
      bucket: expect.objectContaining({ kind: "time", exact: true }),
      floor: expect.objectContaining({ kind: "dimension", type: "integer", exact: true }),
      cents: expect.objectContaining({ kind: "measure", type: "sum", unit: "cents", exact: true, error: 0 }),
      buyers: expect.objectContaining({
        kind: "measure",
        type: "distinct",
        unit: "buyers",
        exact: false,
        error: 0.0081,
      }),
      partial: expect.objectContaining({ kind: "time", type: "boolean" }),
    });
    expect(Object.keys(answer.rows[0] ?? {})).toEqual(["bucket", "floor", "cents", "buyers"]);
    expect(answer.position).toEqual({
      generation: at.generation,
      version: 2,
      cut: { 0: "1000" },
      applied: { 0: "2500" },
    });
    expect(decodeAsOf(answer.asOf)).toMatchObject({ version: 2, applied: cutAt(2_500) });
    expect(answer.freshnessMs).toBeGreaterThanOrEqual(0);
    expect(answer.freshnessMs).toBeLessThan(60_000);
    expect(answer.window).toEqual({
      from: "2026-03-01T00:00:00.000Z",
      to: "2026-03-01T06:00:00.000Z",
      every: "1h",
      window: "1h",
      zone: "UTC",
    });
  });

  it("without from and to holds the last 24 hours of event time by the view's grain", async () => {
    const last = Math.floor(Math.max(...SALES.slice(0, 2_500).map(({ at }) => at)) / 60_000) * 60_000;
    const answer = await at.answer("limit=100000&by=floor");
    expect(answer.window).toEqual({
      from: new Date(last + 60_000 - 24 * HOUR).toISOString(),
      to: new Date(last + 60_000).toISOString(),
      every: "1m",
      window: "1m",
      zone: "UTC",
    });
    expect(sorted(answer.rows)).toEqual(sorted(fold(2_500, { every: 60_000, by: ["floor"] })));
  });

  it("ends with the newest event until now although others lie after now, and says so", async () => {
    const { at, files } = await filledPlace();
    await at.apply(2_500, 3_060);
    const lastBucket = Math.floor(Math.max(...SALES.slice(0, 3_050).map((sale) => sale.at)) / 60_000) * 60_000;
    const to = lastBucket + 60_000;
    const ends = async (where: string) => {
      const answer = await at.answer("limit=100000");
      expect(answer.window.to, where).toBe(new Date(to).toISOString());
      expect(
        answer.notices?.map(({ code }) => code),
        where,
      ).toEqual(["EVENTS_AFTER_NOW"]);
      const expected = fold(3_060, { from: to - 24 * HOUR, to, every: 60_000, by: ["shop", "online", "floor"] });
      expect(sorted(answer.rows), where).toEqual(sorted(expected));
      const { headers } = await at.ask("/views/takings?limit=1");
      expect([headers["tideline-notice"], headers.etag], where).toEqual(["EVENTS_AFTER_NOW", undefined]);
      const one = await at.answer("where[shop]=north&where[online]=true&where[floor]=0&measures=sales");
      expect(one.window, `${where}, one group`).toMatchObject({ to: answer.window.to });
      const { text } = await at.ask("/views/takings/keys?dimension=shop");
      expect(JSON.parse(text), where).toMatchObject({ window: { to: answer.window.to }, notices: answer.notices });
      const later = await at.answer(`from=${LATER}&by=&every=1d&measures=sales`);
      expect([later.rows.map(({ sales }) => sales), later.notices], where).toEqual([[10], undefined]);
      const gone = await at.ask(`/views/takings?from=${LATER}&by=&every=1d&measures=sales`);
      expect(gone.headers.etag, where).toBeUndefined();
      const none = await at.answer(`from=${to + HOUR}&by=&every=1d&measures=sales`);
      expect([none.window.to, none.rows], where).toEqual([new Date(to + HOUR).toISOString(), []]);
      const all = await at.answer(`from=${START}&to=${LATER + HOUR}&by=&every=1d&measures=sales`);
      expect([all.rows.at(-1)?.sales, all.notices], where).toEqual([10, undefined]);
    };
    await ends("in the open segment");
    await at.chain.seal(null);
    await ends("in a closed segment");
    await at.publish(3, 1_000, 3_060, files);
    await at.chain.reseed(cutAt(3_060), 3, (await at.chain.load())?.nonce ?? null);
    await ends("in the batch version");
  });

  it("is sorted and limited, nulls last in both directions", async () => {
    const total = fold(2_500, { ...whole, every: 168 * HOUR, by: ["shop"] });
    for (const sign of ["", "-"]) {
      const { rows, truncated } = await at.answer(
        `${WHOLE}&every=7d&by=shop&measures=cents&order=${sign}cents&limit=3`,
      );
      const expected = total
        .map(({ cents }) => Number(cents))
        .sort((a, b) => (sign === "" ? a - b : b - a))
        .slice(0, 3);
      expect(rows.map(({ cents }) => cents)).toEqual(expected);
      expect(truncated).toBe(true);
      const shops = await at.answer(`${WHOLE}&every=7d&by=shop&measures=&order=${sign}shop`);
      expect(shops.rows.at(-1)?.shop).toBeNull();
    }
  });

  it("of a window that holds nothing has no rows", async () => {
    expect(await at.answer("from=1900-01-01&to=1900-01-02")).toMatchObject({
      rows: [],
      complete: true,
      truncated: false,
    });
  });
});
