import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type AsOf,
  decodeAsOf,
  decodeJoinedAsOf,
  encodeAsOf,
  encodeJoinedAsOf,
  namedVersions,
  withCuts,
} from "../../../core/log/as-of.ts";
import { BitReader } from "../../../core/log/bits.ts";
import { type Cut, cutToJson, type Position, position } from "../../../core/log/position.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { nightlyOr } from "../../tiers.ts";

const LARGEST = 2n ** 63n - 1n;
const offset = fc.oneof(fc.bigInt(0n, LARGEST), fc.bigInt(0n, 1_000n), fc.constantFrom(0n, LARGEST));
const anyCut = fc
  .uniqueArray(fc.tuple(fc.nat(999_999), offset), { selector: ([partition]) => partition, maxLength: 40 })
  .map((positions): Cut => new Map(positions.toSorted(([a], [b]) => a - b).map(([p, at]) => [p, position(at)])));
const generation = fc.oneof(fc.constant("revenue.0123456789ab"), anyText({ maxLength: 80 }));
const anyPosition: fc.Arbitrary<AsOf> = fc.record({
  ...{ generation, version: fc.nat(), cut: anyCut, applied: anyCut },
});

/** Of 256 partitions: what each has below the cut, and beyond it. */
const wide = (below: fc.Arbitrary<number>, beyond: fc.Arbitrary<number>): fc.Arbitrary<AsOf> =>
  fc
    .record({
      version: fc.nat(10_000_000),
      belows: fc.array(below, { minLength: 256, maxLength: 256 }),
      beyonds: fc.array(beyond, { minLength: 256, maxLength: 256 }),
    })
    .map(({ version, belows, beyonds }) => ({
      ...{ generation: "revenue-by-customers.0123456789ab", version },
      cut: new Map(belows.map((at, partition) => [partition, position(at)])),
      applied: new Map(belows.map((at, partition) => [partition, position(at + (beyonds[partition] ?? 0))])),
    }));
const hundredsOfMillions = wide(fc.nat(900_000_000), fc.nat(100_000));

const shown = (asOf: AsOf | null) =>
  asOf === null ? null : { ...asOf, cut: cutToJson(asOf.cut), applied: cutToJson(asOf.applied) };

/** A token as the release before wrote it. */
const earlier = ({ generation, version, cut, applied }: AsOf) => ({
  ...{ g: generation, v: version, c: cutToJson(cut), a: cutToJson(applied) },
});
const base64 = (body: unknown) => Buffer.from(JSON.stringify(body)).toString("base64url");

