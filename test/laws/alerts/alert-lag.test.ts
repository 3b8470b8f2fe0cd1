import { describe, expect, test } from "vitest";
import { type ReaderLag, readerLagProblems } from "../../../core/alerts/own-problems.ts";
import type { Failure } from "../../../core/failures.ts";

const rule = (name: string, behind: bigint, stream = "orders"): ReaderLag => ({ kind: "rule", name, stream, behind });
const delivery = (name: string, behind: bigint): ReaderLag => ({ kind: "delivery", name, stream: "alerts", behind });
const limits = (stream: string) => (stream === "alerts" ? { warn: 50, page: 500 } : { warn: 1_000, page: 10_000 });
const failing = (kind: Failure["kind"], name: string): Failure => ({
  ...{ kind, name, views: [], code: "RULE_FAILED", message: "m", hint: "h" },
  ...{ failures: 3, sinceMs: 0, atMs: 0 },
});
const keys = (lags: readonly ReaderLag[], failures: readonly Failure[] = []) =>
  readerLagProblems(lags, limits, failures).map(({ key, severity }) => `${severity} ${key}`);

describe("the lag of rules and deliveries", () => {
  test("is a problem of a stream's rule that is farthest behind, above the stream's limit", () => {
    expect(keys([rule("a", 1_000n)])).toEqual([]);
    expect(keys([rule("a", 1_001n), rule("b", 7n)])).toEqual(["warning rule-lag/orders"]);
    expect(keys([rule("a", 1_001n), rule("b", 2_000n, "clicks")])).toEqual([
      "warning rule-lag/orders",
      "warning rule-lag/clicks",
    ]);
    expect(keys([rule("a", 10_001n)])).toEqual(["warning rule-lag/orders", "critical rule-lag/orders/critical"]);
    expect(readerLagProblems([rule("a", 1_001n), rule("b", 1_002n)], limits, [])[0]?.says).toContain("rule b is 1002");
  });

  test("is a problem of each delivery, by the limits of the stream of alerts", () => {
    expect(keys([delivery("mail", 50n), delivery("pager", 51n), delivery("slack", 501n)])).toEqual([
      "warning delivery-lag/pager",
      "warning delivery-lag/slack",
      "critical delivery-lag/slack/critical",
    ]);
  });

  test("is none of a rule or delivery that is stopped: that is a problem by itself", () => {
    const lags = [rule("a", 5_000n), rule("b", 1_500n), delivery("a", 600n)];
    expect(keys(lags, [failing("rule", "a")])).toEqual([
      "warning rule-lag/orders",
      "warning delivery-lag/a",
      "critical delivery-lag/a/critical",
    ]);
    expect(keys(lags, [failing("rule", "a"), failing("rule", "b"), failing("delivery", "a")])).toEqual([]);
  });
});