describe("a token", () => {
  test("gives back any position, with the cut of its version where it names that", () => {
    fc.assert(
      fc.property(fc.oneof(anyPosition, hundredsOfMillions), (asOf) => {
        const token = encodeAsOf(asOf);
        expect(token).toMatch(/^[\w-]+$/);
        expect(shown(decodeAsOf(token, () => asOf.cut))).toEqual(shown(asOf));
        const whole = withCuts(token, () => asOf.cut);
        expect(shown(decodeAsOf(whole))).toEqual(shown(asOf));
      }),
    );
  });

  test("of 256 partitions has at most 800 characters, also far into the log, and names its version", () => {
    const loads = fc.oneof(
      hundredsOfMillions,
      wide(fc.constant(4_000_000_000), fc.nat(100_000)),
      wide(fc.nat(900_000_000), fc.constant(50_000_000)),
      // One partition has nearly everything.
      fc.tuple(hundredsOfMillions, fc.nat(255)).map(([asOf, hot]) => {
        const far = position(2_000_000_000_000) as Position;
        const some = new Map([...asOf.cut].map(([p, at]) => [p, position(at + BigInt(p % 50))] as const));
        return { ...asOf, applied: new Map([...some, [hot, far]]) };
      }),
    );
    fc.assert(
      fc.property(loads, (asOf) => {
        const token = encodeAsOf(asOf);
        expect(token.length).toBeLessThanOrEqual(800);
        expect(namedVersions(token)).toEqual([{ generation: asOf.generation, version: asOf.version }]);
        expect(decodeAsOf(token)).toBeNull();
      }),
    );
  });

  test("that is altered is never another position; cut off, longer, or of a version with another cut it is none", () => {
    const change = fc.record({ at: fc.nat(), to: fc.constantFrom(..."AQgw_9-"), cutAt: fc.nat() });
    fc.assert(
      fc.property(fc.oneof(anyPosition, hundredsOfMillions), change, (asOf, { at, to, cutAt }) => {
        const token = encodeAsOf(asOf);
        const index = at % token.length;
        const altered = `${token.slice(0, index)}${to}${token.slice(index + 1)}`;
        const read = (text: string) => shown(decodeAsOf(text, () => asOf.cut));
        // A bit may mean nothing, such as one of the width of no numbers.
        expect(read(altered) ?? shown(asOf)).toEqual(shown(asOf));
        expect(read(token.slice(0, cutAt % (token.length - 1)))).toBeNull();
        for (const more of ["A", "AA", "A.", " ", "\n", "="]) expect(read(`${token}${more}`)).toBeNull();
        if (namedVersions(token).length > 0)
          expect(decodeAsOf(token, () => new Map([...asOf.cut].map(([p, o]) => [p, position(o + 1n)])))).toBeNull();
      }),
      // The check has 24 bits: another seed might find two texts that have the same.
      { seed: 7 },
    );
  });

  test("of the release before is still read, of one view and of joined tables", () => {
    fc.assert(
      fc.property(anyPosition, anyPosition, (asOf, other) => {
        expect(shown(decodeAsOf(base64(earlier(asOf))))).toEqual(shown(asOf));
        const joined = decodeJoinedAsOf(base64({ j: { created: earlier(asOf), completed: earlier(other) } }));
        expect([...(joined ?? [])].map(([name, one]) => [name, shown(one)])).toEqual([
          ...[["created", shown(asOf)]],
          ...[["completed", shown(other)]],
        ]);
      }),
    );
  });

  test("of joined tables gives back the position of each, whatever its streams' partitions", () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9_]{0,30}$/), { minLength: 1, maxLength: 5 });
    const several = names.chain((all) =>
      fc.tuple(...all.map((name) => fc.tuple(fc.constant(name), fc.oneof(anyPosition, hundredsOfMillions)))),
    );
    fc.assert(
      fc.property(several, (made) => {
        // A version has one cut.
        const parts = made.map(([name, asOf]): [string, AsOf] => [
          name,
          { ...asOf, generation: `${name}.0123456789ab` },
        ]);
        const token = encodeJoinedAsOf(new Map(parts));
        const cuts = parts.map(([, asOf]) => asOf);
        const cutOf = ({ generation, version }: Pick<AsOf, "generation" | "version">) =>
          cuts.find((one) => one.generation === generation && one.version === version)?.cut ?? null;
        const found = decodeJoinedAsOf(withCuts(token, cutOf));
        expect([...(found ?? [])].map(([name, one]) => [name, shown(one)])).toEqual(
          parts.map(([name, one]) => [name, shown(one)]),
        );
        expect(token).toMatch(/^[\w.~-]+$/);
      }),
      { numRuns: nightlyOr(100, 30) },
    );
  });

  test("makes no more of a text than it has bits", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(1_000_000), (bytes, length) => {
        const reader = new BitReader(Buffer.from(bytes));
        const before = reader.left;
        let read = 0;
        try {
          read = reader.list(length).length;
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
        expect(before - reader.left).toBeGreaterThanOrEqual(read);
      }),
    );
    // A million partitions whose positions take no bits.
    expect(decodeAsOf("AYbCXMUBAAHoShQCAoBAAAAAAA")).toBeNull();
  });

  test("has no partition and no position that cannot be stored, and no more partitions than topics have", () => {
    const decoded = (positions: [number, bigint][]) => {
      const cut = new Map(positions.map(([partition, offset]) => [partition, offset as Position]));
      const token = encodeAsOf({ generation: "revenue.0123456789ab", version: 1, cut, applied: cut });
      return decodeAsOf(token, () => cut)?.applied.size ?? null;
    };
    const many = (count: number) => Array.from({ length: count }, (_, p): [number, bigint] => [p, 5n]);
    expect([[[3, 5n]], [[999_999, LARGEST]], many(10_000)].map((one) => decoded(one as [number, bigint][]))).toEqual([
      ...[1, 1, 10_000],
    ]);
    for (const wrong of [[[1_000_000, 5n]], [[3, LARGEST + 1n]], many(10_001)])
      expect(decoded(wrong as [number, bigint][])).toBeNull();
  });

  test("is not seen in other text", () => {
    const text = fc.oneof(
      anyText(),
      fc.base64String().map((one) => one.replaceAll("=", "")),
    );
    fc.assert(
      fc.property(text, (one) => {
        expect(decodeAsOf(one, () => new Map())).toBeNull();
        expect(decodeJoinedAsOf(one)).toBeNull();
        expect(withCuts(one, () => new Map())).toBe(one);
      }),
      { numRuns: 1_000 },
    );
  });
});
